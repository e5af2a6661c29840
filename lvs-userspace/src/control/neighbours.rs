//! Neighbours that the data path sends to. The kernel does not see those packets, so it neither resolves a
//! neighbour for them nor notices that one has a new MAC address. The data path notes which neighbours it
//! uses; here the kernel is told, as if it had sent to them itself.

use std::{net::Ipv4Addr, time::Duration};

use lvs_common::abi::{Neighbour4, neighbour_state};
use rtnetlink::Handle;
use tokio::time::Instant;
use tracing::debug;

use crate::{bpf::Maps, net};

/// How often the kernel is told of neighbours that are resolved. One whose entry is stale is then probed after
/// another 5 s (`delay_first_probe_time`).
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps neighbours in use resolved.
#[derive(Debug)]
pub(super) struct Neighbours {
    netlink: Handle,
    confirmed: Instant,
}

impl Neighbours {
    pub(super) fn new(netlink: Handle) -> Self {
        Self { netlink, confirmed: Instant::now() }
    }

    /// Has those resolved that are wanted and, from time to time, the others confirmed. What is still in use
    /// will be noted again.
    pub(super) async fn serve(&mut self, maps: &mut Maps) {
        let confirm = self.confirmed.elapsed() >= CONFIRM_INTERVAL;
        if confirm {
            self.confirmed = Instant::now();
        }
        let noted: Vec<Neighbour4> = maps
            .neighbours
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, state)| confirm || *state == neighbour_state::UNRESOLVED)
            .map(|(neighbour, _)| neighbour)
            .collect();
        for neighbour in noted {
            let address = Ipv4Addr::from(neighbour.address);
            if let Err(error) = net::resolve(&self.netlink, neighbour.interface, address).await {
                debug!("cannot have {address} resolved: {error}");
            }
            // Gone already is as good.
            let _gone = maps.neighbours.remove(&neighbour);
        }
    }
}
