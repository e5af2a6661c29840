//! The configuration front end: a file in keepalived's language to a checked `Config`.
//!
//! One module per stage. `read` gets the text, `evaluate` expands what needs it (included files, variables, conditions,
//! sequences), `lex` cuts it into words and braces, `tree` makes directives and blocks of them, `lower` makes the typed model with the help of `schema`. No stage fails: each pushes
//! its diagnostics into one `diag::Sink` and goes on, so that one run shows everything that is wrong. `report`
//! shows it. Nothing that is not understood is ignored: it is an error, with the line and the reason.

mod addresses;
mod code;
mod diag;
mod evaluate;
mod lex;
mod lower;
mod model;
mod read;
mod report;
mod schema;
mod source;
mod suggest;
mod surroundings;
mod tree;

#[cfg(test)]
mod proptests;

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::{
    addresses::AddressRange,
    code::Severity,
    model::{
        Config, Family, Forwarding, Granularity, MarkMatch, Persistence, Protocol, RealServer,
        Scheduler, SchedulerFlags, Target, Timeouts, VirtualServer,
    },
    report::Report,
    surroundings::{Bounds, Machine, Memory, Surroundings, host_name},
};
use self::{diag::Sink, source::Source};

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// What the file says.
    pub config: Config,
    /// Warnings and notices about it.
    pub notes: Report,
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum Failure {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {}", path.display(), read::advice(error))]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The file is wrong; the report says where, with warnings and notices besides.
    #[error("the configuration is not used: {0}")]
    Invalid(Report),
}

/// Reads a configuration file and what it includes; `@ID` lines count for this config-id.
pub fn load(path: &Path, config_id: &str) -> Result<Loaded, Failure> {
    let bytes = read::bytes(path).map_err(|error| Failure::Io { path: path.to_owned(), error })?;
    let (text, problem) = read::decode(bytes);
    read_text(&path.display().to_string(), &text, problem, &Machine { config_id })
}

/// Reads a configuration from a text; the name is for the diagnostics. Nothing can be included, there is no
/// environment, and the config-id is empty.
pub fn parse(name: &str, text: &str) -> Result<Loaded, Failure> {
    parse_in(name, text, &Memory::default())
}

/// Reads a configuration from a text, in given surroundings.
pub fn parse_in(
    name: &str,
    text: &str,
    surroundings: &dyn Surroundings,
) -> Result<Loaded, Failure> {
    read::check_size(text.len()).map_err(|error| Failure::Io { path: name.into(), error })?;
    read_text(name, text, read::nul(text), surroundings)
}

fn read_text(
    name: &str,
    text: &str,
    problem: Option<read::Problem>,
    surroundings: &dyn Surroundings,
) -> Result<Loaded, Failure> {
    let source = Source::new(name, text);
    let mut sink = Sink::default();
    let (source, config) = if let Some(problem) = problem {
        sink.push(problem(0));
        (source, Config::default())
    } else {
        let source = evaluate::evaluate(source, surroundings, &mut sink);
        let config = lower::lower(&source, &tree::build(&source, &mut sink), &mut sink);
        (source, config)
    };
    let failed = sink.errors() > 0;
    let notes = Report::new(source, sink);
    if failed { Err(Failure::Invalid(notes)) } else { Ok(Loaded { config, notes }) }
}
