//! Starting and ending otherwise than planned: signals, a kill, a second instance.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::process::{Background, Lifetime};
use lvs_tests::{config, skip_unless_possible, xlvs};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::modes;
use super::support::{Bed, wait_for};

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
fn signals_that_nothing_is_done_for_are_ignored() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let pid = Pid::from_raw(xlvs.pid().try_into()?);
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        kill(pid, signal)?;
    }
    bed.ask_many(10, 1)?;
    let status = xlvs.stop_by(Signal::SIGQUIT)?;
    assert!(status.success(), "{status}");
    Ok(())
}

#[test]
fn a_killed_instance_is_replaced_at_once_in_native_mode_and_leaves_nothing_in_the_end() -> Result<()>
{
    skip_unless_possible!();
    let bed = Bed::new()?;
    for _ in 0..5 {
        drop(bed.start(&config::without_persistence(), Some("native"))?);
    }
    let last = bed.start(&config::without_persistence(), Some("native"))?;
    bed.ask_many(10, 1)?;
    assert!(last.stop()?.success());
    let pins = bed.scratch.path("bpf");
    let mounts = std::fs::read_to_string("/proc/self/mountinfo")?;
    ensure!(!mounts.contains(&pins.display().to_string()), "the bpffs is still mounted");
    ensure!(!pins.join("v5").exists(), "pins are left");
    Ok(())
}

#[test]
fn an_interface_with_a_dot_in_its_name_is_attached() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let lb = &bed.topology.lb;
    lb.ip(&["link set xlvs-s down", "link set xlvs-s name eth0.100", "link set eth0.100 up"])?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    let rename = |word: String| if word == "xlvs-s" { "eth0.100".to_owned() } else { word };
    let arguments: Vec<String> = setup.arguments().into_iter().map(rename).collect();
    let process = Background::spawn(lb, &xlvs::binary()?, &arguments, &setup.log, Lifetime::Bound)?;
    let pin = setup.pin_dir.join("v5/links/eth0:100");
    wait_for("the pin", || Ok(pin.exists().then_some(())))?;
    bed.ask_many(10, 1)?;
    assert!(process.end(Signal::SIGTERM, Duration::from_secs(15))?.success());
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
    let pid = std::fs::read_to_string(setup.runtime_dir.join("xlvs.pid"))?;
    assert_eq!(pid.trim(), first.pid().to_string(), "the first one's process id");
    assert!(first.stop()?.success());
    Ok(())
}

#[test]
fn an_interface_that_is_renamed_is_still_followed() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let lb = &bed.topology.lb;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    lb.ip(&["link set xlvs-c name outside"])?;
    std::thread::sleep(Duration::from_secs(3));
    // New connections need its MAC address, so that a change must be noticed under the new name.
    lb.ip(&["link set outside address 02:00:00:00:00:77"])?;
    bed.topology.client.ip(&["neigh flush all"])?;
    std::thread::sleep(Duration::from_secs(3));
    bed.ask_many(10, 1)?;
    let log = xlvs.log();
    ensure!(log.contains("interface `xlvs-c` is called `outside` now"), "{log}");
    ensure!(!log.contains("has gone"), "{log}");
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_link_that_somebody_removes_is_attached_again() -> Result<()> {
    skip_unless_possible!();
    for mode in ["generic", "tc"] {
        let bed = Bed::new()?;
        let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
        bed.ask_many(10, 1)?;
        for (times, interface) in (1..).zip(["xlvs-c", "xlvs-s", "xlvs-c"]) {
            let pin = xlvs.setup().pin_dir.join("v5/links").join(interface);
            std::fs::remove_file(&pin)?;
            xlvs.wait_for_times("somebody has detached the link, or removed its pin", times)?;
            wait_for("its link", || Ok(pin.exists().then_some(())))?;
            bed.ask_many(10, 1)?;
        }
        assert_eq!(bed.served()?, [20, 20]);
        assert!(xlvs.stop()?.success());
    }
    Ok(())
}

#[test]
fn where_its_pins_are_removed_it_ends_and_can_be_started_again() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let mut xlvs = bed.start(&config::without_persistence(), None)?;
    std::fs::remove_dir_all(xlvs.setup().pin_dir.join("v5"))?;
    let status = wait_for("its end", || xlvs.ended())?;
    assert_eq!(status.code(), Some(1), "{}", xlvs.log());
    ensure!(xlvs.log().contains("somebody has removed it"), "{}", xlvs.log());
    drop(xlvs);
    let next = bed.start(&config::without_persistence(), None)?;
    bed.ask_many(10, 1)?;
    assert!(next.stop()?.success());
    Ok(())
}
