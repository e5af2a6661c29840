//! What happens to a start while it is under way: signals, a kill with another start at once, a reload that comes too early.

use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::process::Lifetime;
use lvs_tests::xlvs::{self, Setup, Xlvs};
use lvs_tests::{config, skip_unless_possible};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::operation::order_in;
use super::support::Bed;
use super::survival::nothing_is_left;

/// Within what a start must be under way, and a start that was told to end must have ended: the verifier takes a second or
/// two, more where others compile.
const LIMIT: Duration = Duration::from_secs(30);

/// Starts it, and waits until it has its runtime directory: the verifier comes next.
fn begun(bed: &Bed, setup: &Setup) -> Result<Xlvs> {
    let xlvs = Xlvs::spawn(&xlvs::binary()?, &bed.topology.lb, setup.clone(), Lifetime::Bound)?;
    let pid_file = setup.runtime_dir.join("xlvs.pid");
    let start = Instant::now();
    let own = format!("{}\n", xlvs.pid());
    while std::fs::read_to_string(&pid_file).unwrap_or_default() != own {
        ensure!(start.elapsed() < LIMIT, "it does not begin:\n{}", xlvs.log());
        sleep(Duration::from_millis(2));
    }
    Ok(xlvs)
}

fn signal(xlvs: &Xlvs, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(xlvs.pid().try_into()?), signal).with_context(|| signal.to_string())
}

#[test]
fn sigterm_during_a_start_leaves_what_was_there() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    // By both signals that end it; nothing was there.
    for end in [Signal::SIGTERM, Signal::SIGINT] {
        let xlvs = begun(&bed, &setup)?;
        let log = || std::fs::read_to_string(&setup.log).unwrap_or_default();
        let status = xlvs.stop_by(end)?;
        ensure!(status.success(), "{end}: {status}: {}", log());
        let line = format!("{end} during the start: ends; nothing was attached");
        ensure!(log().contains(&line) && !log().contains("ready"), "{end}: {}", log());
        nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
        ensure!(!setup.runtime_dir.exists(), "the runtime directory is left");
    }
    // A data plane was there, and goes on.
    drop(Xlvs::start(&bed.topology.lb, setup.clone())?);
    let status = begun(&bed, &setup)?.stop()?;
    let log = std::fs::read_to_string(&setup.log)?;
    ensure!(
        status.success() && log.contains("is as it was, and packets flow on"),
        "{status}: {log}"
    );
    bed.ask_many(2, 1)?;
    let next = Xlvs::start(&bed.topology.lb, setup.clone())?;
    bed.ask_many(2, 1)?;
    assert!(next.stop()?.success());
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

#[test]
fn hangups_during_a_start_do_not_end_it() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    let mut xlvs = begun(&bed, &setup)?;
    let pid = Pid::from_raw(xlvs.pid().try_into()?);
    xlvs.wait_until_ready(|| {
        kill(pid, Signal::SIGHUP)?;
        Ok(kill(pid, Signal::SIGUSR1)?)
    })?;
    bed.ask_many(2, 1)?;
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_start_right_after_a_killed_one_waits_for_the_kernel() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    for after in [0, 150, 400] {
        let first = begun(&bed, &setup)?;
        sleep(Duration::from_millis(after));
        signal(&first, Signal::SIGKILL)?;
        let mut second = setup.clone();
        second.log = bed.scratch.path("second.log");
        let second = Xlvs::start(&bed.topology.lb, second)?;
        drop(first);
        bed.ask_many(2, 1)?;
        let (code, said) = order_in(&bed.topology.lb, &setup, &["stop"])?;
        ensure!(code == Some(0), "{code:?}: {said}");
        drop(second);
        // And after an end that was asked for.
        let third = Xlvs::start(&bed.topology.lb, setup.clone())?;
        bed.ask_many(2, 1)?;
        assert!(third.stop()?.success());
    }
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    ensure!(!setup.runtime_dir.exists(), "the runtime directory is left");
    Ok(())
}

#[test]
fn a_reload_waits_for_the_start() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    let xlvs = begun(&bed, &setup)?;
    let mut reload = Command::new(xlvs::binary()?);
    reload.arg("reload").arg("--pin-dir").arg(&setup.pin_dir);
    reload.arg("--runtime-dir").arg(&setup.runtime_dir).stdin(Stdio::null());
    let output = reload.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {said}\n{}", output.status, xlvs.log());
    let line = String::from_utf8_lossy(&output.stdout);
    ensure!(line.starts_with("reloaded: 1 virtual service"), "{line}");
    assert!(xlvs.stop()?.success());
    Ok(())
}
