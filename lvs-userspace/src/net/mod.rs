//! The host's network as the controller needs to know it, by netlink.

mod interface;
mod neighbour;

pub use interface::{Interface, connect};
pub(crate) use neighbour::resolve;
