//! Collecting connections and persistence templates whose time has ended. The data path treats them as absent
//! already; this only gives their memory back.

use std::time::Duration;

use lvs_common::abi::{Flow4, Template4, TemplateKey4, Tuple4};
use nix::time::{ClockId, clock_gettime};
use tokio::{task::yield_now, time::sleep};
use tracing::{debug, warn};

use crate::bpf::{Error, Table};

/// How long to wait between two sweeps.
const INTERVAL: Duration = Duration::from_secs(5);

/// Sweeps again and again. Never ends.
pub(super) async fn collect(
    connections: &Table<Tuple4, Flow4>,
    templates: &Table<TemplateKey4, Template4>,
) {
    loop {
        sleep(INTERVAL).await;
        if let Err(error) = sweep(connections, templates).await {
            warn!("cannot collect what has expired: {error:#}");
        }
    }
}

/// Goes once over both tables, a batch at a time, and lets other tasks run in between.
async fn sweep(
    connections: &Table<Tuple4, Flow4>,
    templates: &Table<TemplateKey4, Template4>,
) -> anyhow::Result<()> {
    let mut walk = connections.sweep();
    let mut collected = 0_u32;
    loop {
        let batch = walk.next(connections)?;
        if batch.is_empty() {
            break;
        }
        let now = now()?;
        for (key, flow) in batch {
            if flow.ended(now) && collect_connection(connections, &key, &flow, now)? {
                collected += 1;
            }
        }
        yield_now().await;
    }
    let mut walk = templates.sweep();
    loop {
        let batch = walk.next(templates)?;
        if batch.is_empty() {
            break;
        }
        let now = now()?;
        for (key, template) in batch {
            if ended(&template, now) {
                take_ended(templates, &key, |template| ended(template, now))?;
            }
        }
        yield_now().await;
    }
    if collected > 0 {
        debug!("collected {collected} ended connections");
    }
    Ok(())
}

/// Removes both entries of a connection whose time has ended in both directions.
fn collect_connection(
    table: &Table<Tuple4, Flow4>,
    key: &Tuple4,
    flow: &Flow4,
    now: u64,
) -> Result<bool, Error> {
    let reverse = flow.reverse_key(key.protocol);
    if table.map.get(&reverse, 0).is_ok_and(|other| !other.ended(now)) {
        return Ok(false);
    }
    take_ended(table, &reverse, |flow| flow.ended(now))?;
    take_ended(table, key, |flow| flow.ended(now))
}

/// Removes an entry. Should the data path have brought it to life since it was read, it is put back.
fn take_ended<K, V>(table: &Table<K, V>, key: &K, ended: impl Fn(&V) -> bool) -> Result<bool, Error>
where
    K: aya::Pod + zerocopy::IntoBytes + zerocopy::FromBytes,
    V: aya::Pod + zerocopy::IntoBytes + zerocopy::FromBytes,
{
    match table.take(key)? {
        Some(value) if !ended(&value) => {
            table.put_back(key, &value)?;
            Ok(false)
        }
        taken => Ok(taken.is_some()),
    }
}

const fn ended(template: &Template4, now: u64) -> bool {
    now > template.expires
}

/// The monotonic clock in ns, the one that the data path reads.
fn now() -> anyhow::Result<u64> {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?;
    Ok(u64::try_from(Duration::from(time).as_nanos())?)
}
