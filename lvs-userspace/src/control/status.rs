//! What the controller tells others of itself, in a file of its runtime directory (`status.json`): whether the file that
//! it was given is in use, and how each reload has ended.

use std::{
    io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::runtime::{RuntimeDir, kept, replace};
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
    /// What was found in the file then, with the lines underlined as `xlvs check` shows them, and what became of edits.
    #[serde(default)]
    pub(super) shown: String,
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
    /// Reads what a controller has told; `None` if that is nothing yet.
    pub(super) fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = kept(path).with_context(|| format!("cannot read {}", path.display()))?;
        let Some(text) = text else { return Ok(None) };
        let status = serde_json::from_slice(&text);
        status.map(Some).with_context(|| format!("{} is not of this xlvs", path.display()))
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
            shown: String::new(),
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
    pub(super) fn reloaded(&mut self, line: &str, shown: String) {
        self.status.ended = self.status.begun;
        self.status.since = now();
        self.status.code = 0;
        self.status.outcome = format!("reloaded: {line}");
        self.status.shown = shown;
        self.status.out_of_date = None;
        self.write();
    }

    /// It has not; `line` says what that means.
    pub(super) fn failed(&mut self, failure: &Failure, line: &str, shown: String) {
        let status = &mut self.status;
        status.ended = status.begun;
        status.code = failure.reason as u8;
        let invalid = failure.error.downcast_ref::<config::Failure>();
        let (reason, outcome) = if let Some(config::Failure::Invalid(report)) = invalid {
            let errors = report.lines().filter(|(severity, _)| *severity == Severity::Error);
            let lines = errors.map(|(_, line)| line).collect::<Vec<_>>();
            // What is shown has the errors.
            (lines.join("\n"), line.to_owned())
        } else {
            let reason = format!("{:#}", failure.error);
            let outcome = format!("{reason}\n{line}");
            (reason, outcome)
        };
        (status.outcome, status.shown) = (outcome, shown);
        let since = status.out_of_date.as_ref().map_or_else(now, |before| before.since);
        status.out_of_date = Some(OutOfDate { since, reason });
        self.write();
    }

    fn write(&self) {
        let text = serde_json::to_string_pretty(&self.status).map_err(io::Error::other);
        let result = text.and_then(|text| replace(&self.path, (text + "\n").as_bytes()));
        if let Err(error) = result {
            warn!(
                "cannot write {}: {error}; `xlvs reload` needs it to say how that went",
                self.path.display()
            );
        }
    }
}
