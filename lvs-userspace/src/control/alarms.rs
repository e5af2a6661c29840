//! Saying once what the data path can only count: that it had to refuse connections for want of room.

use std::{collections::HashMap, time::Duration};

use aya::maps::{MapData, PerCpuArray};
use lvs_common::abi::Counter;
use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

/// How often the counters are looked at.
const INTERVAL: Duration = Duration::from_secs(1);

/// After so long without a further refusal it is over, and a new one is worth a new line.
const QUIET: Duration = Duration::from_secs(60);

/// What is worth a line, and what can be done.
const ALARMS: [(Counter, &str); 4] = [
    (
        Counter::TableFull,
        "the table of connections is full, or that of persistent clients; established connections go on, new ones \
         are refused; raise --max-connections, or shorten `persistence_timeout`",
    ),
    (
        Counter::NoPort,
        "full NAT found no free source port towards a real server, and refused the connection; \
         add local addresses (`local_address_group`, `laddr_group_name`) or real servers",
    ),
    (
        Counter::NoLocalAddress,
        "full NAT has no local address: the interface towards a real server has none of its family; \
         add one, or name some with `laddr_group_name`",
    ),
    (
        Counter::HalfOpenEvicted,
        "more half-open connections than there is room for, as in a SYN flood; \
         the oldest of them give way, established connections go on",
    ),
];

/// An alarm that is on.
#[derive(Debug)]
struct On {
    since: u64,
    last: Instant,
}

/// Watches the counters. Never ends.
pub(super) async fn watch(counters: &PerCpuArray<MapData, u64>) {
    let mut known: HashMap<Counter, u64> = HashMap::new();
    let mut on: HashMap<Counter, On> = HashMap::new();
    loop {
        sleep(INTERVAL).await;
        for (counter, text) in ALARMS {
            let Some(now) = total(counters, counter) else { continue };
            let before = known.insert(counter, now).unwrap_or_default();
            if now != before {
                let alarm = on.entry(counter).or_insert_with(|| {
                    warn!("{text} ({})", counter.name());
                    On { since: before, last: Instant::now() }
                });
                alarm.last = Instant::now();
            } else if let Some(alarm) = on.get(&counter)
                && alarm.last.elapsed() >= QUIET
            {
                info!("{}: over, {} in all", counter.name(), now - alarm.since);
                on.remove(&counter);
            }
        }
        if let Some(now) = total(counters, Counter::Internal)
            && known.insert(Counter::Internal, now).unwrap_or_default() != now
        {
            error!("the data path has failed on {now} packets so far; please report this");
        }
    }
}

/// A counter's sum over all CPUs.
fn total(counters: &PerCpuArray<MapData, u64>, counter: Counter) -> Option<u64> {
    match counters.get(&(counter as u32), 0) {
        Ok(cpus) => Some(cpus.iter().sum()),
        Err(error) => {
            debug!("cannot read the counter {}: {error}", counter.name());
            None
        }
    }
}
