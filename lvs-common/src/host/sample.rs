//! A balancer as tests like it: in both families a virtual address with NAT and full NAT services, two real servers
//! and one of weight 0 behind each, clients on one side, servers on the other.

use super::{MemoryEnv, Stored};
use crate::{
    abi::{
        Interface, MEMBERS_EACH, NextHop, Server, Service, ServiceKey, V4, V6, forwarding,
        half_open_slots, scheduler, server_flags, service_flags,
    },
    env::{Reach, Route},
    wire,
};

/// The interface towards the clients.
pub const CLIENT_SIDE: u32 = 3;
/// The interface towards the servers.
pub const SERVER_SIDE: u32 = 4;
/// MAC address of the clients' router.
pub const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
/// MAC address of the servers' switch.
pub const SERVER_MAC: [u8; 6] = [2, 0, 0, 0, 2, 1];
/// MAC address that the balancer sends from.
pub const LOCAL_MAC: [u8; 6] = [2, 0, 0, 0, 3, 1];
/// MAC address that the balancer is reached under: the second one of a new [`Frame`](super::Frame).
pub const HERE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];
/// The port of all real servers.
pub const SERVER_PORT: u16 = 8089;
/// The MTU of all ways.
pub const MTU: u16 = 1500;
/// Seconds of the services with persistence.
pub const PERSISTENCE: u32 = 10;
/// Ports of full NAT: few, so that they can run out.
pub const PORTS: core::ops::Range<u16> = 50_000..50_008;
/// Slots for half-open connections in each family.
pub const HALF_OPEN: u32 = half_open_slots(4 * 8);
/// The time at the start, in ns.
pub const START: u64 = 1_000_000_000_000;

/// How a service's packets reach its servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The servers see the client.
    Nat,
    /// The servers see a local address.
    FullNat,
}

/// What kind of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// TCP.
    Tcp,
    /// TCP with persistence.
    Persistent,
    /// UDP.
    Udp,
    /// UDP, each packet on its own.
    OnePacket,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Tcp, Self::Persistent, Self::Udp, Self::OnePacket];

    /// Its IP protocol number.
    #[must_use]
    pub const fn protocol(self) -> u8 {
        match self {
            Self::Tcp | Self::Persistent => wire::PROTOCOL_TCP,
            Self::Udp | Self::OnePacket => wire::PROTOCOL_UDP,
        }
    }
}

/// The virtual port of a service: the first digit tells the method, the last one the kind.
#[must_use]
pub const fn port(method: Method, kind: Kind) -> u16 {
    let first = match method {
        Method::Nat => 10_000,
        Method::FullNat => 20_000,
    };
    first
        + match kind {
            Kind::Tcp | Kind::Udp => 0,
            Kind::Persistent => 1,
            Kind::OnePacket => 2,
        }
}

/// The addresses of a family.
pub trait Sample: Stored {
    /// Clients with a route.
    const CLIENTS: [Self; 2];
    /// The virtual address.
    const VIP: Self;
    /// The real servers of each service, in the order of their ids; the last one has weight 0.
    const SERVERS: [Self; 3];
    /// Local addresses of full NAT.
    const LOCALS: [Self; 2];
    /// First of them in [`MemoryEnv::locals`].
    const FIRST_LOCAL: u32;
    /// The balancer's own addresses, towards clients and servers.
    const OWN: [Self; 2];
    /// A router that nobody has a route to.
    const ROUTER: Self;
}

impl Sample for V4 {
    const CLIENTS: [Self; 2] = [[10, 64, 1, 1], [10, 99, 7, 8]];
    const VIP: Self = [10, 64, 1, 2];
    const SERVERS: [Self; 3] = [[192, 168, 1, 100], [192, 168, 1, 101], [192, 168, 1, 102]];
    const LOCALS: [Self; 2] = [[192, 168, 1, 2], [192, 168, 1, 3]];
    const FIRST_LOCAL: u32 = 0;
    const OWN: [Self; 2] = [[10, 64, 1, 254], [192, 168, 1, 1]];
    const ROUTER: Self = [172, 16, 0, 1];
}

const fn v6(high: u16, low: u16) -> V6 {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    [0xfd, 0, 0, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0, c, d]
}

impl Sample for V6 {
    const CLIENTS: [Self; 2] = [v6(1, 1), v6(0x9999, 0x708)];
    const VIP: Self = v6(1, 2);
    const SERVERS: [Self; 3] = [v6(2, 0x100), v6(2, 0x101), v6(2, 0x102)];
    const LOCALS: [Self; 2] = [v6(2, 2), v6(2, 3)];
    const FIRST_LOCAL: u32 = 2;
    const OWN: [Self; 2] = [v6(1, 0xfe), v6(2, 1)];
    const ROUTER: Self = v6(0xffff, 1);
}

/// The balancer.
#[must_use]
pub fn balancer() -> MemoryEnv {
    let mut env = MemoryEnv::default();
    env.now.set(START);
    env.ingress.set(CLIENT_SIDE);
    env.settings.half_open = HALF_OPEN;
    env.ports = PORTS.collect();
    for (interface, (address4, address6)) in
        [CLIENT_SIDE, SERVER_SIDE].into_iter().zip(V4::OWN.into_iter().zip(V6::OWN))
    {
        let value = Interface { mac: HERE_MAC, flags: 0, address4, address6 };
        env.interfaces.insert(interface, value);
    }
    add_family::<V4>(&mut env);
    add_family::<V6>(&mut env);
    env
}

/// A way out of an interface.
#[must_use]
pub const fn via<A: Sample>(interface: u32, destination_mac: [u8; 6]) -> Route<A> {
    let hop = NextHop { interface, destination_mac, source_mac: LOCAL_MAC };
    Route { reach: Reach::Resolved, hop, neighbour: A::ROUTER, mtu: MTU }
}

/// A way out of an interface to a neighbour that is not resolved.
#[must_use]
pub const fn unresolved<A: Sample>(interface: u32, neighbour: A) -> Route<A> {
    let hop = NextHop { interface, ..NextHop::NONE };
    Route { reach: Reach::Unresolved, hop, neighbour, mtu: MTU }
}

/// The key of a service.
#[must_use]
pub fn service_key<A: Sample>(method: Method, kind: Kind) -> ServiceKey<A> {
    ServiceKey { address: A::VIP, port: port(method, kind), protocol: kind.protocol().into() }
}

fn add_family<A: Sample>(env: &mut MemoryEnv) {
    env.locals.extend(A::LOCALS.map(A::widen));
    for method in [Method::Nat, Method::FullNat] {
        for kind in Kind::ALL {
            add_service::<A>(env, method, kind);
        }
    }
    let clients = A::CLIENTS.into_iter().map(|client| (client, via(CLIENT_SIDE, CLIENT_MAC)));
    let servers = A::SERVERS.into_iter().map(|server| (server, via(SERVER_SIDE, SERVER_MAC)));
    A::tables(env).routes.borrow_mut().extend(clients.chain(servers));
}

fn add_service<A: Sample>(env: &mut MemoryEnv, method: Method, kind: Kind) {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let id = number(env.four.services.len() + env.six.services.len());
    let first_server = number(env.servers.len());
    let first_member = number(env.members.len() * MEMBERS_EACH);
    env.servers.extend(A::SERVERS.into_iter().zip([1, 1, 0]).map(|(address, weight)| Server {
        address: address.widen(),
        port: SERVER_PORT,
        flags: server_flags::AVAILABLE,
        weight,
        service: id,
        upper: 0,
        lower: 0,
        granularity: u32::MAX,
    }));
    let newest = first_server + 1;
    let service = Service {
        turns: 0,
        id,
        state: id,
        first_member,
        members: 2,
        persistence: if kind == Kind::Persistent { PERSISTENCE } else { 0 },
        granularity: u32::MAX,
        first_local: A::FIRST_LOCAL,
        locals: if method == Method::FullNat { number(A::LOCALS.len()) } else { 0 },
        scheduler: scheduler::ROUND_ROBIN,
        forwarding: if method == Method::FullNat { forwarding::FULL_NAT } else { forwarding::NAT },
        flags: if kind == Kind::OnePacket { service_flags::ONE_PACKET } else { 0 },
        reserved: 0,
        mark: 0,
    };
    env.members.push([newest, newest - 1]);
    A::tables_mut(env).services.insert(service_key(method, kind), service);
}
