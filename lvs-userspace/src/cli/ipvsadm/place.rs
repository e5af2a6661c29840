//! Services and servers by address and port, as ipvsadm reads them.

use std::net::{IpAddr, Ipv6Addr};

use super::names::{address_of, port_of};
use crate::{
    config::{Family, Protocol},
    control::edit::Mask,
};

/// A protocol that can be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named {
    Tcp,
    Udp,
    Sctp,
}

impl Named {
    pub(super) const fn balanced(self) -> Option<Protocol> {
        match self {
            Self::Tcp => Some(Protocol::Tcp),
            Self::Udp => Some(Protocol::Udp),
            Self::Sctp => None,
        }
    }
}

/// A service while it is read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Service {
    pub(super) protocol: Option<Named>,
    pub(super) family: Option<Family>,
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) mark: u32,
    pub(super) mask: Mask,
}

/// As `strtol` reads it.
pub(super) fn number(text: &str, least: i64, most: i64) -> Option<i64> {
    let text = text.trim_start();
    let digits = text.strip_prefix('+').unwrap_or(text);
    if digits.starts_with('+') {
        return None;
    }
    digits.parse().ok().filter(|value| (least..=most).contains(value))
}

/// Reads `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`; a port that is not given stays as it is. Tells whether it is one.
pub(super) fn place(text: &str, service: &mut Service) -> bool {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(inside) => match inside.split_once("]:") {
            Some((host, port)) => (host, Some(port)),
            None => return false,
        },
        None => (text, None),
    };
    let port = if let Ok(address) = host.parse::<Ipv6Addr>() {
        service.address = address.into();
        service.family = Some(Family::Ipv6);
        service.mask = Mask::Prefix(128);
        port
    } else {
        // The brackets may hold an IPv4 address, whose port is then not read.
        let (host, port) = match (port, host.rsplit_once(':')) {
            (_, Some((host, port))) => (host, Some(port)),
            (_, None) => (host, None),
        };
        let Some(address) = address_of(host) else { return false };
        service.address = address.into();
        service.family = Some(Family::Ipv4);
        port
    };
    let Some(port) = port else { return true };
    let named = || port_of(port, service.protocol.and_then(Named::balanced)?);
    let number = number(port, 0, 65_535).and_then(|port| port.try_into().ok());
    match number.or_else(named) {
        Some(port) => {
            service.port = port;
            true
        }
        None => false,
    }
}
