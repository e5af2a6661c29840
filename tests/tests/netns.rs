//! End to end: the `xlvs` binary between real clients and real servers in network namespaces.
//!
//! Needs root and the binary (`cargo xtask test` builds it first); `XLVS_BIN` names another one.

#[path = "netns/changes.rs"]
mod changes;
#[path = "netns/control.rs"]
mod control;
#[path = "netns/datagrams.rs"]
mod datagrams;
#[path = "netns/deaths.rs"]
mod deaths;
#[path = "netns/doctor.rs"]
mod doctor;
#[path = "netns/expiry.rs"]
mod expiry;
#[path = "netns/floods.rs"]
mod floods;
#[path = "netns/harness.rs"]
mod harness;
#[path = "netns/health.rs"]
mod health;
#[path = "netns/lab.rs"]
mod lab;
#[path = "netns/lifecycle.rs"]
mod lifecycle;
#[path = "netns/listings.rs"]
mod listings;
#[path = "netns/maps.rs"]
mod maps;
#[path = "netns/marks.rs"]
mod marks;
#[path = "netns/modes.rs"]
mod modes;
#[path = "netns/moves.rs"]
mod moves;
#[path = "netns/neighbours.rs"]
mod neighbours;
#[path = "netns/operation.rs"]
mod operation;
#[path = "netns/oracle.rs"]
mod oracle;
#[path = "netns/other_traffic.rs"]
mod other_traffic;
#[path = "netns/path_mtu.rs"]
mod path_mtu;
#[path = "netns/persistence.rs"]
mod persistence;
#[path = "netns/refusals.rs"]
mod refusals;
#[path = "netns/reload.rs"]
mod reload;
#[path = "netns/requests.rs"]
mod requests;
#[path = "netns/robust.rs"]
mod robust;
#[path = "netns/scale.rs"]
mod scale;
#[path = "netns/sequences.rs"]
mod sequences;
#[path = "netns/service.rs"]
mod service;
#[path = "netns/shapes.rs"]
mod shapes;
#[path = "netns/shutdown.rs"]
mod shutdown;
#[path = "netns/starts.rs"]
mod starts;
#[path = "netns/support.rs"]
mod support;
#[path = "netns/survival.rs"]
mod survival;
#[path = "netns/throughput.rs"]
mod throughput;
#[path = "netns/transfers.rs"]
mod transfers;
#[path = "netns/vips.rs"]
mod vips;
