//! The command line of `xlvs`.

mod args;
mod configuration;
mod doctor;
mod inspect;
mod ipvsadm;
mod list;
mod log;
mod table;

use std::{
    io::{self, Write as _},
    iter,
    path::Path,
    process::ExitCode,
    time::Duration,
};

use clap::Parser as _;
use tracing::warn;

use self::args::{Ipvsadm, Reload};

use crate::{
    config,
    control::{self, Options, Reloaded},
    exit::Failure,
};

/// What other threads do may take so long when the process is to end.
const LAST: Duration = Duration::from_secs(1);

/// Runs the command that the arguments name; the exit code is 0 when it is done, 1 when it failed, 2 on
/// wrong usage, 3 on an invalid configuration, 4 when kernel or permissions lack something, 5 when two configurations
/// that were compared differ.
#[must_use]
pub fn main() -> ExitCode {
    let words: Vec<String> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    if words
        .first()
        .is_some_and(|program| Path::new(program).file_name() == Some("ipvsadm".as_ref()))
    {
        return ipvsadm::run(&words);
    }
    let args = args::Args::parse();
    let writer = match args.command {
        args::Command::Run(_) => log::Writer::Thread,
        _ => log::Writer::Itself,
    };
    let log = log::start(args.log_level, args.log_format, writer);
    let result = match args.command {
        args::Command::Run(run) => execute(run.into(), &log).map(|()| ExitCode::SUCCESS),
        args::Command::Check(check) => configuration::check(check),
        args::Command::Config(command) => configuration::config(command),
        args::Command::Reload(options) => reload(&options, &log),
        args::Command::Stop(args::Stop { keep_dataplane, place }) => {
            control::stop(&place, keep_dataplane).map(say)
        }
        args::Command::Doctor(options) => on_a_runtime(doctor::run(options)),
        args::Command::List(options) => list::list(&options).map(|()| ExitCode::SUCCESS),
        args::Command::Connections(options) => {
            inspect::connections(&options).map(|()| ExitCode::SUCCESS)
        }
        args::Command::Stats(options) => inspect::stats(&options).map(|()| ExitCode::SUCCESS),
        args::Command::Ipvsadm(Ipvsadm { words }) => {
            let words: Vec<String> = iter::once("ipvsadm".to_owned()).chain(words).collect();
            return ipvsadm::run(&words);
        }
    };
    match result {
        Ok(code) => code,
        Err(failure) => {
            report(&failure, &log);
            failure.exit_code()
        }
    }
}

fn execute(options: Options, log: &log::Log) -> Result<(), Failure> {
    on_a_runtime(async {
        tokio::select! {
            result = control::run(options) => result,
            () = log.watch() => Ok(()),
        }
    })
}

/// Waits for a future on a runtime of this thread. What it waits for itself is done by then; other threads may be at something
/// that takes its time, like looking up a user in a network that does not answer, and end with the process.
fn on_a_runtime<T>(future: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from(anyhow::Error::new(error)))?;
    let result = runtime.block_on(future);
    runtime.shutdown_timeout(LAST);
    result
}

/// Has the controller reload, and shows what was found in the file. Who reads the log by a program has that in an entry of its
/// own, or in the one that says why it failed.
fn reload(options: &Reload, log: &log::Log) -> Result<ExitCode, Failure> {
    let Reloaded { shown, outcome } = control::reload(&options.place, options.discard_edits)?;
    if log.sink == log::Sink::Text {
        let gap = if shown.is_empty() { "" } else { "\n" };
        log.write(&(shown + gap));
        return outcome.map(say);
    }
    match outcome {
        Ok(line) => {
            if !shown.is_empty() {
                warn!("{}", shown.trim_end());
            }
            Ok(say(line))
        }
        Err(Failure { reason, error }) => {
            Err(Failure { reason, error: anyhow::anyhow!("{shown}{error:#}") })
        }
    }
}

/// Tells the user what was done. That stdout cannot be written to changes nothing of the exit code.
fn say(line: String) -> ExitCode {
    let _nobody_listens = io::stdout().write_all((line + "\n").as_bytes());
    ExitCode::SUCCESS
}

/// Tells the user what went wrong. A configuration is shown with its lines, everything else in one. Who reads the log by a
/// program has it as one entry. That stderr cannot be written to changes nothing of the exit code.
fn report(failure: &Failure, log: &log::Log) {
    let text = log.sink == log::Sink::Text;
    let message = match failure.error.downcast_ref::<config::Failure>() {
        Some(config::Failure::Invalid(report)) => report.render(text && log::colour()),
        _ => format!("{}{:#}\n", if text { "xlvs: " } else { "" }, failure.error),
    };
    if text {
        log.write(&message);
    } else {
        log::failure(&message);
    }
}

#[cfg(test)]
mod tests {
    use std::{thread::sleep, time::Instant};

    use tokio::task::{spawn_blocking, yield_now};

    use super::*;

    #[test]
    fn the_end_does_not_wait_for_what_never_ends() {
        let start = Instant::now();
        let result = on_a_runtime(async {
            drop(spawn_blocking(|| sleep(Duration::from_secs(60))));
            yield_now().await;
            Ok(())
        });
        assert!(result.is_ok());
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
