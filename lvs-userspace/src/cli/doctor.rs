//! `xlvs doctor`: what it takes, and how it shows what was found.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::ValueEnum;

use super::args::Reading;
use crate::{
    bpf::Mode,
    control::Place,
    doctor::{self, Options},
    exit::{Failure, Reason},
};

/// What `xlvs doctor` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Doctor {
    /// The configuration: that of the running xlvs by default, else /etc/keepalived/keepalived.conf.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// An interface that `xlvs run` is given, once for each: those of the running xlvs by default.
    #[arg(long = "interface", value_name = "IF")]
    interfaces: Vec<String>,
    /// The mode that `xlvs run` is given: that in use by default, else auto.
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    #[command(flatten)]
    place: Place,
    /// How to show what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    #[command(flatten)]
    reading: Reading,
}

/// How to show what was found.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people: the worst last.
    Text,
    /// One JSON document.
    Json,
}

/// Looks, and shows what was found. Ends with 1 if there is a problem.
pub(super) async fn run(options: Doctor) -> Result<ExitCode, Failure> {
    let Doctor { config, interfaces, mode, place, format, reading } = options;
    let policy = reading.policy();
    let Reading { config_id, .. } = reading;
    let options = Options { config, config_id, policy, interfaces, mode, place };
    let report = doctor::examine(options).await?;
    let text = match format {
        Format::Text => report.text(),
        Format::Json => format!("{:#}\n", report.json()),
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(error).context("cannot write to standard output").map_err(Failure::from);
        }
        _ => {}
    }
    Ok(if report.is_problem() { Reason::Failed.into() } else { ExitCode::SUCCESS })
}
