//! `xlvs doctor`: what keeps packets from being balanced on this host, each finding with the command that mends it.
//!
//! It only looks: nothing is attached, written or changed. [`look`] reads everything into plain [`facts`]; the [`rules`]
//! make findings of these; [`report`] shows them. To talk to real servers it opens connections, as a health check does.

mod facts;
mod finding;
mod look;
mod report;
mod rules;
#[cfg(test)]
mod sound;

use std::path::PathBuf;

use crate::{bpf::Mode, config::Policy, control::Place};

pub(crate) use report::Report;

/// What the doctor is asked to look at.
#[derive(Debug)]
pub(crate) struct Options {
    /// The configuration; that of the running xlvs if none is given, else keepalived's.
    pub(crate) config: Option<PathBuf>,
    /// What lines `@ID` are compared with, if that was given.
    pub(crate) config_id: String,
    pub(crate) policy: Policy,
    /// The interfaces; those of the running xlvs if none is given, else those that have pins.
    pub(crate) interfaces: Vec<String>,
    /// The mode; that which is in place if none is given.
    pub(crate) mode: Option<Mode>,
    pub(crate) place: Place,
}

/// Looks at everything. Fails only where nothing can be looked at at all.
pub(crate) async fn examine(options: Options) -> anyhow::Result<Report> {
    let facts = look::everything(options).await?;
    Ok(Report::new(rules::all(&facts)))
}
