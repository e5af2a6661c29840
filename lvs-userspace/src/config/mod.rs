//! The configuration front end: a file in keepalived's language to a checked `Config`.
//!
//! One module per stage. `read` gets the text, `evaluate` expands what needs it (included files, variables, conditions,
//! sequences), `lex` cuts it into words and braces, `tree` makes directives and blocks of them, `lower` makes the typed
//! model with the help of `schema`. No stage fails: each pushes its diagnostics into one `diag::Sink` and goes on, so that
//! one run shows everything that is wrong. `report` shows it. Nothing that is not understood is ignored without a word.
//! `show` writes a model as text again, `diff` compares two, `explain` tells what `schema` knows.

mod addresses;
mod code;
mod diag;
mod diff;
mod evaluate;
mod explain;
mod lex;
mod lower;
mod model;
mod needed;
mod policy;
mod quote;
mod read;
mod regex;
mod report;
mod schema;
mod show;
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

pub(crate) use self::diag::{quoted, visible};
pub use self::{
    addresses::AddressRange,
    code::Severity,
    diff::diff,
    explain::{explain, manual},
    model::{
        Check, Checker, Config, Connection, DnsCheck, DnsType, Family, FileCheck, FlushOnStop,
        Forwarding, Global, Granularity, HttpCheck, HttpVersion, InitialValue, Line, Mail,
        MarkMatch, MiscCheck, NotifyFifo, PatternByte, Persistence, Protocol, Quorum, RealServer,
        Schedule, Scheduler, SchedulerFlags, Script, ScriptUser, SmtpCheck, SorryServer, SslFiles,
        SyncDaemon, Target, Timeouts, TrackFile, Tunnel, TunnelChecksum, TunnelKind, UdpCheck,
        UdpReply, Url, UrlRegex, VirtualServer,
    },
    needed::{Fault, Needed},
    policy::{NotAllowed, Policy},
    regex::RegexError,
    report::Report,
    show::show,
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

impl Loaded {
    /// Only the services that the data path can balance; about the others there are warnings.
    #[must_use]
    pub fn balanced(mut self) -> Self {
        self.config.services.retain(VirtualServer::is_balanced);
        for service in &mut self.config.services {
            let method = service.forwarding;
            service.sorry_server.take_if(|sorry| sorry.forwarding != method);
        }
        self
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum Failure {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {}", visible(&path.display().to_string()), read::advice(error))]
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
pub fn load(path: &Path, config_id: &str, policy: &Policy) -> Result<Loaded, Failure> {
    finish(&path.display().to_string(), read::bytes(path), config_id, policy)
}

/// Reads a configuration from standard input. What it includes is looked for in the current folder.
pub fn load_stdin(config_id: &str, policy: &Policy) -> Result<Loaded, Failure> {
    finish("<stdin>", read::stdin(), config_id, policy)
}

fn finish(
    name: &str,
    bytes: io::Result<Vec<u8>>,
    config_id: &str,
    policy: &Policy,
) -> Result<Loaded, Failure> {
    let bytes = bytes.map_err(|error| Failure::Io { path: name.into(), error })?;
    let (text, problem) = read::decode(bytes);
    read_text(name, text, problem, &Machine { config_id }, policy)
}

/// Reads a configuration from a text; the name is for the diagnostics. Nothing can be included, there is no
/// environment, and the config-id is empty.
pub fn parse(name: &str, text: &str, policy: &Policy) -> Result<Loaded, Failure> {
    parse_in(name, text, &Memory::default(), policy)
}

/// Reads a configuration from a text, in given surroundings.
pub fn parse_in(
    name: &str,
    text: &str,
    surroundings: &dyn Surroundings,
    policy: &Policy,
) -> Result<Loaded, Failure> {
    read::check_size(text.len()).map_err(|error| Failure::Io { path: name.into(), error })?;
    read_text(name, text.to_owned(), read::problem_of(text), surroundings, policy)
}

fn read_text(
    name: &str,
    text: String,
    problem: Option<read::Problem>,
    surroundings: &dyn Surroundings,
    policy: &Policy,
) -> Result<Loaded, Failure> {
    let source = Source::new(name, text);
    let mut sink = Sink::new(policy);
    let (source, config) = if let Some(problem) = problem {
        sink.push(problem(0));
        (source, Config::default())
    } else {
        let source = evaluate::evaluate(source, surroundings, &mut sink);
        let config =
            lower::lower(&source, &tree::build(&source, &mut sink), surroundings, &mut sink);
        (source, config)
    };
    let failed = sink.errors() > 0;
    let notes = Report::new(source, sink);
    if failed { Err(Failure::Invalid(notes)) } else { Ok(Loaded { config, notes }) }
}
