//! The host's network as the controller needs to know it, by netlink.

mod address;
mod announce;
mod filter;
mod interface;
mod managed;
mod neighbour;
mod ports;
mod route;

pub(crate) use address::{Addresses, local as local_address};
pub(crate) use announce::announce;
pub use filter::Filter;
pub(crate) use filter::filters;
pub use interface::Interface;
pub(crate) use interface::vlan_parents;
pub(crate) use interface::{Events, connect};
pub(crate) use managed::{add_managed, remove_managed};
pub(crate) use neighbour::resolve;
pub(crate) use ports::for_full_nat as ports_for_full_nat;
pub(crate) use route::way_to;
