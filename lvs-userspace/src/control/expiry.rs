//! Collecting connections and persistence templates whose time has ended. The data path treats them as absent
//! already; this gives their memory back and takes connections out of their servers' counts.

use std::time::Duration;

use anyhow::Context as _;
use aya::Pod;
use lvs_common::{
    abi::{Address, COLLECTED_AT_ONCE, Flow, Template, TemplateKey, Tuple, V4, V6},
    persistence::ended,
};
use tokio::{task::yield_now, time::sleep};
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
        interval = INTERVAL;
        let swept = [
            sweep(&four, collector).await.context("IPv4"),
            sweep(&six, collector).await.context("IPv6"),
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

/// Goes once over both tables of a family, a batch at a time, and lets other tasks run in between. Tells how many
/// entries of connections go on.
async fn sweep<A>(tables: &Expiring<'_, A>, collector: &Collector) -> anyhow::Result<u32>
where
    A: Address + Collectable,
    Tuple<A>: Pod,
    Flow<A>: Pod,
    TemplateKey<A>: Pod,
{
    let Expiring { connections, templates } = tables;
    let live = sweep_connections(connections, collector).await?;
    let mut walk = templates.sweep();
    loop {
        let batch = walk.next(templates)?;
        if batch.is_empty() {
            break;
        }
        let now = collector.now()?;
        for (key, template) in batch {
            if ended(&template, now) {
                take_ended(templates, &key, now)?;
            }
        }
        yield_now().await;
    }
    Ok(live)
}

async fn sweep_connections<A>(
    table: &Table<Tuple<A>, Flow<A>>,
    collector: &Collector,
) -> anyhow::Result<u32>
where
    A: Address + Collectable,
    Tuple<A>: Pod,
    Flow<A>: Pod,
{
    let mut walk = table.sweep();
    let (mut live, mut collected) = (0, 0);
    loop {
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
        yield_now().await;
    }
    if collected > 0 {
        debug!("collected {collected} ended connections");
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
