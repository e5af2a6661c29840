//! Random traffic that is likely to meet something: requests, replies, errors and fragments of all services, most of it
//! of connections that there are, and some of it with bytes changed.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use lvs_common::{
    abi::{Flow, Tuple, V4, V6},
    host::{
        Extension, Frame, Protocol, Tag,
        sample::{Kind, Method, SERVER_PORT, port},
    },
    tcp::flags::{ACK, FIN, RST, SYN},
    wire,
};

use crate::{
    talk::Error,
    world::{Place, Special, World},
};

/// Ports of clients. With these there are more connections than the tables take.
const CLIENT_PORTS: u16 = 40;

/// A frame, of either family.
pub(crate) fn frame(random: &mut fastrand::Rng, world: &World) -> Vec<u8> {
    if random.bool() { of_family::<V4>(random, world) } else { of_family::<V6>(random, world) }
}

/// Any of these.
fn any<T: Copy>(random: &mut fastrand::Rng, from: &[T]) -> T {
    from[random.usize(..from.len())]
}

/// Whether something happens that happens once in so many times.
fn once_in(random: &mut fastrand::Rng, times: u32) -> bool {
    random.u32(..times) == 0
}

/// One of the connections that there are: a key and its flow.
pub(crate) fn connection<A: Place>(
    random: &mut fastrand::Rng,
    world: &World,
) -> Option<(Tuple<A>, Flow<A>)> {
    let flows = A::tables(&world.memory).flows.borrow();
    // The order in a hash map is another one in each run.
    let salt = random.u64(..);
    let place = |key: &Tuple<A>| {
        let mut hasher = DefaultHasher::new();
        (salt, key).hash(&mut hasher);
        hasher.finish()
    };
    flows.iter().min_by_key(|(key, _)| place(key)).map(|(key, flow)| (*key, flow.get()))
}

fn of_family<A: Place>(random: &mut fastrand::Rng, world: &World) -> Vec<u8> {
    let known = connection::<A>(random, world);
    let tuple = match (random.u8(..10), known) {
        (0, Some((key, flow))) => return error(random, &key, &flow),
        (1..6, Some((key, _))) => key,
        (6, _) => reply(random),
        _ => request(random),
    };
    let mut frame = of_tuple(random, &tuple);
    adorn(random, &mut frame);
    let tags = frame.tags.len();
    let mut bytes = if once_in(random, 12) {
        // Few numbers, so that the pieces of a datagram meet.
        frame.identification = random.u32(1..5);
        frame.payload = vec![7; 600];
        let mut pieces = frame.fragments(256).unwrap();
        pieces.swap_remove(random.usize(..pieces.len()))
    } else {
        frame.bytes().unwrap()
    };
    damage::<A>(random, &mut bytes, wire::ETH_LEN + tags * wire::VLAN_LEN);
    bytes
}

/// A client's packet to some service.
fn request<A: Place>(random: &mut fastrand::Rng) -> Tuple<A> {
    const SPECIAL: [Special; 4] =
        [Special::Narrow, Special::Unresolved, Special::Empty, Special::Own];
    let [near, far] = A::CLIENTS;
    let clients = [near, near, far, A::NARROW_CLIENT, A::STRANGER];
    let method = any(random, &[Method::Nat, Method::FullNat]);
    let kind = any(random, &Kind::ALL);
    let mut protocol = kind.protocol();
    let mut port = port(method, kind);
    match random.u8(..20) {
        0..5 => {
            port = any(random, &SPECIAL).port(method);
            protocol = any(random, &[wire::PROTOCOL_TCP, wire::PROTOCOL_UDP]);
        }
        5 => port = 22,
        _ => {}
    }
    let lost = once_in(random, 30);
    Tuple {
        source: if lost { A::ROUTER } else { any(random, &clients) },
        destination: A::VIP,
        source_port: 40_000 + random.u16(..CLIENT_PORTS),
        destination_port: port,
        protocol: protocol.into(),
    }
}

/// A server's packet, which may belong to no connection.
fn reply<A: Place>(random: &mut fastrand::Rng) -> Tuple<A> {
    let protocol = any(random, &[wire::PROTOCOL_TCP, wire::PROTOCOL_UDP]);
    Tuple {
        source: any(random, &A::SERVERS),
        destination: any(random, &A::CLIENTS),
        source_port: SERVER_PORT,
        destination_port: 40_000 + random.u16(..CLIENT_PORTS),
        protocol: protocol.into(),
    }
}

fn of_tuple<A: Place>(random: &mut fastrand::Rng, tuple: &Tuple<A>) -> Frame<A> {
    const FLAGS: [u8; 9] = [SYN, SYN, ACK, ACK, ACK, FIN | ACK, RST, SYN | ACK, 0];
    let source = (tuple.source, tuple.source_port);
    let destination = (tuple.destination, tuple.destination_port);
    if tuple.protocol == u32::from(wire::PROTOCOL_TCP) {
        Frame::new(source, destination, any(random, &FLAGS))
    } else {
        let protocol = if once_in(random, 8) { Protocol::UnsummedUdp } else { Protocol::Udp };
        Frame { protocol, ..Frame::udp(source, destination, b"") }
    }
}

/// An error about a packet of this flow.
fn error<A: Place>(random: &mut fastrand::Rng, key: &Tuple<A>, flow: &Flow<A>) -> Vec<u8> {
    let sent = Tuple {
        source: flow.source,
        destination: flow.destination,
        source_port: flow.source_port,
        destination_port: flow.destination_port,
        protocol: key.protocol,
    };
    let mut quoted = of_tuple(random, &sent);
    quoted.payload = vec![9; random.usize(..200)];
    let packet = quoted.packet().unwrap();
    let least = if A::VERSION == 4 { 28 } else { 48 };
    let quote = &packet[..random.usize(least..=packet.len())];
    let errors = [Error::PortUnreachable, Error::TimeExceeded, Error::TooBig(1280)];
    let (kind, rest) = any(random, &errors).of::<A>();
    let speaker = any(random, &[flow.destination, A::ROUTER]);
    let mut frame = Frame::icmp(speaker, flow.source, kind, rest, quote);
    if once_in(random, 20) {
        frame.ttl = 1;
    }
    if once_in(random, 8) {
        frame.tags = vec![Tag::vlan(7)];
    }
    let mut bytes = frame.bytes().unwrap();
    damage::<A>(random, &mut bytes, wire::ETH_LEN + frame.tags.len() * wire::VLAN_LEN);
    bytes
}

/// Tags, options, a large payload, the end of the TTL, another host's MAC address.
fn adorn<A: Place>(random: &mut fastrand::Rng, frame: &mut Frame<A>) {
    frame.ttl = if once_in(random, 40) { 1 } else { random.u8(2..) };
    frame.class = random.u8(..);
    frame.payload = vec![0; random.usize(..64)];
    random.fill(&mut frame.payload);
    match random.u32(..100) {
        0..4 => frame.macs[1] = [0xff; 6],
        4..8 if A::VERSION == 4 => frame.options = vec![1; 4 * random.usize(1..=10)],
        4..8 => {
            let number = any(random, &[0, 60]);
            frame.extensions = vec![Extension { number, content: vec![1, 4, 0, 0, 0, 0] }];
        }
        8..12 => frame.tags = vec![Tag::vlan(random.u16(1..4000))],
        12..16 => frame.tags = vec![Tag::provider(100), Tag::vlan(7)],
        16..20 => {
            // Around the MTU of the narrow ways.
            frame.payload = vec![5; random.usize(1320..1400)];
            frame.dont_fragment = A::VERSION == 4 && random.bool();
        }
        _ => {}
    }
}

/// Changes a byte now and then, or cuts the frame. `ip` is where the IP header starts.
fn damage<A: Place>(random: &mut fastrand::Rng, bytes: &mut Vec<u8>, ip: usize) {
    // Not in the addresses: the host has routes to single destinations only.
    let (addresses, fixed) =
        if A::VERSION == 4 { (ip + 12..ip + 20, 20) } else { (ip + 8..ip + 40, 40) };
    if once_in(random, 10) {
        let place = random.usize(12..bytes.len().min(110));
        if !addresses.contains(&place) {
            bytes[place] = random.u8(..);
        }
    }
    if A::VERSION == 4 && once_in(random, 200) {
        // Which means something in a socket buffer.
        bytes[ip + 2..ip + 4].fill(0);
    }
    if once_in(random, 50) {
        // The kernel refuses to test a socket buffer with less than an IP header.
        let least = ip + fixed;
        bytes.truncate(random.usize(least..=bytes.len().max(least)));
    }
}
