//! Counts per second, from two looks at the counts. IPVS has an estimator run in the kernel all the time; who asks here
//! waits for a second, and nothing runs when nobody asks.

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use lvs_common::abi::Counter;

use super::{
    Services,
    statistics::{counters, counts, per_second},
};
use crate::bpf::{Error, PinnedMaps};

/// How long to look.
const INTERVAL: Duration = Duration::from_secs(1);

/// Has the counts of all services and servers be what comes within a second, and gives the same of [`counters`].
pub fn rates(maps: &PinnedMaps, services: &mut Services) -> Result<Vec<(Counter, u64)>, Error> {
    let ids =
        services.services.iter().flat_map(|service| service.servers.iter().map(|server| server.id));
    let servers = ids.max().map_or(0, |last| last as usize + 1);
    let (before, counted, start) = (counts(maps, servers)?, counters(maps)?, Instant::now());
    sleep(INTERVAL);
    let (after, mut counted_since) = (counts(maps, servers)?, counters(maps)?);
    let elapsed = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    for service in &mut services.services {
        for server in &mut service.servers {
            let of = |counts: &[super::Counts]| {
                counts.get(server.id as usize).copied().unwrap_or_default()
            };
            server.counts = (of(&after) - of(&before)).per_second(elapsed);
        }
        let servers = service.servers.iter();
        service.counts = servers.fold(super::Counts::default(), |sum, server| sum + server.counts);
    }
    for ((_, count), (_, before)) in counted_since.iter_mut().zip(counted) {
        *count = per_second(count.saturating_sub(before), elapsed);
    }
    Ok(counted_since)
}
