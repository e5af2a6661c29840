//! The configuration front end: a file in keepalived's language to a checked `Config`.
//!
//! One module per stage. `read` gets the text, `lex` cuts it into words and braces, `tree` makes directives
//! and blocks of them, `lower` makes the typed model with the help of `schema`. No stage fails: each pushes
//! its diagnostics into one `diag::Sink` and goes on, so that one run shows everything that is wrong. `report`
//! shows it. Nothing that is not understood is ignored: it is an error, with the line and the reason.

mod addresses;
mod code;
mod diag;
mod diff;
mod explain;
mod lex;
mod lower;
mod model;
mod policy;
mod quote;
mod read;
mod report;
mod schema;
mod show;
mod source;
mod suggest;
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
    diff::diff,
    explain::{explain, manual},
    model::{
        Check, Checker, Config, Connection, DnsCheck, DnsType, Family, FileCheck, FlushOnStop,
        Forwarding, Global, Granularity, HttpCheck, HttpVersion, InitialValue, Mail, MarkMatch,
        MiscCheck, NotifyFifo, PatternByte, Persistence, Protocol, Quorum, RealServer, Schedule,
        Scheduler, SchedulerFlags, Script, ScriptUser, SmtpCheck, SorryServer, SslFiles,
        SyncDaemon, Target, Timeouts, TrackFile, Tunnel, TunnelChecksum, TunnelKind, UdpCheck,
        UdpReply, Url, UrlRegex, VirtualServer,
    },
    policy::{NotAllowed, Policy},
    report::Report,
    show::show,
};
use self::{
    code::Code,
    diag::{Diagnostic, Sink},
    source::{Source, Span},
};

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
        self
    }
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

/// Reads a configuration file.
pub fn load(path: &Path, policy: &Policy) -> Result<Loaded, Failure> {
    let name = path.display().to_string();
    finish(&name, read::text(path), policy)
}

/// Reads a configuration from standard input.
pub fn load_stdin(policy: &Policy) -> Result<Loaded, Failure> {
    finish("<stdin>", read::stdin(), policy)
}

fn finish(
    name: &str,
    text: io::Result<Result<String, read::NotUtf8>>,
    policy: &Policy,
) -> Result<Loaded, Failure> {
    match text.map_err(|error| Failure::Io { path: name.into(), error })? {
        Ok(text) => parse(name, &text, policy),
        Err(not_utf8) => {
            let mut sink = Sink::new(policy);
            sink.push(not_utf8.diagnostic());
            Err(Failure::Invalid(Report::new(Source::new(name, &not_utf8.lossy), sink)))
        }
    }
}

/// Reads a configuration from a text; the name is for the diagnostics.
pub fn parse(name: &str, text: &str, policy: &Policy) -> Result<Loaded, Failure> {
    read::check_size(text.len()).map_err(|error| Failure::Io { path: name.into(), error })?;
    let source = Source::new(name, text);
    let mut sink = Sink::new(policy);
    let config = match source.text().find('\0') {
        Some(at) => {
            sink.push(
                Diagnostic::new(
                    Code::Nul,
                    Span::new(at, at + 1),
                    "a NUL byte stands here: this is no text file",
                )
                .help("name the configuration itself; a file in UTF-16 must be saved as UTF-8"),
            );
            Config::default()
        }
        None => lower::lower(&source, &tree::build(&source, &mut sink), &mut sink),
    };
    let failed = sink.errors() > 0;
    let notes = Report::new(source, sink);
    if failed { Err(Failure::Invalid(notes)) } else { Ok(Loaded { config, notes }) }
}
