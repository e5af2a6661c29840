//! Neighbours that the data path sends to. The kernel does not see those packets, so it neither resolves a
//! neighbour for them nor notices that one has a new MAC address. The data path notes which neighbours it
//! uses; here the kernel is told, as if it had sent to them itself.

use std::{net::Ipv4Addr, time::Duration};

use lvs_common::abi::{Neighbour4, neighbour_state};
use rtnetlink::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tracing::debug;

use crate::{bpf::NeighbourMap, net};

/// How often neighbours that are wanted are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);

/// How often the kernel is told of neighbours that are resolved. One whose entry is stale is then probed after
/// another 5 s (`delay_first_probe_time`).
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// Has neighbours resolved that are wanted and, from time to time, the others confirmed. What is still in use
/// will be noted again. Never ends.
pub(super) async fn keep_resolved(map: &mut NeighbourMap, netlink: &Handle) {
    let mut ticks = interval(REQUEST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut confirmed = Instant::now();
    loop {
        ticks.tick().await;
        let confirm = confirmed.elapsed() >= CONFIRM_INTERVAL;
        if confirm {
            confirmed = Instant::now();
        }
        let noted: Vec<Neighbour4> = map
            .iter()
            .filter_map(Result::ok)
            .filter(|(_, state)| confirm || *state == neighbour_state::UNRESOLVED)
            .map(|(neighbour, _)| neighbour)
            .collect();
        for neighbour in noted {
            let address = Ipv4Addr::from(neighbour.address);
            if let Err(error) = net::resolve(netlink, neighbour.interface, address).await {
                debug!("cannot have {address} resolved: {error}");
            }
            // Gone already is as good.
            let _gone = map.remove(&neighbour);
        }
    }
}
