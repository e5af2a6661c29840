//! Neighbours that the data path sends to. The kernel does not see those packets, so it neither resolves a
//! neighbour for them nor notices that one has a new MAC address. The data path notes which neighbours it
//! uses; here the kernel is told, as if it had sent to them itself. And the way to the real servers is kept resolved
//! even before a packet needs it, because with full NAT the first packet could not wait for it.

use std::{cell::RefCell, collections::BTreeSet, net::IpAddr, time::Duration};

use aya::Pod;
use lvs_common::abi::{Neighbour, V4, V6, neighbour_state};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::debug;

use crate::{
    bpf::NeighbourMap,
    net::{self, Way},
};

/// How often neighbours that are wanted are looked for.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);

/// How often the kernel is told of neighbours that are resolved. One whose entry is stale is then probed after
/// another 5 s (`delay_first_probe_time`).
const CONFIRM_INTERVAL: Duration = Duration::from_secs(2);

/// How often the ways to the real servers are looked at; where there are very many, as seldom as makes it a twentieth of the
/// time.
const SERVERS_INTERVAL: Duration = Duration::from_secs(10);
const SERVERS_PAUSE: u32 = 20;

/// Neighbours that are resolved on the way to the real servers: as many as the kernel keeps unless it is told otherwise,
/// since asking for more would only throw others out.
const MOST: usize = 1024;

/// Has neighbours resolved that are wanted and, from time to time, the others confirmed. What is still in use
/// will be noted again. Never ends.
pub(super) async fn keep_resolved(four: &mut NeighbourMap<V4>, six: &mut NeighbourMap<V6>) {
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
        resolve(wanted.collect()).await;
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
pub(super) async fn keep_servers_resolved(servers: &RefCell<Vec<IpAddr>>) {
    loop {
        let now = servers.borrow().clone();
        let begun = Instant::now();
        match net::ways_to(now).await {
            Ok(ways) => resolve_ways(&ways).await,
            Err(error) => debug!("the kernel does not tell the ways to the real servers: {error}"),
        }
        sleep(SERVERS_INTERVAL.max(begun.elapsed() * SERVERS_PAUSE)).await;
    }
}

/// Has the neighbours on these ways resolved.
pub(super) async fn resolve_ways(ways: &[(IpAddr, Way)]) {
    for (server, way) in ways {
        if let Err(error) = way {
            debug!("no way to the real server {server}: {error}");
        }
    }
    let neighbours: BTreeSet<(u32, IpAddr)> =
        ways.iter().filter_map(|(_, way)| *way.as_ref().ok()?).collect();
    resolve(neighbours.into_iter().take(MOST).collect()).await;
}

async fn resolve(neighbours: Vec<(u32, IpAddr)>) {
    match net::resolve(neighbours).await {
        Ok(failed) => {
            for (address, error) in failed {
                debug!("cannot have {address} resolved: {error}");
            }
        }
        Err(error) => debug!("cannot have neighbours resolved: {error}"),
    }
}
