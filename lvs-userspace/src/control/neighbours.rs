//! Neighbours that the data path has asked for: it cannot send ARP requests itself, and replies to clients
//! cannot go through the stack.

use std::net::Ipv4Addr;

use lvs_common::abi::Neighbour4;
use rtnetlink::Handle;
use tracing::debug;

use crate::{bpf::Maps, net};

/// Has all neighbours resolved that were asked for since the last call.
pub(super) async fn resolve_requested(maps: &mut Maps, netlink: &Handle) {
    let requested: Vec<Neighbour4> = maps.unresolved.keys().filter_map(Result::ok).collect();
    for neighbour in requested {
        let address = Ipv4Addr::from(neighbour.address);
        if let Err(error) = net::resolve(netlink, neighbour.interface, address).await {
            debug!("cannot have {address} resolved: {error}");
        }
        // Gone already is as good; asked for again meanwhile comes back.
        let _gone = maps.unresolved.remove(&neighbour);
    }
}
