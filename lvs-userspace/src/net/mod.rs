//! The host's network as the controller needs to know it, by netlink.

mod address;
mod interface;
mod neighbour;

pub(crate) use address::local_ipv4;
pub use interface::{Interface, connect};
pub(crate) use neighbour::resolve;
