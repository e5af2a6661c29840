//! What the controller tells others of itself, in a file of its runtime directory (`status.json`): whether the file that
//! it was given is in use, and how each reload has ended.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::runtime::RuntimeDir;
use crate::{
    clock::now,
    config::{self, Severity},
    exit::Failure,
};

/// The file's contents. Times are seconds since 1970.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Status {
    /// The controller's process.
    pub(super) pid: u32,
    /// The configuration file.
    pub(super) config: PathBuf,
    /// When what is in use was read from it.
    pub(super) since: u64,
    /// How many reloads were begun, and how many have ended.
    pub(super) begun: u64,
    pub(super) ended: u64,
    /// How the last one ended: the exit code of `xlvs reload`, and what it says. At first, how the start did.
    pub(super) code: u8,
    pub(super) outcome: String,
    /// Why what is in use is not what the file says, if so.
    pub(super) out_of_date: Option<OutOfDate>,
}

/// The file has not been used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct OutOfDate {
    /// Since when.
    pub(super) since: u64,
    /// What is wrong with it.
    pub(super) reason: String,
}

impl Status {
    /// Reads what a controller has told.
    pub(super) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not of this xlvs", path.display()))
    }
}

/// The file, for who writes it.
#[derive(Debug)]
pub(super) struct StatusFile {
    path: PathBuf,
    status: Status,
}

impl StatusFile {
    /// Nothing is told yet.
    pub(super) fn new(runtime: &RuntimeDir, config: &Path) -> Self {
        let status = Status {
            pid: process::id(),
            config: config.to_owned(),
            since: now(),
            begun: 0,
            ended: 0,
            code: 0,
            outcome: String::new(),
            out_of_date: None,
        };
        Self { path: runtime.status(), status }
    }

    /// For how many seconds what is in use has been.
    pub(super) fn age(&self) -> u64 {
        now().saturating_sub(self.status.since)
    }

    /// When what is in use was read, in seconds since 1970.
    pub(super) const fn since(&self) -> u64 {
        self.status.since
    }

    /// Why what is in use is not what the file says, if so.
    pub(super) fn outdated(&self) -> Option<&str> {
        self.status.out_of_date.as_ref().map(|why| why.reason.as_str())
    }

    /// The start has ended well.
    pub(super) fn started(&mut self, line: &str) {
        line.clone_into(&mut self.status.outcome);
        self.write();
    }

    /// A reload begins: what is read from now on is newer than all that was asked for before.
    pub(super) fn begun(&mut self) {
        self.status.begun += 1;
        self.write();
    }

    /// It has ended well.
    pub(super) fn reloaded(&mut self, line: &str) {
        self.status.ended = self.status.begun;
        self.status.since = now();
        self.status.code = 0;
        self.status.outcome = format!("reloaded: {line}");
        self.status.out_of_date = None;
        self.write();
    }

    /// It has not; `line` says what that means.
    pub(super) fn failed(&mut self, failure: &Failure, line: &str) {
        let reason = match failure.error.downcast_ref::<config::Failure>() {
            Some(config::Failure::Invalid(report)) => {
                let errors = report.lines().filter(|(severity, _)| *severity == Severity::Error);
                errors.map(|(_, line)| line).collect::<Vec<_>>().join("\n")
            }
            _ => format!("{:#}", failure.error),
        };
        let status = &mut self.status;
        status.ended = status.begun;
        status.code = failure.reason as u8;
        status.outcome = format!("{reason}\n{line}");
        let since = status.out_of_date.as_ref().map_or_else(now, |before| before.since);
        status.out_of_date = Some(OutOfDate { since, reason });
        self.write();
    }

    /// Others see the old contents or the new ones.
    fn write(&self) {
        let next = self.path.with_extension("next");
        let result = serde_json::to_vec_pretty(&self.status)
            .map_err(std::io::Error::other)
            .and_then(|text| fs::write(&next, text))
            .and_then(|()| fs::rename(&next, &self.path));
        if let Err(error) = result {
            warn!("cannot write {}: {error}", self.path.display());
        }
    }
}
