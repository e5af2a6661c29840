//! End to end: the `xlvs` binary between real clients and real servers in network namespaces.
//!
//! Needs root and the binary (`cargo xtask test` builds it first); `XLVS_BIN` names another one.

#[path = "netns/harness.rs"]
mod harness;
#[path = "netns/lifecycle.rs"]
mod lifecycle;
#[path = "netns/maps.rs"]
mod maps;
#[path = "netns/modes.rs"]
mod modes;
#[path = "netns/neighbours.rs"]
mod neighbours;
#[path = "netns/other_traffic.rs"]
mod other_traffic;
#[path = "netns/refusals.rs"]
mod refusals;
#[path = "netns/requests.rs"]
mod requests;
#[path = "netns/shutdown.rs"]
mod shutdown;
#[path = "netns/support.rs"]
mod support;
#[path = "netns/transfers.rs"]
mod transfers;
