//! Frames to send through the engine, built ([`build`]) and read ([`read`]) by `etherparse`, which knows nothing of
//! our own offsets and checksum differences.

mod build;
mod read;

use std::{string::String, vec::Vec};

use etherparse::{IpNumber, ether_type};

use crate::abi::{Address, Tuple};

/// A VLAN tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// `EtherType` that announces it: that of 802.1Q or of 802.1ad.
    pub kind: u16,
    /// Priority, three bits.
    pub priority: u8,
    /// VLAN, twelve bits.
    pub id: u16,
}

impl Tag {
    /// One of 802.1Q, as most are.
    #[must_use]
    pub const fn vlan(id: u16) -> Self {
        Self { kind: ether_type::VLAN_TAGGED_FRAME.0, priority: 0, id }
    }

    /// An outer one of 802.1ad.
    #[must_use]
    pub const fn provider(id: u16) -> Self {
        Self { kind: ether_type::PROVIDER_BRIDGING.0, priority: 0, id }
    }
}

/// An IPv6 extension header of which nothing but its length is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// Its number: 0 for hop-by-hop options, 60 for destination options.
    pub number: u8,
    /// What follows its first two bytes; six bytes, or eight more, or eight more.
    pub content: Vec<u8>,
}

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// A segment with the [`flags`](Frame::flags).
    Tcp,
    /// A datagram.
    Udp,
    /// A datagram without checksum.
    UnsummedUdp,
    /// A message of the family's ICMP.
    Icmp {
        /// Type.
        kind: u8,
        /// Code.
        code: u8,
        /// What follows the checksum: the MTU of a "too big", for one.
        rest: u32,
    },
}

/// A packet of one address family in an Ethernet frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame<A> {
    /// Source and destination MAC address.
    pub macs: [[u8; 6]; 2],
    /// VLAN tags, the outer one first.
    pub tags: Vec<Tag>,
    /// Source address.
    pub source: A,
    /// Destination address.
    pub destination: A,
    /// Time to live, or hop limit.
    pub ttl: u8,
    /// Type of service, or traffic class.
    pub class: u8,
    /// IPv4: whether routers may not cut it.
    pub dont_fragment: bool,
    /// Identification, for IPv4 of 16 bits; for IPv6 only fragments have it.
    pub identification: u32,
    /// IPv4 options; a multiple of four bytes, 40 at most.
    pub options: Vec<u8>,
    /// IPv6 extension headers but that of fragments.
    pub extensions: Vec<Extension>,
    /// What it carries.
    pub protocol: Protocol,
    /// Source and destination port; zeros for ICMP.
    pub ports: [u16; 2],
    /// TCP flags as in [`crate::tcp::flags`].
    pub flags: u8,
    /// What the segment, datagram or message carries.
    pub payload: Vec<u8>,
}

impl<A: Address> Frame<A> {
    /// A TCP segment from one address and port to another, with these flags and nothing else of note.
    #[must_use]
    pub fn new(source: (A, u16), destination: (A, u16), flags: u8) -> Self {
        Self {
            macs: [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]],
            tags: Vec::new(),
            source: source.0,
            destination: destination.0,
            ttl: 64,
            class: 0,
            dont_fragment: false,
            identification: if A::VERSION == 4 { 0x1234 } else { 0 },
            options: Vec::new(),
            extensions: Vec::new(),
            protocol: Protocol::Tcp,
            ports: [source.1, destination.1],
            flags,
            payload: Vec::new(),
        }
    }

    /// A UDP datagram.
    #[must_use]
    pub fn udp(source: (A, u16), destination: (A, u16), payload: &[u8]) -> Self {
        let payload = payload.to_vec();
        Self { protocol: Protocol::Udp, payload, ..Self::new(source, destination, 0) }
    }

    /// An ICMP error that quotes a packet.
    #[must_use]
    pub fn icmp(source: A, destination: A, [kind, code]: [u8; 2], rest: u32, quote: &[u8]) -> Self {
        Self {
            protocol: Protocol::Icmp { kind, code, rest },
            payload: quote.to_vec(),
            ..Self::new((source, 0), (destination, 0), 0)
        }
    }

    /// The IP protocol number of what it carries.
    #[must_use]
    pub const fn number(&self) -> u8 {
        match self.protocol {
            Protocol::Tcp => IpNumber::TCP.0,
            Protocol::Udp | Protocol::UnsummedUdp => IpNumber::UDP.0,
            Protocol::Icmp { .. } if A::VERSION == 4 => IpNumber::ICMP.0,
            Protocol::Icmp { .. } => IpNumber::IPV6_ICMP.0,
        }
    }

    /// The key that the engine finds it under.
    #[must_use]
    pub fn tuple(&self) -> Tuple<A> {
        let [source_port, destination_port] = self.ports;
        Tuple {
            source: self.source,
            destination: self.destination,
            source_port,
            destination_port,
            protocol: self.number().into(),
        }
    }

    /// The source: address and port.
    #[must_use]
    pub const fn from(&self) -> (A, u16) {
        let [port, _] = self.ports;
        (self.source, port)
    }

    /// The destination.
    #[must_use]
    pub const fn to(&self) -> (A, u16) {
        let [_, port] = self.ports;
        (self.destination, port)
    }
}

/// Both addresses of a packet, as etherparse's functions differ by family.
#[derive(Clone, Copy, Debug)]
enum Pair {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

impl Pair {
    fn of<A: Address>(frame: &Frame<A>) -> Self {
        let [source, destination] = [frame.source.widen(), frame.destination.widen()];
        if A::VERSION == 4 {
            Self::V4(Address::narrow(source), Address::narrow(destination))
        } else {
            Self::V6(source, destination)
        }
    }
}

/// An error of etherparse's in words.
fn said(error: impl core::fmt::Display) -> String {
    std::format!("{error}")
}
