//! What a controller tells of its services beside the maps: who is down and why, and what was edited. It is in the files of its
//! runtime directory, which are written before the maps follow, and stay when it is killed; so who reads them need not ask it.

use std::{fs, time::UNIX_EPOCH};

use super::{
    desired::Edits,
    memory, orders,
    place::Place,
    runtime::{self, holder},
    status::{OutOfDate, Status},
};
use crate::health::Memory;

/// What is told.
#[derive(Debug)]
pub(crate) struct Told {
    /// Which services are not as they should be.
    pub(crate) memory: Memory,
    pub(crate) edits: Edits,
    /// Why it is not known what was edited, if it is not.
    pub(crate) unreadable: Option<String>,
    /// Whether a controller runs. If not, it is as it was when that ended, and nobody is checked.
    pub(crate) running: bool,
    /// When the health of a server has changed last, in seconds since 1970; `None` if all of them are up.
    pub(crate) changed: Option<u64>,
    /// Since when, and why, the configuration file is not what is in use.
    pub(crate) out_of_date: Option<(u64, String)>,
}

impl Told {
    /// Reads it, if it is known where it is. A controller whose files are somewhere else, or have been removed, tells nothing.
    pub(crate) fn read(place: &Place) -> anyhow::Result<Option<Self>> {
        let Some(runtime_dir) = place.files() else { return Ok(None) };
        let process = holder(runtime_dir).ok().flatten();
        if process.is_none() {
            place.refuse_elsewhere()?;
        }
        let changed = fs::metadata(memory::file(runtime_dir)).and_then(|is| is.modified()).ok();
        let changed = changed.and_then(|when| when.duration_since(UNIX_EPOCH).ok());
        // It may be just starting, or ending.
        let status = Status::read(&runtime::status(runtime_dir)).ok().flatten();
        let (edits, unreadable) = match orders::left_edits(runtime_dir) {
            Ok(edits) => (edits, None),
            Err(error) => (Edits::default(), Some(format!("{error:#}"))),
        };
        Ok(Some(Self {
            memory: memory::read(runtime_dir)?,
            edits,
            unreadable,
            running: process.is_some(),
            changed: changed.map(|since| since.as_secs()),
            out_of_date: status
                .and_then(|status| status.out_of_date)
                .map(|OutOfDate { since, reason }| (since, reason)),
        }))
    }
}
