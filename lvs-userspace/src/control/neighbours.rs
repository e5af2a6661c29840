//! Neighbours that the data path sends to. The kernel does not see those packets, so it neither resolves a
//! neighbour for them nor notices that one has a new MAC address. The data path notes which neighbours it
//! uses; here the kernel is told, as if it had sent to them itself. And the way to the real servers is kept resolved
//! even before a packet needs it, because with full NAT the first packet could not wait for it.

use std::{cell::RefCell, collections::BTreeSet, net::IpAddr, time::Duration};

use aya::Pod;
use lvs_common::abi::{Neighbour, V4, V6, neighbour_state};
use rtnetlink::Handle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::debug;

use crate::{bpf::NeighbourMap, net};

/// How often neighbours that are wanted are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);

/// How often the kernel is told of neighbours that are resolved. One whose entry is stale is then probed after
/// another 5 s (`delay_first_probe_time`).
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// How often the ways to the real servers are looked at.
const SERVERS_INTERVAL: Duration = Duration::from_secs(10);

/// Has neighbours resolved that are wanted and, from time to time, the others confirmed. What is still in use
/// will be noted again. Never ends.
pub(super) async fn keep_resolved(
    four: &mut NeighbourMap<V4>,
    six: &mut NeighbourMap<V6>,
    netlink: &Handle,
) {
    let mut ticks = interval(REQUEST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut confirmed = Instant::now();
    loop {
        ticks.tick().await;
        let confirm = confirmed.elapsed() >= CONFIRM_INTERVAL;
        if confirm {
            confirmed = Instant::now();
        }
        let wanted = take_noted(four, confirm).into_iter().chain(take_noted(six, confirm));
        for (interface, address) in wanted {
            resolve(netlink, interface, address).await;
        }
    }
}

/// The neighbours that the data path has noted since the last time.
fn take_noted<A>(map: &mut NeighbourMap<A>, confirm: bool) -> Vec<(u32, IpAddr)>
where
    A: Copy + Into<IpAddr>,
    Neighbour<A>: Pod,
{
    let noted: Vec<Neighbour<A>> = map
        .iter()
        .filter_map(Result::ok)
        .filter(|(_, state)| confirm || *state == neighbour_state::UNRESOLVED)
        .map(|(neighbour, _)| neighbour)
        .collect();
    noted
        .into_iter()
        .map(|neighbour| {
            // Gone already is as good.
            let _gone = map.remove(&neighbour);
            (neighbour.interface, neighbour.address.into())
        })
        .collect()
}

/// Keeps the neighbours on the way to these real servers resolved. Never ends.
pub(super) async fn keep_servers_resolved(servers: &RefCell<BTreeSet<IpAddr>>, netlink: &Handle) {
    loop {
        let now = servers.borrow().clone();
        resolve_servers(&now, netlink).await;
        sleep(SERVERS_INTERVAL).await;
    }
}

/// Has the neighbours on the way to these real servers resolved.
pub(super) async fn resolve_servers(servers: &BTreeSet<IpAddr>, netlink: &Handle) {
    let mut neighbours = BTreeSet::new();
    for server in servers {
        match net::way_to(netlink, *server).await {
            Ok(way) => neighbours.extend(way),
            Err(error) => debug!("no way to the real server {server}: {error}"),
        }
    }
    for (interface, address) in neighbours {
        resolve(netlink, interface, address).await;
    }
}

async fn resolve(netlink: &Handle, interface: u32, address: IpAddr) {
    if let Err(error) = net::resolve(netlink, interface, address).await {
        debug!("cannot have {address} resolved: {error}");
    }
}
