//! Collecting connections and persistence templates whose time has ended. The data path treats them as absent
//! already; this gives their memory back and takes connections out of their servers' counts.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use aya::Pod;
use lvs_common::{
    abi::{Address, COLLECTED_AT_ONCE, Flow, Template, TemplateKey, Tuple, V4, V6},
    persistence::ended,
};
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::bpf::{Collectable, Collector, Error, Table};

/// How long to wait between two sweeps.
const INTERVAL: Duration = Duration::from_secs(5);

/// The same while a table is nearly full.
const INTERVAL_UNDER_PRESSURE: Duration = Duration::from_millis(500);

/// The tables of one address family.
#[derive(Debug)]
pub(super) struct Expiring<'m, A>
where
    Tuple<A>: Pod,
    Flow<A>: Pod,
    TemplateKey<A>: Pod,
{
    pub(super) connections: &'m Table<Tuple<A>, Flow<A>>,
    pub(super) templates: &'m Table<TemplateKey<A>, Template>,
}

/// Sweeps again and again. Never ends. `capacity` is the number of entries that a connection table holds.
pub(super) async fn collect(
    four: Expiring<'_, V4>,
    six: Expiring<'_, V6>,
    collector: &Collector,
    capacity: u32,
) {
    let mut interval = INTERVAL;
    loop {
        sleep(interval).await;
        let pace = Pace { hurries: interval < INTERVAL };
        interval = INTERVAL;
        let swept = [
            sweep(&four, collector, pace).await.context("IPv4"),
            sweep(&six, collector, pace).await.context("IPv6"),
        ];
        for result in swept {
            match result {
                // Three quarters.
                Ok(live) if live > capacity / 4 * 3 => interval = INTERVAL_UNDER_PRESSURE,
                Ok(_) => {}
                Err(error) => warn!("cannot collect what has expired: {error:#}"),
            }
        }
    }
}

/// How a sweep goes about it.
#[derive(Clone, Copy, Debug)]
struct Pace {
    /// Whether a table is nearly full.
    hurries: bool,
}

impl Pace {
    /// Waits after a batch as long as that has taken, so that a large table takes half a CPU at most from the packets; not
    /// if they need the room.
    async fn wait(self, begun: Instant) {
        if self.hurries {
            tokio::task::yield_now().await;
        } else {
            sleep(begun.elapsed()).await;
        }
    }
}

/// Goes once over both tables of a family, a batch at a time, and lets other tasks run in between. Tells how many
/// entries of connections go on.
async fn sweep<A>(
    tables: &Expiring<'_, A>,
    collector: &Collector,
    pace: Pace,
) -> anyhow::Result<u32>
where
    A: Address + Collectable,
    Tuple<A>: Pod,
    Flow<A>: Pod,
    TemplateKey<A>: Pod,
{
    let Expiring { connections, templates } = tables;
    let live = sweep_connections(connections, collector, pace).await?;
    let mut walk = templates.sweep();
    let (mut ended_ones, start) = (0, Instant::now());
    loop {
        let begun = Instant::now();
        let batch = walk.next(templates)?;
        if batch.is_empty() {
            break;
        }
        let now = collector.now()?;
        for (key, template) in batch {
            if ended(&template, now) {
                ended_ones += 1;
                take_ended(templates, &key, now)?;
            }
        }
        pace.wait(begun).await;
    }
    if ended_ones > 0 {
        debug!("collected {ended_ones} ended persistence templates in {:?}", start.elapsed());
    }
    Ok(live)
}

async fn sweep_connections<A>(
    table: &Table<Tuple<A>, Flow<A>>,
    collector: &Collector,
    pace: Pace,
) -> anyhow::Result<u32>
where
    A: Address + Collectable,
    Tuple<A>: Pod,
    Flow<A>: Pod,
{
    let mut walk = table.sweep();
    let (mut live, mut collected, start) = (0, 0, Instant::now());
    loop {
        let begun = Instant::now();
        let batch = walk.next(table)?;
        if batch.is_empty() {
            break;
        }
        let now = collector.now()?;
        let seen = batch.len();
        // An entry whose own time has ended may be one direction of a connection that goes on: the kernel decides.
        let keys: Vec<Tuple<A>> =
            batch.into_iter().filter(|(_, flow)| flow.ended(now)).map(|(key, _)| key).collect();
        live += (seen - keys.len()) as u32;
        for keys in keys.chunks(COLLECTED_AT_ONCE) {
            collected += collector.collect(keys)?;
        }
        pace.wait(begun).await;
    }
    if collected > 0 {
        debug!("collected {collected} ended connections in {:?}", start.elapsed());
    }
    Ok(live)
}

/// Removes a template. Should the data path have extended it since it was read, it is put back.
fn take_ended<A>(
    table: &Table<TemplateKey<A>, Template>,
    key: &TemplateKey<A>,
    now: u64,
) -> Result<(), Error>
where
    TemplateKey<A>: Pod,
{
    match table.take(key)? {
        Some(template) if !ended(&template, now) => table.put_back(key, &template),
        _ => Ok(()),
    }
}
