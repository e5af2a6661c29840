//! What lies in the BPF maps, byte for byte: the contract between controller and data path.
//!
//! Every type is `repr(C)` without padding, which zerocopy's derives prove at compile time, or for the types that
//! are generic over the address family an assertion on their size. A change of any layout here raises
//! [`ABI_VERSION`], and with it the directory of the pins. A map for IPv4 has a name that ends in `4`, its twin for
//! IPv6 one that ends in `6`.

mod address;
mod connection;
mod counter;
mod filter;
mod fragment;
mod interface;
mod ledger;
mod server;
mod service;
mod settings;
mod stage;
mod template;

pub use address::{Address, V4, V6, words};
pub use connection::{Direction, Flow, Head, Limits, NO_SLOT, NextHop, Tuple, flow_flags, split};
pub use counter::{Counter, Fate};
pub use filter::{FILTER_WORDS, Mark};
pub use fragment::{Fragment, FragmentKey};
pub use interface::{Interface, Neighbour, interface_flags, neighbour_state};
pub use ledger::{Identity, LedgerHead, Place, identity_flags};
pub use server::{Load, Server, Statistics, server_flags};
pub use service::{
    Destination, DestinationKey, NO_SERVER, REPLICAS, Run, SchedulerState, Service, ServiceKey,
    forwarding, scheduler, service_flags,
};
pub use settings::{Clock, Settings, settings_flags};
pub use stage::Stage;
pub use template::{Template, TemplateKey};

/// Version of all layouts and map names in this module; part of the pin directory's path (`v5`).
pub const ABI_VERSION: u32 = 5;

/// Virtual services that fit.
pub const MAX_SERVICES: u32 = 4096;

/// Places for real servers of all services unless the configuration asks for more.
pub const DEFAULT_SERVERS: u32 = 65_536;

/// Places for real servers at most; the bound of a server id. A configuration has half as many at most: while those that
/// have left it keep their places, all others find one.
pub const MAX_SERVERS: u32 = 262_144;

/// Server ids in an element of `MEMBERS`: an array's elements are eight bytes at least.
pub const MEMBERS_EACH: usize = 2;

/// Elements of `MEMBERS` unless the configuration asks for more: room for twice the servers, so that a new list never
/// overwrites the one in use.
pub const DEFAULT_MEMBERS: u32 = 2 * DEFAULT_SERVERS / MEMBERS_EACH as u32;

/// Elements of one half of `MEMBERS` at most: 64 MiB.
pub const MAX_MEMBERS: u32 = 1 << 23;

/// Elements of `RUNS` for so many servers: twice as many, so that new ones never overwrite those in use.
#[must_use]
pub const fn runs(servers: u32) -> u32 {
    2 * servers
}

/// States of schedulers: twice the services, so that a new one never overwrites the one in use.
pub const MAX_STATES: u32 = 2 * MAX_SERVICES;

/// Services that have numbers at a time, with so many servers: each has a server that keeps a place.
#[must_use]
pub const fn identities(servers: u32) -> u32 {
    servers + MAX_SERVICES
}

/// Keys of services of each family that fit: those of marks are many for one service, and new ones come before old ones
/// go.
pub const MAX_KEYS: u32 = 2 * 81_920;

/// Destinations that lblc and lblcr remember, of all services; the one longest unused gives way.
pub const MAX_DESTINATIONS: u32 = 65_536;

/// Local addresses of full NAT that fit.
pub const MAX_LOCALS: u32 = 65_536;

/// Places of `LOCALS`: new ones never overwrite those in use.
pub const LOCAL_PLACES: u32 = 2 * MAX_LOCALS;

/// Ports that full NAT can take: all from 1,024 on.
pub const MAX_PORTS: u32 = 65_536 - 1024;

/// Interfaces that can be attached at a time.
pub const MAX_INTERFACES: u32 = 64;

/// Connections of each family that fit unless the controller is told otherwise. Each has two entries.
pub const DEFAULT_CONNECTIONS: u32 = 1_000_000;

/// Persistence templates of each family that fit.
pub const MAX_TEMPLATES: u32 = 1_000_000;

/// Datagrams of each family whose fragments are followed at a time.
pub const MAX_FRAGMENTS: u32 = 16_384;

/// Neighbours in use that the controller can be told of.
pub const MAX_NEIGHBOURS: u32 = 16_384;

/// Keys that a collecting program takes at once: the verifier walks all it does for one as often.
pub const COLLECTED_AT_ONCE: usize = 16;

/// How many of so many connections may be half open: a quarter. An odd number: a flood goes through the ring in
/// steps of a few slots (`half_open::take_slot`), and so comes to each of them in turn.
#[must_use]
pub const fn half_open_slots(connections: u32) -> u32 {
    (connections / 4) | 1
}

/// Implements aya's marker for each type that userspace reads or writes in a map.
#[cfg(feature = "aya")]
mod pod {
    macro_rules! pod {
        ($($name:ty),+ $(,)?) => {
            $(
                // SAFETY: the type is `repr(C)`, has no padding and accepts every bit pattern, which
                // its zerocopy derives or the assertions on its size check at compile time.
                unsafe impl aya::Pod for $name {}
            )+
        };
    }
    use super::{
        Clock, Destination, DestinationKey, Flow, Fragment, FragmentKey, Identity, Interface,
        LedgerHead, Load, Neighbour, Place, Run, SchedulerState, Server, Service, ServiceKey,
        Settings, Statistics, Template, TemplateKey, Tuple, V4, V6,
    };
    pod!(
        Clock,
        Destination,
        DestinationKey,
        Flow<V4>,
        Flow<V6>,
        Fragment,
        FragmentKey<V4>,
        FragmentKey<V6>,
        Identity,
        Interface,
        LedgerHead,
        Load,
        Neighbour<V4>,
        Neighbour<V6>,
        Place,
        Run,
        SchedulerState,
        Server,
        Service,
        ServiceKey<V4>,
        ServiceKey<V6>,
        Settings,
        Statistics,
        Template,
        TemplateKey<V4>,
        TemplateKey<V6>,
        Tuple<V4>,
        Tuple<V6>,
    );
}
