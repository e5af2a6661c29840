//! `xlvs check` and `xlvs config`: everything that is done with a file alone.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
};

use anyhow::{Context as _, anyhow};
use clap::{CommandFactory as _, error::ErrorKind};

use super::{
    args::{Args, Check, Config, Format, Reading},
    log,
};
use crate::{
    config::{self, Loaded, Report, Severity},
    exit::{DIFFERENT, Failure, Reason},
};

/// clap's exit code.
const WRONG_USAGE: u8 = 2;

/// Reads a file, or standard input for `-`.
fn load(file: &Path, reading: &Reading) -> Result<Loaded, config::Failure> {
    let (id, policy) = (&reading.config_id, reading.policy());
    match file.to_str() {
        Some("-") => config::load_stdin(id, &policy),
        _ => config::load(file, id, &policy),
    }
}

/// Says what is wrong with a file.
pub(super) fn check(Check { file, format, reading }: Check) -> Result<ExitCode, Failure> {
    let (report, usable) = match load(&file, &reading) {
        Ok(loaded) => {
            let config = loaded.config;
            let all = config.services.len();
            let mut balanced = config.services;
            balanced.retain(config::VirtualServer::is_balanced);
            let counts = Counts {
                services: balanced.len(),
                servers: balanced.iter().map(|service| service.real_servers.len()).sum(),
                left_out: all - balanced.len(),
            };
            (loaded.notes, Some(counts))
        }
        Err(config::Failure::Invalid(report)) => (report, None),
        Err(error) => return Err(anyhow::Error::new(error).into()),
    };
    let text = match format {
        Format::Text => {
            let colour = io::stdout().is_terminal() && log::colour_allowed();
            let shown = report.render(colour);
            let gap = if shown.is_empty() { "" } else { "\n" };
            let name = config::visible(&file.display().to_string());
            format!("{shown}{gap}{name}: {}\n", summary(&report, usable))
        }
        Format::Line => report.lines().map(|(_, line)| line + "\n").collect(),
        Format::Json => format!("{:#}\n", report.json()),
    };
    print(&text)?;
    Ok(if usable.is_some() { ExitCode::SUCCESS } else { Reason::Configuration.into() })
}

/// What is in a configuration that can be used.
#[derive(Clone, Copy)]
struct Counts {
    services: usize,
    servers: usize,
    /// Further services, which cannot be balanced.
    left_out: usize,
}

fn summary(report: &Report, usable: Option<Counts>) -> String {
    let count = |number: usize, what: &str| {
        let plural = if number == 1 { "" } else { "s" };
        format!("{number} {what}{plural}")
    };
    let found = [Severity::Error, Severity::Warning, Severity::Notice]
        .into_iter()
        .filter(|severity| report.count(*severity) > 0)
        .map(|severity| count(report.count(severity), severity.as_str()))
        .collect::<Vec<_>>()
        .join(", ");
    match usable {
        None => format!("cannot be used: {found}"),
        Some(Counts { services, servers, left_out }) => {
            let mut what = format!(
                "{} with {}",
                count(services, "virtual server"),
                count(servers, "real server")
            );
            if left_out > 0 {
                what.extend(["; ", &count(left_out, "virtual server"), " left out"]);
            }
            if found.is_empty() {
                format!("good: {what}")
            } else {
                format!("can be used: {what}; {found}")
            }
        }
    }
}

/// Shows, compares or explains.
pub(super) fn config(command: Config) -> Result<ExitCode, Failure> {
    match command {
        Config::Show { file, json, reading } => {
            let config = usable(&file, &reading)?;
            let text = if json {
                let text = serde_json::to_string_pretty(&config);
                text.context("cannot write the configuration as JSON")? + "\n"
            } else {
                config::show(&config)
            };
            print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
        Config::Diff { old, new, .. } if old == new && old == Path::new("-") => {
            let error = Args::command().error(
                ErrorKind::ArgumentConflict,
                "only one of the two configurations can be `-`, standard input",
            );
            let _nobody_listens = error.print();
            Ok(ExitCode::from(WRONG_USAGE))
        }
        Config::Diff { old, new, reading } => {
            let changes = config::diff(&usable(&old, &reading)?, &usable(&new, &reading)?);
            print(&changes)?;
            Ok(if changes.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENT) })
        }
        Config::Explain { keyword } => {
            let text = config::explain(&keyword).map_err(|near| {
                let near = near.map(|near| format!("; did you mean `{near}`?"));
                let rest = near.unwrap_or_else(|| "; docs/keywords.md lists all".to_owned());
                anyhow!("there is no keyword {}{rest}", config::quoted(&keyword))
            })?;
            print(&text)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// A configuration that can be used; what there is to say about it goes to standard error.
fn usable(file: &Path, reading: &Reading) -> Result<config::Config, Failure> {
    let loaded = load(file, reading).map_err(|error| match error {
        invalid @ config::Failure::Invalid(_) => Failure::configuration(invalid),
        error @ config::Failure::Io { .. } => anyhow::Error::new(error).into(),
    })?;
    let shown = loaded.notes.render(log::colour());
    let _nobody_listens = io::stderr().write_all(shown.as_bytes());
    Ok(loaded.config)
}

/// Writes to standard output. Whoever stops reading, such as `head`, has read enough.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(anyhow::Error::new(error).context("cannot write to standard output").into())
        }
        _ => Ok(()),
    }
}
