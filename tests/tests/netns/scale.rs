//! Very many services and servers: all of them are there, and a reload changes what has changed.
//!
//! `XLVS_TEST_SERVERS` is how many real servers there are, 100 for each service. From 100,000 on the bounds on time and memory
//! are asserted, without health checks and with one of each server, of the best of three: a machine that does other things is
//! slower now and then.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::opener::Acceptor;
use lvs_tests::topology::{SERVERS, VIRTUAL};
use lvs_tests::xlvs::{Xlvs, binary};
use lvs_tests::{command, skip_unless_possible};
use serde_json::Value;

use super::support::{Bed, by_server, from_environment, say};

/// Real servers of each service.
const EACH: u32 = 100;
/// From so many servers on the bounds hold.
const MANY: u32 = 100_000;
/// The bounds: start to ready, also where there is a data plane; a reload of one changed line; resident memory in MiB, at
/// any time.
const READY: Duration = Duration::from_secs(3);
const RELOADED: Duration = Duration::from_secs(1);
const MEMORY: u64 = 500;
/// An edit of one server's weight: the controller does nothing else meanwhile.
const EDITED: Duration = Duration::from_millis(200);
const TIMES: u32 = 3;
/// More reloads, after which the controller has not grown but for so many MiB.
const RELOADS: u32 = 7;
const GROWTH: u64 = 40;

/// All servers but the two of the picture are behind the second one, and all are well.
const OTHERS: &str = "172.16.0.0/12";
const FIRST_OTHER: u32 = Ipv4Addr::new(172, 16, 0, 1).to_bits();
const PORT: u16 = 8080;

/// So many servers; those of the picture are the first two of the first service, and the only ones there with a weight.
fn file(servers: u32, checked: bool) -> String {
    let mut text = String::new();
    let check = if checked { "TCP_CHECK {\n      connect_timeout 3\n    }\n    " } else { "" };
    for service in 0..servers / EACH {
        let port = u32::from(VIRTUAL.port()) + service;
        writeln!(
            text,
            "virtual_server {} {port} {{\n  delay_loop 60\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP",
            VIRTUAL.ip()
        )
        .ok();
        for number in 0..EACH {
            let other = (Ipv4Addr::from_bits(FIRST_OTHER + service * EACH + number), PORT);
            let (address, port) = match (service, SERVERS.get(number as usize)) {
                (0, Some(server)) => (*server.ip(), server.port()),
                _ => other,
            };
            let weight = u32::from(service > 0 || number < 2);
            writeln!(text, "  real_server {address} {port} {{\n    weight {weight}\n    {check}}}")
                .ok();
        }
        text.push_str("}\n");
    }
    text
}

/// The same with one line changed: the weight of the last server.
fn changed(file: &str) -> Result<String> {
    let at = file.rfind("weight 1").context("no weight")?;
    Ok(format!("{}weight 7{}", &file[..at], &file[at + "weight 1".len()..]))
}

/// What a command of `xlvs` prints.
fn printed(bed: &Bed, xlvs: &Xlvs, words: &str) -> Result<String> {
    let mut command = bed.topology.lb.command(binary()?);
    let mut words = words.split_whitespace();
    command.args(words.next()).arg("--pin-dir").arg(&xlvs.setup().pin_dir);
    let words: Vec<&str> = words.collect();
    if words.contains(&"-e") {
        command.arg("--runtime-dir").arg(&xlvs.setup().runtime_dir);
    }
    command::run(command.args(words))
}

/// Every server in a line, with its service and weight.
fn listed(bed: &Bed, xlvs: &Xlvs) -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(&printed(bed, xlvs, "list --json")?)?;
    let field = |of: &Value, name: &str| of.get(name).cloned().unwrap_or_default();
    let services = field(&list, "services").as_array().cloned().context("no services")?;
    let of = |service: &Value| {
        let servers = field(service, "servers").as_array().cloned().unwrap_or_default();
        let line = |server: &Value| {
            let [address, port, weight] =
                ["address", "port", "weight"].map(|name| field(server, name));
            format!("{} {address} {port} {weight}", field(service, "service"))
        };
        servers.iter().map(line).collect::<Vec<_>>()
    };
    let mut all: Vec<String> = services.iter().flat_map(of).collect();
    all.sort_unstable();
    Ok(all)
}

/// The resident memory of a process in MiB: now, and at most so far.
fn memory(pid: u32) -> Result<(u64, u64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Result<u64> {
        let line =
            status.lines().find_map(|line| line.strip_prefix(name)).context("no such line")?;
        Ok(line.split_whitespace().next().context("no number")?.parse::<u64>()? / 1024)
    };
    Ok((field("VmRSS:")?, field("VmHWM:")?))
}

/// The shortest of so many times.
fn best(times: u32, what: &str, mut once: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let times = (0..times).map(|_| once()).collect::<Result<Vec<_>>>()?;
    say(format_args!("{what}: {times:.2?}"));
    times.into_iter().min().context("no time")
}

#[test]
fn very_many_servers_are_balanced_checked_and_changed() -> Result<()> {
    skip_unless_possible!();
    let servers = u32::try_from(from_environment("XLVS_TEST_SERVERS", 10_000)?)?;
    if servers >= MANY {
        say(format_args!("without health checks:"));
        run(servers, false)?;
        say(format_args!("each server checked:"));
    }
    run(servers, true)
}

fn run(servers: u32, checked: bool) -> Result<()> {
    let times = if servers >= MANY { TIMES } else { 1 };
    let bed = Bed::new()?;
    let behind = bed.topology.servers.get(1).context("no second server")?;
    behind.ip(&[format!("route add local {OTHERS} dev lo")])?;
    bed.topology.lb.ip(&[format!("route add {OTHERS} via {}", SERVERS[1].ip())])?;
    let _well = Acceptor::start(behind, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), PORT))?;
    let text = file(servers, checked);
    let other = changed(&text)?;

    let mut running = Vec::new();
    let start = best(times, "start to ready", || {
        for xlvs in running.drain(..) {
            assert!(Xlvs::stop(xlvs)?.success());
        }
        let begun = Instant::now();
        running.push(bed.start(&text, None)?);
        Ok(begun.elapsed())
    })?;
    let xlvs = running.pop().context("none runs")?;
    let before = listed(&bed, &xlvs)?;
    assert_eq!(before.len(), servers as usize);
    assert_eq!(by_server(&bed.ask_many(10, 1)?), [("web1", 5), ("web2", 5)].into());

    xlvs.reload(&other)?;
    let after = listed(&bed, &xlvs)?;
    let differ = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    assert_eq!((after.len(), differ), (before.len(), 1));
    let mut texts = [&text, &other].into_iter().cycle();
    let reload = best(times, "reload of one changed line", || {
        let begun = Instant::now();
        xlvs.reload(texts.next().unwrap_or(&text))?;
        Ok(begun.elapsed())
    })?;
    let mut weights = 3..;
    let edit = best(times, "edit of one weight, with its process", || {
        let words = format!(
            "ipvsadm -e -t {VIRTUAL} -r {} -m -w {}",
            SERVERS[0],
            weights.next().unwrap_or(1)
        );
        let begun = Instant::now();
        printed(&bed, &xlvs, &words)?;
        Ok(begun.elapsed())
    })?;
    printed(&bed, &xlvs, &format!("ipvsadm -e -t {VIRTUAL} -r {} -m -w 1", SERVERS[0]))?;
    best(times, "xlvs list", || {
        let begun = Instant::now();
        printed(&bed, &xlvs, "list")?;
        Ok(begun.elapsed())
    })?;
    best(times, "xlvs ipvsadm -Ln", || {
        let begun = Instant::now();
        printed(&bed, &xlvs, "ipvsadm -Ln")?;
        Ok(begun.elapsed())
    })?;
    let (now, _) = memory(xlvs.pid())?;
    if servers >= MANY {
        for _ in 0..RELOADS {
            xlvs.reload(texts.next().unwrap_or(&text))?;
        }
    }
    let (later, most) = memory(xlvs.pid())?;
    say(format_args!(
        "memory of the controller: {now} MiB, {later} MiB after more reloads, {most} MiB at most"
    ));

    // Killed, and started again.
    let setup = xlvs.setup().clone();
    let mut running = vec![xlvs];
    let again = best(times, "start to ready where there is a data plane", || {
        running.clear();
        let begun = Instant::now();
        running.push(Xlvs::start(&bed.topology.lb, setup.clone())?);
        Ok(begun.elapsed())
    })?;
    let xlvs = running.pop().context("none runs")?;
    ensure!(xlvs.log().contains("goes on with the data plane"), "{}", xlvs.log());
    assert_eq!(listed(&bed, &xlvs)?.len(), servers as usize);
    assert_eq!(by_server(&bed.ask_many(10, 1)?), [("web1", 5), ("web2", 5)].into());
    assert!(xlvs.stop()?.success());
    if servers >= MANY {
        ensure!(start <= READY && again <= READY, "start {start:?}, again {again:?}");
        ensure!(reload <= RELOADED && edit <= EDITED, "reload {reload:?}, edit {edit:?}");
        ensure!(most <= MEMORY, "memory {most} MiB at most");
        ensure!(later <= now + GROWTH, "memory {now} MiB, and {later} MiB after more reloads");
    }
    Ok(())
}
