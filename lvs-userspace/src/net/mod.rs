//! The host's network as the controller needs to know it, by netlink.

mod address;
mod interface;
mod neighbour;
mod ports;
mod route;

pub(crate) use address::{Addresses, local as local_address};
pub use interface::Interface;
pub(crate) use interface::vlan_parents;
pub(crate) use interface::{Events, connect};
pub(crate) use neighbour::resolve;
pub(crate) use ports::for_full_nat as ports_for_full_nat;
pub(crate) use route::way_to;
