//! What health checks have found, from one controller to the next: a file in the runtime directory, next to the edits.
//!
//! It is written before the maps follow: a controller that is killed in between has the next one finish that. It counts
//! only together with the data plane that it was written for.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use tracing::warn;

use super::{
    desired::Desired,
    edit::ServerName,
    ledger::Ledger,
    runtime::{keep, kept},
};
use crate::{
    health::{Endpoint, Health, Memory, Past},
    inspect::ServiceName,
};

/// Its name.
pub(super) const MEMORY: &str = "health.json";

/// Where it is in a runtime directory.
pub(super) fn file(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join(MEMORY)
}

/// What a controller has written down last.
pub(super) fn read(runtime_dir: &Path) -> anyhow::Result<Memory> {
    let path = file(runtime_dir);
    let memory = kept(&path).and_then(|text| match text {
        Some(text) => serde_json::from_slice(&text).map_err(io::Error::from),
        None => Ok(Memory::default()),
    });
    memory.with_context(|| format!("cannot use {}", path.display()))
}

/// What a controller has left, for a data plane that it has left too. A file that cannot be used is as good as none. Who is in
/// no map because of an edit is not down.
pub(super) fn recall(runtime_dir: &Path, ledger: &Ledger, desired: &Desired) -> Past {
    let memory = read(runtime_dir).unwrap_or_else(|error| {
        warn!("servers that were down count as up until they are checked: {error:#}");
        Memory::default()
    });
    let mut serving = serving(ledger);
    for (service, ServerName { address, port }) in desired.left_out() {
        serving.entry(service).or_default().insert(Endpoint { address, port });
    }
    Past { memory, serving }
}

fn serving(ledger: &Ledger) -> HashMap<ServiceName, HashSet<Endpoint>> {
    let servers = |servers: &mut dyn Iterator<Item = _>| {
        servers.map(|(address, port)| Endpoint { address, port }).collect()
    };
    ledger
        .serving()
        .map(|((target, protocol, family), mut all)| {
            (ServiceName::new(target, protocol, family), servers(&mut all))
        })
        .collect()
}

/// Has a restart know what has changed.
pub(super) fn save(runtime_dir: &Path, health: &mut Health) {
    let Some(memory) = health.new_memory() else { return };
    let path = file(runtime_dir);
    if let Err(error) = keep(&path, (memory != Memory::default()).then_some(&memory)) {
        warn!("a restart will not know who is down: cannot write {}: {error}", path.display());
    }
}

/// Has the next start know nothing.
pub(super) fn forget(runtime_dir: &Path) {
    let path = file(runtime_dir);
    if let Err(error) = keep(&path, None::<&Memory>) {
        warn!("cannot remove {}: {error}", path.display());
    }
}
