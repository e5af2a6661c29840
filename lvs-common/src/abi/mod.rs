//! What lies in the BPF maps, byte for byte: the contract between controller and data path.
//!
//! Every type is `repr(C)` without implicit padding, which zerocopy's derives prove at compile time.
//! A change of any layout here raises [`ABI_VERSION`], and with it the directory of the pins.

mod connection;
mod counter;
mod server;
mod service;
mod template;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

pub use connection::{Direction, Flow4, NextHop, Tuple4, flow_flags};
pub use counter::Counter;
pub use server::{Server, Statistics, server_flags};
pub use service::{SchedulerState, Service, ServiceKey4, forwarding, scheduler};
pub use template::{Template4, TemplateKey4};

/// Version of all layouts and map names in this module; part of the pin directory's path (`v1`).
pub const ABI_VERSION: u32 = 1;

/// Virtual services that fit, also the bound of [`Service::id`].
pub const MAX_SERVICES: u32 = 4096;

/// Real servers of all services that fit; the bound of a server id.
pub const MAX_SERVERS: u32 = 65_536;

/// Slots for member lists: twice the servers, so that a new list never overwrites the one in use.
pub const MAX_MEMBERS: u32 = 2 * MAX_SERVERS;

/// Interfaces that can be attached at a time.
pub const MAX_INTERFACES: u32 = 64;

/// Entries in the connection table: two for each of 1,000,000 connections.
pub const MAX_FLOWS: u32 = 2_000_000;

/// Persistence templates that fit.
pub const MAX_TEMPLATES: u32 = 1_000_000;

/// Neighbours in use that the controller can be told of.
pub const MAX_NEIGHBOURS: u32 = 16_384;

/// Values in `NEIGHBOURS4`.
pub mod neighbour_state {
    /// In use; the kernel should confirm from time to time that it is still there.
    pub const IN_USE: u32 = 0;
    /// Wanted, and not resolved.
    pub const UNRESOLVED: u32 = 1;
}

/// A neighbour that the data path sends to: the key of `NEIGHBOURS4`. The value is a number of
/// [`neighbour_state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Neighbour4 {
    /// Its address, as on the wire.
    pub address: [u8; 4],
    /// The interface on whose link it is.
    pub interface: u32,
}

/// An attached interface: the value of `INTERFACES`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Interface {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Always zero.
    pub reserved: u16,
}

/// Implements aya's marker for each type that userspace reads or writes in a map.
#[cfg(feature = "aya")]
mod pod {
    macro_rules! pod {
        ($($name:ident),+ $(,)?) => {
            $(
                // SAFETY: the type is `repr(C)`, has no padding and accepts every bit pattern, which
                // its zerocopy derives check at compile time.
                unsafe impl aya::Pod for super::$name {}
            )+
        };
    }
    pod!(
        Flow4,
        Interface,
        Neighbour4,
        SchedulerState,
        Server,
        Service,
        ServiceKey4,
        Statistics,
        Template4,
        TemplateKey4,
        Tuple4,
    );
}
