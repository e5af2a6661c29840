//! `fwmark_match`.

use std::net::IpAddr;

use serde::Serialize;

use super::{super::addresses::AddressRange, Protocol};

/// A line of `fwmark_match`: packets to any of these addresses and ports carry the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MarkMatch {
    /// The mark, never 0.
    pub mark: u32,
    /// The destination's address.
    pub addresses: AddressRange,
    /// The lowest port, never 0.
    pub first_port: u16,
    /// The highest port, not less than the lowest.
    pub last_port: u16,
    /// The transport protocol; absent for all that can be balanced.
    pub protocol: Option<Protocol>,
    /// The line in the file, counted from 1.
    pub line: usize,
}

impl MarkMatch {
    /// How many keys there are; as many as can be counted if they are more.
    #[must_use]
    pub fn count(&self) -> usize {
        let ports = usize::from(self.last_port.saturating_sub(self.first_port)) + 1;
        self.addresses.count().saturating_mul(ports).saturating_mul(self.protocols().len())
    }

    /// Each address with each port and protocol, once.
    pub fn keys(&self) -> impl Iterator<Item = (IpAddr, u16, Protocol)> + '_ {
        self.addresses.iter().flat_map(move |address| {
            (self.first_port..=self.last_port).flat_map(move |port| {
                self.protocols().iter().map(move |protocol| (address, port, *protocol))
            })
        })
    }

    /// Those that it is about.
    #[must_use]
    pub const fn protocols(&self) -> &'static [Protocol] {
        match self.protocol {
            Some(Protocol::Tcp) => &[Protocol::Tcp],
            Some(Protocol::Udp) => &[Protocol::Udp],
            Some(Protocol::Sctp) => &[Protocol::Sctp],
            None => &Protocol::ALL,
        }
    }
}
