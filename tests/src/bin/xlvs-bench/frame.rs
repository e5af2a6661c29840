//! The frames that are sent: 64 bytes over IPv4, 80 over IPv6, without options, so that every field lies
//! where the wrapper and the floor expect it.

use std::net::IpAddr;

use crate::case::{Family, Protocol};

/// From which address and port to which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tuple {
    pub(crate) source: IpAddr,
    pub(crate) source_port: u16,
    pub(crate) destination: IpAddr,
    pub(crate) destination_port: u16,
}

/// The segment's flag byte.
pub(crate) mod flags {
    pub(crate) const SYN: u8 = 0x02;
    pub(crate) const ACK: u8 = 0x10;
}

/// What is in the packet.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// A TCP segment with these flags.
    Tcp(u8),
    /// A UDP datagram.
    Udp,
    /// An echo request; the ports do not count.
    Echo,
}

impl Content {
    /// What a client sends first.
    pub(crate) const fn opening(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(flags::SYN),
            Protocol::Udp => Self::Udp,
        }
    }

    /// What both sides send while the connection lasts.
    pub(crate) const fn established(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Tcp => Self::Tcp(flags::ACK),
            Protocol::Udp => Self::Udp,
        }
    }
}

/// Frames are sent to this address, which the engine is told is the interface's own.
pub(crate) const OWN_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OTHER_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Every frame of a family is as long as this.
pub(crate) const fn length(family: Family) -> usize {
    match family {
        Family::V4 => 64,
        Family::V6 => 80,
    }
}

/// The bytes of a frame. The sum in the transport header is any: the engine changes it by a difference.
pub(crate) fn bytes(family: Family, tuple: &Tuple, content: Content) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length(family));
    bytes.extend(OWN_MAC);
    bytes.extend(OTHER_MAC);
    let (protocol, echo) = match (content, family) {
        (Content::Tcp(_), _) => (6, 0),
        (Content::Udp, _) => (17, 0),
        (Content::Echo, Family::V4) => (1, 8),
        (Content::Echo, Family::V6) => (58, 128),
    };
    let behind = match (tuple.source, tuple.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            bytes.extend([0x08, 0x00]);
            let length = 64 - 14_u16;
            let [high, low] = length.to_be_bytes();
            let mut header = vec![0x45, 0, high, low, 0x12, 0x34, 0x40, 0, 64, protocol, 0, 0];
            header.extend(source.octets());
            header.extend(destination.octets());
            let sum = checksum(&header).to_be_bytes();
            for (place, byte) in header.iter_mut().skip(10).zip(sum) {
                *place = byte;
            }
            bytes.extend(header);
            length - 20
        }
        (source, destination) => {
            bytes.extend([0x86, 0xdd]);
            let length = 80 - 14 - 40_u16;
            bytes.extend([0x60, 0, 0, 0]);
            bytes.extend(length.to_be_bytes());
            bytes.extend([protocol, 64]);
            for address in [source, destination] {
                match address {
                    IpAddr::V4(address) => bytes.extend(address.to_ipv6_mapped().octets()),
                    IpAddr::V6(address) => bytes.extend(address.octets()),
                }
            }
            length
        }
    };
    if matches!(content, Content::Echo) {
        bytes.extend([echo, 0, 0x12, 0x34, 0, 1, 0, 1]);
    } else {
        bytes.extend(tuple.source_port.to_be_bytes());
        bytes.extend(tuple.destination_port.to_be_bytes());
        if let Content::Tcp(flags) = content {
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0x20, 0, 0x12, 0x34, 0, 0]);
        } else {
            bytes.extend(behind.to_be_bytes());
            bytes.extend([0x12, 0x34]);
        }
    }
    bytes.resize(length(family), 0);
    bytes
}

/// A request for an address, of the same length as the others.
pub(crate) fn arp(family: Family) -> Vec<u8> {
    let mut bytes = vec![0xff; 6];
    bytes.extend(OTHER_MAC);
    bytes.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    bytes.extend(OTHER_MAC);
    bytes.extend([172, 16, 0, 2, 0, 0, 0, 0, 0, 0, 172, 16, 0, 1]);
    bytes.resize(length(family), 0);
    bytes
}

/// The sum of an IPv4 header (RFC 1071).
fn checksum(header: &[u8]) -> u16 {
    let (pairs, _) = header.as_chunks::<2>();
    let mut sum: u32 = pairs.iter().map(|pair| u32::from(u16::from_be_bytes(*pair))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Where the addresses and behind them the ports lie.
pub(crate) const fn addresses(family: Family) -> std::ops::Range<usize> {
    match family {
        Family::V4 => 26..38,
        Family::V6 => 22..58,
    }
}

/// Bytes as `N` words; what is missing is zero.
pub(crate) fn words<const N: usize>(bytes: &[u8]) -> [u64; N] {
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks(8)) {
        let mut whole = [0; 8];
        for (place, byte) in whole.iter_mut().zip(bytes) {
            *place = *byte;
        }
        *word = u64::from_ne_bytes(whole);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn frames_lie_as_the_wrapper_expects() {
        let tuple = Tuple {
            source: Ipv4Addr::new(10, 0, 0, 1).into(),
            source_port: 0x0102,
            destination: Ipv4Addr::new(10, 0, 0, 2).into(),
            destination_port: 0x0304,
        };
        let frame = bytes(Family::V4, &tuple, Content::Tcp(flags::ACK));
        assert_eq!(frame.len(), 64);
        assert_eq!(frame[addresses(Family::V4)], [10, 0, 0, 1, 10, 0, 0, 2, 1, 2, 3, 4]);
        assert_eq!(frame[47], flags::ACK);
        assert_eq!(checksum(&frame[14..34]), 0, "a header with its sum adds up to nothing");
    }

    #[test]
    fn words_are_filled_up() {
        assert_eq!(words::<2>(&[1, 0, 0, 0, 0, 0, 0, 0, 2]), [1, 2].map(u64::from_le));
    }
}
