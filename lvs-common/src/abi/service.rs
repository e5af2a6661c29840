//! Virtual services (`SERVICES4`, `SERVICES6`) and what their schedulers remember (`SCHEDULERS`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{Address, V4, V6};

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

impl<A: Address> ServiceKey<A> {
    /// The key of a service by firewall mark: no address has port and protocol 0.
    #[inline(always)]
    #[must_use]
    pub fn of_mark(mark: u32) -> Self {
        Self { address: A::narrow(mark.to_be_bytes().widen()), port: 0, protocol: 0 }
    }
}

/// Numbers of [`Service::scheduler`].
pub mod scheduler {
    /// rr, round robin.
    pub const ROUND_ROBIN: u8 = 0;
    /// wrr, weighted round robin.
    pub const WEIGHTED_ROUND_ROBIN: u8 = 1;
    /// lc, least connections.
    pub const LEAST_CONNECTION: u8 = 2;
    /// wlc, weighted least connections.
    pub const WEIGHTED_LEAST_CONNECTION: u8 = 3;
    /// sh, source hashing.
    pub const SOURCE_HASHING: u8 = 4;
    /// dh, destination hashing.
    pub const DESTINATION_HASHING: u8 = 5;
    /// lblc, locality-based least connections.
    pub const LOCALITY: u8 = 6;
    /// lblcr, the same with replication.
    pub const LOCALITY_REPLICATED: u8 = 7;
    /// sed, shortest expected delay.
    pub const SHORTEST_EXPECTED_DELAY: u8 = 8;
    /// nq, never queue.
    pub const NEVER_QUEUE: u8 = 9;
    /// mh, Maglev hashing.
    pub const MAGLEV: u8 = 10;
    /// fo, weighted fail-over.
    pub const FAIL_OVER: u8 = 11;
    /// ovf, weighted overflow.
    pub const OVERFLOW: u8 = 12;
    /// twos, the better of two random choices.
    pub const TWO_RANDOM_CHOICES: u8 = 13;
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
    /// sh and mh look for another server where that of the client is not usable (`IP_VS_SVC_F_SCHED1`).
    pub const FALLBACK: u8 = 2;
    /// sh and mh hash the client's port too (`IP_VS_SVC_F_SCHED2`).
    pub const SOURCE_PORT: u8 = 4;
}

/// A virtual service: the value of the service tables. One update of it switches to new lists, so that a service is
/// never seen half configured. Several keys may lead to the same service: a firewall mark's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Service {
    /// wrr: turns in a whole round, over all of its runs.
    pub turns: u64,
    /// The service's number, part of the template keys.
    pub id: u32,
    /// Its place in `SCHEDULERS`.
    pub state: u32,
    /// First place of its list in `MEMBERS`; with wrr, in `RUNS`.
    pub first_member: u32,
    /// Length of the list. sh, dh and mh: buckets. wrr: runs. All others: the servers whose weight is not 0, the newest
    /// first.
    pub members: u32,
    /// Persistence time-out in seconds; 0 without persistence.
    pub persistence: u32,
    /// How much of a client's address persistence tells apart. IPv4: a mask as it lies in memory. IPv6: a prefix
    /// length.
    pub granularity: u32,
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
    /// The firewall mark that it is a service of, for who reads the table; 0 for none.
    pub mark: u32,
}

impl Service {
    /// None at all.
    pub const NONE: Self = Self {
        turns: 0,
        id: 0,
        state: 0,
        first_member: 0,
        members: 0,
        persistence: 0,
        granularity: 0,
        first_local: 0,
        locals: 0,
        scheduler: 0,
        forwarding: 0,
        flags: 0,
        reserved: 0,
        mark: 0,
    };
}

/// wrr: the part of a round in which the same servers have a turn in each walk, an element of `RUNS`. With falling
/// weight limit the walks take in more and more servers; a run is the walks between two different weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Run {
    /// The turn of the round that it begins with.
    pub turn: u64,
    /// First place in `MEMBERS` of the servers that have a turn, the newest first.
    pub first_member: u32,
    /// How many they are.
    pub members: u32,
}

/// What a scheduler remembers from one connection to the next, shared by all CPUs. A cache line of
/// its own, so that services do not slow each other down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct SchedulerState {
    /// rr and wrr: turns taken so far.
    pub turn: u64,
    /// wrr: the turn that a round was last begun anew with because nobody could take one; all ones for never.
    pub restart: u64,
    /// The controller's note: with how many turns taken it was written.
    pub written: u64,
    /// rr, the controller's note: the server that was last when it was written, or [`NO_SERVER`].
    pub last: u32,
    /// wrr, the controller's note: the limit of the walk when it was written.
    pub limit: u32,
    /// wrr, the controller's note: by how much the limit falls from walk to walk.
    pub step: u32,
    /// Always zero.
    pub unused: u32,
    /// Fills the cache line.
    pub reserved: [u64; 3],
}

/// [`SchedulerState::last`] of a walk that begins at the head.
pub const NO_SERVER: u32 = u32::MAX;

impl SchedulerState {
    /// With so many turns taken.
    #[must_use]
    pub const fn at(turn: u64) -> Self {
        Self {
            turn,
            restart: u64::MAX,
            written: turn,
            last: NO_SERVER,
            limit: 0,
            step: 0,
            unused: 0,
            reserved: [0; 3],
        }
    }
}

/// Where lblc and lblcr have sent a destination's connections: the key of `DESTINATIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct DestinationKey {
    /// The destination's address, as on the wire; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// [`Service::id`].
    pub service: u32,
}

/// Servers that lblcr remembers for a destination at most.
pub const REPLICAS: usize = 16;

/// What lblc and lblcr remember of a destination: the value of `DESTINATIONS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Destination {
    /// When it was last looked up, in seconds of the data path's clock.
    pub used: u32,
    /// lblcr: when a server was last added or removed, likewise.
    pub modified: u32,
    /// How many servers there are; one with lblc.
    pub servers: u32,
    /// Their ids, the last added first.
    pub server: [u32; REPLICAS],
}

const _: () = assert!(size_of::<ServiceKey<V4>>() == 8);
const _: () = assert!(size_of::<ServiceKey<V6>>() == 20);
