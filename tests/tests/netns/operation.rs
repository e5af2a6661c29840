//! `xlvs stop`, `xlvs reload`, what a start refuses to go on with, and interfaces that come and go.

use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::netns::Netns;
use lvs_tests::process::Lifetime;
use lvs_tests::xlvs::{self, Setup, Xlvs};
use lvs_tests::{command, config, skip_unless_possible};
use serde_json::Value;

use super::support::{Bed, by_server, wait_for};
use super::survival::nothing_is_left;

/// Within what an interface that is there must be attached.
const ATTACHED: Duration = Duration::from_secs(4);

/// Runs a command of `xlvs` for an instance.
fn order(bed: &Bed, setup: &Setup, order: &[&str]) -> Result<(Option<i32>, String)> {
    order_in(&bed.topology.lb, setup, order)
}

/// The same in a namespace.
pub(crate) fn order_in(lb: &Netns, setup: &Setup, order: &[&str]) -> Result<(Option<i32>, String)> {
    let mut command = lb.command("timeout");
    command.args(["--signal=KILL", "30"]).arg(xlvs::binary()?).args(order);
    command.arg("--pin-dir").arg(&setup.pin_dir).arg("--runtime-dir").arg(&setup.runtime_dir);
    let Output { status, stdout, stderr } = command.output()?;
    let said = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    Ok((status.code(), said.concat()))
}

/// A start that is refused: its exit code, and what it said.
pub(crate) fn start_refused(bed: &Bed, setup: &Setup) -> Result<(Option<i32>, String)> {
    let mut command = bed.topology.lb.command("timeout");
    command.args(["--signal=KILL", "20"]).arg(xlvs::binary()?).args(setup.arguments());
    let Output { status, stderr, .. } = command.output()?;
    Ok((status.code(), String::from_utf8_lossy(&stderr).into_owned()))
}

#[test]
fn stop_leaves_nothing_whether_the_controller_lives_or_not() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let xlvs = bed.start(&text, None)?;
    let setup = xlvs.setup().clone();
    let start = Instant::now();
    let (code, said) = order(&bed, &setup, &["stop"])?;
    ensure!(code == Some(0) && said.contains("has ended"), "{code:?}: {said}");
    super::support::say(format_args!("xlvs stop took {:?}", start.elapsed()));
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    ensure!(!setup.runtime_dir.exists(), "the runtime directory is left");

    drop(bed.start(&text, Some("native"))?);
    bed.ask_many(2, 1)?;
    let (code, said) = order(&bed, &setup, &["stop"])?;
    ensure!(code == Some(0) && said.contains("no xlvs was running"), "{code:?}: {said}");
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    ensure!(!setup.runtime_dir.exists(), "the runtime directory is left");
    let (code, said) = order(&bed, &setup, &["stop"])?;
    ensure!(code == Some(0) && said.contains("nothing to stop"), "{code:?}: {said}");
    Ok(())
}

#[test]
fn stop_can_keep_the_data_plane() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let xlvs = bed.start(&text, None)?;
    let setup = xlvs.setup().clone();
    bed.ask_many(1, 1)?;
    let (code, said) = order(&bed, &setup, &["stop", "--keep-dataplane"])?;
    ensure!(code == Some(0) && said.contains("packets flow on"), "{code:?}: {said}");
    xlvs.wait_for("the data plane stays")?;
    drop(xlvs);
    bed.ask_many(2, 1)?;
    let next = bed.start(&text, None)?;
    bed.ask_many(1, 1)?;
    assert_eq!(bed.served()?, [2, 2]);
    assert!(next.stop()?.success());
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

#[test]
fn reload_says_how_it_went() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let xlvs = bed.start(&text, None)?;
    let setup = xlvs.setup().clone();
    let status = || -> Result<Value> {
        Ok(serde_json::from_slice(&std::fs::read(setup.runtime_dir.join("status.json"))?)?)
    };
    let (code, said) = order(&bed, &setup, &["reload"])?;
    ensure!(code == Some(0) && said.contains("reloaded: 1 virtual service"), "{code:?}: {said}");
    ensure!(status()?["out_of_date"].is_null(), "{}", status()?);

    std::fs::write(&setup.config, text.replace("weight 1", "weight weigth"))?;
    let (code, said) = order(&bed, &setup, &["reload"])?;
    ensure!(
        code == Some(3) && said.contains("weigth") && said.contains("goes on"),
        "{code:?}: {said}"
    );
    ensure!(said.contains("error[XLVS") && said.contains("^^^"), "not underlined: {said}");
    let since = status()?["out_of_date"]["since"].as_u64().context("since when?")?;
    let reason = status()?["out_of_date"]["reason"].to_string();
    ensure!(since > 0 && reason.contains("weigth"), "{}", status()?);
    bed.ask_many(4, 1)?;
    assert_eq!(bed.served()?, [2, 2]);
    sleep(Duration::from_millis(1100));
    order(&bed, &setup, &["reload"])?;
    assert_eq!(status()?["out_of_date"]["since"].as_u64(), Some(since), "since the first time");

    std::fs::write(&setup.config, text.replacen("weight 1", "weight 0", 1))?;
    let (code, said) = order(&bed, &setup, &["reload"])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    ensure!(status()?["out_of_date"].is_null(), "{}", status()?);
    assert_eq!(by_server(&bed.ask_many(4, 1)?), [("web2", 4)].into());

    // What was found in a file that can be used, and what becomes of an edit, are told as well.
    let edit =
        ["ipvsadm", "-e", "-t", "10.64.1.2:10000", "-r", "192.168.1.100:8089", "-m", "-w", "5"];
    order(&bed, &setup, &edit)?;
    let typed = text.replacen("real_server", "real_servr", 1);
    std::fs::write(&setup.config, &typed)?;
    let (code, said) = order(&bed, &setup, &["reload"])?;
    ensure!(code == Some(0) && said.contains("reloaded: 1 virtual service"), "{code:?}: {said}");
    ensure!(said.contains("did you mean `real_server`?") && said.contains("^^^"), "{said}");
    ensure!(said.contains("192.168.1.100:8089 is dropped: "), "{said}");
    assert!(xlvs.stop()?.success());
    let (code, said) = order(&bed, &setup, &["reload"])?;
    ensure!(code == Some(1) && said.contains("no xlvs is running"), "{code:?}: {said}");
    Ok(())
}

#[test]
fn another_layout_is_refused_and_flows_on() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let first = bed.start(&text, None)?;
    let setup = first.setup().clone();
    drop(first);
    // Other numbers of connections.
    let mut other = setup.clone();
    other.extra = vec!["--max-connections".to_owned(), "5000".to_owned()];
    let (code, said) = start_refused(&bed, &other)?;
    ensure!(code == Some(1) && said.contains("--max-connections"), "{code:?}: {said}");
    bed.ask_many(2, 1)?;
    // Another fingerprint.
    let ledger = setup.map("LEDGER");
    let mut update = Command::new("bpftool");
    update.args(["map", "update", "pinned"]).arg(&ledger).args("key 0 0 0 0 value".split(' '));
    command::run(update.args("1 2 3 4 5 6 7 8 1 0 0 0 2 0 0 0 0 0 0 0 2 0 0 0".split(' ')))?;
    let (code, said) = start_refused(&bed, &setup)?;
    ensure!(code == Some(1) && said.contains("xlvs stop --pin-dir"), "{code:?}: {said}");
    bed.ask_many(2, 1)?;
    assert_eq!(bed.served()?, [2, 2]);
    let (code, said) = order(&bed, &setup, &["stop"])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    assert!(bed.start(&text, None)?.stop()?.success());
    Ok(())
}

#[test]
fn another_version_is_refused() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let first = bed.start(&text, None)?;
    let setup = first.setup().clone();
    drop(first);
    // As if an xlvs of version 4 had been killed there.
    let old = setup.pin_dir.join("v4");
    std::fs::rename(setup.pin_dir.join("v5"), &old)?;
    let (code, said) = start_refused(&bed, &setup)?;
    ensure!(
        code == Some(1) && said.contains("v4") && said.contains("xlvs stop"),
        "{code:?}: {said}"
    );
    bed.ask_many(2, 1)?;
    let (code, said) = order(&bed, &setup, &["stop"])?;
    ensure!(code == Some(0), "{code:?}: {said}");
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

#[test]
fn an_interface_of_another_instance_is_refused() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    for mode in ["native", "generic", "tc"] {
        let first = bed.start(&text, Some(mode))?;
        let setup = first.setup().clone();
        let mut other = setup.clone();
        other.pin_dir = bed.scratch.path("other-bpf");
        other.runtime_dir = bed.scratch.path("other-run");
        let refused = |alive: bool| -> Result<()> {
            for other_mode in ["native", "generic", "tc", "auto"] {
                let other = Setup { mode: Some(other_mode), ..other.clone() };
                let (code, said) = start_refused(&bed, &other)?;
                ensure!(
                    code == Some(1) && said.contains("balanced by another xlvs"),
                    "{mode}, {other_mode}, alive: {alive}: {code:?}: {said}"
                );
                ensure!(!other.pin_dir.exists(), "pins are left");
            }
            Ok(())
        };
        refused(true)?;
        drop(first);
        refused(false)?;
        // On the same pins there is one at a time, after a kill too.
        let first = bed.start(&text, Some(mode))?;
        let (code, said) = start_refused(&bed, &setup)?;
        ensure!(code == Some(1) && said.contains("another xlvs is running"), "{code:?}: {said}");
        bed.ask_many(2, 1)?;
        assert!(first.stop()?.success());
    }
    Ok(())
}

/// Waits until the interface towards the client has been attached so many times since the start, and asks.
fn answered_after(bed: &Bed, xlvs: &Xlvs, times: usize) -> Result<Duration> {
    let start = Instant::now();
    while xlvs.log().matches("interface `xlvs-c` is there: ").count() < times {
        ensure!(start.elapsed() < ATTACHED, "not attached within {ATTACHED:?}:\n{}", xlvs.log());
        sleep(Duration::from_millis(20));
    }
    let took = start.elapsed();
    bed.ask_many(10, 1)?;
    Ok(took)
}

#[test]
fn an_interface_that_comes_back_is_attached_again() -> Result<()> {
    skip_unless_possible!();
    for mode in ["native", "generic", "tc"] {
        let bed = Bed::new()?;
        let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
        bed.ask_many(2, 1)?;
        for times in 1..=2 {
            bed.topology.unplug_client()?;
            bed.topology.plug_client()?;
            let took = answered_after(&bed, &xlvs, times)?;
            super::support::say(format_args!("{mode}: attached again after {took:?}"));
        }
        // While no controller runs: the next one cleans up and attaches.
        let setup = xlvs.setup().clone();
        drop(xlvs);
        bed.topology.unplug_client()?;
        bed.topology.plug_client()?;
        let next = Xlvs::start(&bed.topology.lb, setup.clone())?;
        answered_after(&bed, &next, 0)?;
        assert!(next.stop()?.success());
        nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    }
    Ok(())
}

#[test]
fn an_interface_that_is_late_is_attached_when_it_comes() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    bed.topology.unplug_client()?;
    let xlvs = bed.start(&config::without_persistence(), Some("native"))?;
    ensure!(xlvs.log().contains("no interface `xlvs-c` yet"), "{}", xlvs.log());
    bed.topology.plug_client()?;
    answered_after(&bed, &xlvs, 1)?;
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_renamed_interface_keeps_its_pin_and_is_found_by_its_new_name() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), Some("native"))?;
    bed.topology.lb.ip(&["link set xlvs-c name outside"])?;
    let links = xlvs.setup().pin_dir.join("v5/links");
    wait_for("the new pin", || Ok(links.join("outside").exists().then_some(())))?;
    ensure!(!links.join("xlvs-c").exists(), "the old pin is still there");
    let mut setup = xlvs.setup().clone();
    drop(xlvs);
    setup.interfaces = vec!["outside".to_owned(), "xlvs-s".to_owned()];
    let next = Xlvs::start(&bed.topology.lb, setup)?;
    bed.ask_many(10, 1)?;
    assert!(next.stop()?.success());
    Ok(())
}

#[test]
fn an_interface_that_is_not_asked_for_any_more_is_left() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), Some("native"))?;
    let mut setup = xlvs.setup().clone();
    drop(xlvs);
    setup.interfaces.retain(|name| name != "xlvs-c");
    let next = Xlvs::spawn(&xlvs::binary()?, &bed.topology.lb, setup.clone(), Lifetime::Bound)?;
    let links = setup.pin_dir.join("v5/links");
    wait_for("the pin's end", || Ok((!links.join("xlvs-c").exists()).then_some(())))
        .with_context(|| format!("still attached:\n{}", next.log()))?;
    ensure!(links.join("xlvs-s").exists(), "the other one is gone too");
    Ok(())
}
