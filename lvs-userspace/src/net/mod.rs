//! The host's network as the controller needs to know it, by netlink.

mod address;
mod exchange;
mod interface;
mod neighbour;
mod ports;
mod route;

pub(crate) use address::Addresses;
pub use interface::Interface;
pub(crate) use interface::vlan_parents;
pub(crate) use interface::{Events, connect};
pub(crate) use neighbour::{resolve, room_for_neighbours};
pub(crate) use ports::for_full_nat as ports_for_full_nat;
pub(crate) use route::{Way, ways_to};
