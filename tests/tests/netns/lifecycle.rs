//! Starting and ending otherwise than planned: signals, a kill, a second instance, systemd.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::process::{Background, Lifetime};
use lvs_tests::{config, skip_unless_possible, xlvs};
use nix::sys::signal::Signal;

use super::modes;
use super::support::Bed;

#[test]
fn sigint_ends_it_as_sigterm_does() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(config::EXAMPLE, None)?;
    let status = xlvs.stop_by(Signal::SIGINT)?;
    assert!(status.success(), "{status}");
    assert!(modes::modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    Ok(())
}

#[test]
fn a_killed_instance_keeps_forwarding_and_the_next_one_takes_over() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    // Killed, as a program that is dropped is.
    drop(bed.start(&config::without_persistence(), None)?);
    bed.ask_many(10, 1).context("while no controller runs")?;
    let next = bed.start(&config::without_persistence(), None)?;
    bed.ask_many(10, 1).context("with the next controller")?;
    assert_eq!(bed.served()?, [10, 10]);
    assert!(next.stop()?.success());
    assert!(modes::modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    Ok(())
}

#[test]
fn a_second_instance_is_refused_and_disturbs_nothing() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let first = bed.start(&config::without_persistence(), None)?;
    let setup = first.setup().clone();
    let mut second = bed.topology.lb.command("timeout");
    second.args(["--signal=KILL", "20"]).arg(xlvs::binary()?).args(setup.arguments());
    let output = second.output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(said.contains("another xlvs"), "the reason is not in: {said}");
    bed.ask_many(10, 1)?;
    assert_eq!(bed.served()?, [5, 5]);
    assert!(first.stop()?.success());
    Ok(())
}

#[test]
fn systemd_is_told_when_it_is_ready() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let path = bed.scratch.path("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let setup = bed.setup(config::EXAMPLE, None)?;
    let mut arguments =
        vec![format!("NOTIFY_SOCKET={}", path.display()), xlvs::binary()?.display().to_string()];
    arguments.extend(setup.arguments());
    let env = Path::new("env");
    let lb = &bed.topology.lb;
    let process = Background::spawn(lb, env, &arguments, &setup.log, Lifetime::Bound)?;
    let mut message = [0; 4096];
    let len = socket.recv(&mut message).context("no message")?;
    let message = String::from_utf8_lossy(&message[..len]);
    ensure!(message.lines().any(|line| line == "READY=1"), "{message}");
    bed.ask_many(1, 1).context("it is not ready")?;
    assert!(process.end(Signal::SIGTERM, Duration::from_secs(15))?.success());
    Ok(())
}
