//! The host's network as the controller needs to know it, by netlink.

mod address;
mod announce;
mod exchange;
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
pub(crate) use neighbour::{resolve, room_for_neighbours};
pub(crate) use ports::{
    first_unprivileged as first_unprivileged_port, for_full_nat as ports_for_full_nat,
};
pub(crate) use route::{Way, way_to, ways_to};
