//! Virtual services (`SERVICES4`, `SERVICES6`) and what their schedulers remember (`SCHEDULERS`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{V4, V6};

/// What a packet must be addressed to: the key of the service tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(4))]
pub struct ServiceKey<A> {
    /// The virtual address, as on the wire.
    pub address: A,
    /// The virtual port, host order.
    pub port: u16,
    /// IP protocol number.
    pub protocol: u16,
}

/// Numbers of [`Service::scheduler`].
pub mod scheduler {
    /// Round robin.
    pub const ROUND_ROBIN: u8 = 0;
}

/// Numbers of [`Service::forwarding`].
pub mod forwarding {
    /// Masquerading: the balancer is the real servers' gateway.
    pub const NAT: u8 = 0;
    /// Full NAT: the servers see an address of the balancer.
    pub const FULL_NAT: u8 = 1;
}

/// Bits of [`Service::flags`].
pub mod service_flags {
    /// One-packet scheduling (UDP).
    pub const ONE_PACKET: u8 = 1;
}

/// A virtual service: the value of the service tables. One update of it switches to a new member list, so
/// that a service is never seen half configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Service {
    /// The service's number: its place in `SCHEDULERS`, and part of the template keys.
    pub id: u32,
    /// First slot of the member list in `MEMBERS`.
    pub first_member: u32,
    /// Length of the member list: servers that may get new connections, newest first.
    pub members: u32,
    /// Persistence time-out in seconds; 0 without persistence.
    pub persistence: u32,
    /// Full NAT: first slot of the local addresses in `LOCALS`.
    pub first_local: u32,
    /// Full NAT: how many local addresses; 0 for the address of the interface towards the server.
    pub locals: u32,
    /// A number of [`scheduler`].
    pub scheduler: u8,
    /// A number of [`forwarding`].
    pub forwarding: u8,
    /// Bits of [`service_flags`].
    pub flags: u8,
    /// Always zero.
    pub reserved: u8,
}

/// What a scheduler remembers from one connection to the next, shared by all CPUs. A cache line of
/// its own, so that services do not slow each other down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SchedulerState {
    /// Turns taken so far.
    pub turn: u64,
    /// Fills the cache line.
    pub reserved: [u64; 7],
}

impl SchedulerState {
    /// As at the start of a service.
    pub const START: Self = Self { turn: 0, reserved: [0; 7] };
}

const _: () = assert!(size_of::<ServiceKey<V4>>() == 8);
const _: () = assert!(size_of::<ServiceKey<V6>>() == 20);
