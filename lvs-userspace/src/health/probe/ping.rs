//! `PING_CHECK`: an echo request that is answered.

use std::io;

use nix::errno::Errno;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::time::timeout;

use super::{Fault, socket, within};
use crate::config::{Connection, Family};

const ECHO_REQUEST4: u8 = 8;
const ECHO_REPLY4: u8 = 0;
const ECHO_REQUEST6: u8 = 128;
const ECHO_REPLY6: u8 = 129;
/// ICMP header: type, code, checksum, identifier, sequence number.
const HEADER: usize = 8;

/// Sends one request with a random identifier and number, and waits for its answer.
pub(super) async fn check(connection: &Connection) -> Result<(), Fault> {
    let connection = &Connection { port: 0, bind_port: None, ..connection.clone() };
    let (socket, raw) = open(connection)?;
    let socket = socket::connected(socket, connection)?;
    let v4 = connection.address.is_ipv4();
    let (identifier, sequence) = (fastrand::u16(..).to_be_bytes(), fastrand::u16(..).to_be_bytes());
    let request = request(v4, identifier, sequence);
    socket.send(&request).await.map_err(|error| Fault::of_peer(&error))?;
    let answered = async {
        let mut buffer = [0; 256];
        loop {
            let length = match socket.recv(&mut buffer).await {
                Ok(length) => length,
                Err(error) => return Err(Fault::of_peer(&error)),
            };
            let packet = buffer.get(..length).unwrap_or_default();
            if answers(packet, v4, raw.then_some(identifier), sequence) {
                return Ok(());
            }
        }
    };
    timeout(connection.timeout, answered)
        .await
        .unwrap_or_else(|_| Err(within("no answer", connection.timeout)))
}

/// A socket for echo requests only, which the kernel gives an identifier and sorts answers for; it is there for the groups of
/// `net.ipv4.ping_group_range` only. Else a raw one, which needs `CAP_NET_RAW`; true for that.
fn open(connection: &Connection) -> Result<(Socket, bool), Fault> {
    let protocol = if connection.address.is_ipv4() { Protocol::ICMPV4 } else { Protocol::ICMPV6 };
    let denied = |error: &io::Error| error.raw_os_error() == Some(Errno::EACCES as i32);
    // Whether the simple one can be made at all; what else can go wrong is told below.
    let domain = Domain::for_address((connection.address, 0).into());
    let kind = match Socket::new(domain, Type::DGRAM, Some(protocol)) {
        Err(error) if denied(&error) => Type::RAW,
        _ => Type::DGRAM,
    };
    Ok((socket::prepared(connection, kind, Some(protocol))?, kind == Type::RAW))
}

/// Whether this process may make either.
pub(crate) fn may_ping(family: Family) -> bool {
    let (domain, protocol) = match family {
        Family::Ipv4 => (Domain::IPV4, Protocol::ICMPV4),
        Family::Ipv6 => (Domain::IPV6, Protocol::ICMPV6),
    };
    let refused = |kind| {
        let socket = Socket::new(domain, kind, Some(protocol));
        let number = socket.err().and_then(|error| error.raw_os_error()).map(Errno::from_raw);
        matches!(number, Some(Errno::EACCES | Errno::EPERM))
    };
    !(refused(Type::DGRAM) && refused(Type::RAW))
}

fn request(v4: bool, identifier: [u8; 2], sequence: [u8; 2]) -> Vec<u8> {
    let kind = if v4 { ECHO_REQUEST4 } else { ECHO_REQUEST6 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(identifier);
    packet.extend(sequence);
    packet.extend(b"xlvs checks whether you are here");
    if v4 {
        // For IPv6 the kernel does that.
        let sum = checksum(&packet).to_be_bytes();
        for (byte, value) in packet.iter_mut().skip(2).zip(sum) {
            *byte = value;
        }
    }
    packet
}

/// RFC 1071.
fn checksum(packet: &[u8]) -> u16 {
    let words = packet.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Whether a packet is the answer. Raw sockets of IPv4 give the IP header too, and everybody's answers.
fn answers(packet: &[u8], v4: bool, identifier: Option<[u8; 2]>, sequence: [u8; 2]) -> bool {
    let header = match (packet.first(), v4 && identifier.is_some()) {
        (Some(first), true) => usize::from(first & 0x0f) * 4,
        _ => 0,
    };
    let Some(packet) = packet.get(header..).filter(|packet| packet.len() >= HEADER) else {
        return false;
    };
    let reply = if v4 { ECHO_REPLY4 } else { ECHO_REPLY6 };
    packet.starts_with(&[reply, 0])
        && identifier.is_none_or(|identifier| packet.get(4..6) == Some(&identifier))
        && packet.get(6..8) == Some(&sequence)
}
