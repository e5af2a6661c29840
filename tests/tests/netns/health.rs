//! Health checks at work: who fails is out, who recovers is back, and nobody else notices.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lvs_tests::http::server::Server;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::SERVERS;
use lvs_tests::xlvs::Setup;

use super::operation::order_in;
use super::support::{Bed, by_server};

/// Checks three times a second, and a failure is certain after a second try.
const CHECK: &str = "TCP_CHECK {\n      connect_timeout 1\n      delay_loop 0.3\n      delay_before_retry 0.2\n    }";

/// More than the time-outs of a check come to.
const NOTICED: Duration = Duration::from_secs(10);

/// The example with checks, and with more lines in the service.
fn checked(more: &str) -> String {
    format!(
        "virtual_server 10.64.1.2 10000 {{\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  warmup 0\n{more}  \
         real_server 192.168.1.100 8089 {{\n    {CHECK}\n  }}\n  \
         real_server 192.168.1.101 18089 {{\n    {CHECK}\n  }}\n}}\n"
    )
}

/// Waits until 20 requests are answered by these servers: the log tells of a check at once, the data path hears of it next.
fn settle(bed: &Bed, expected: &[(&str, usize)]) -> Result<()> {
    let expected = expected.iter().copied().collect();
    let start = Instant::now();
    loop {
        let answers = bed.ask_many(20, 2);
        if answers.as_ref().is_ok_and(|answers| by_server(answers) == expected) {
            return Ok(());
        }
        ensure!(start.elapsed() < Duration::from_secs(2), "{answers:?}, not {expected:?}");
    }
}

#[test]
fn a_server_that_ends_is_out_until_it_is_back() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let xlvs = bed.start(&checked(""), None)?;
    let [web1, _] = SERVERS;
    for round in 1..=2 {
        settle(&bed, &[("web1", 10), ("web2", 10)])?;
        drop(bed.servers.remove(0));
        xlvs.wait_for_times(
            &format!("real server {web1} of 10.64.1.2:10000/TCP is down, taken out: TCP_CHECK"),
            round,
        )?;
        settle(&bed, &[("web2", 20)])?;
        let again = Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?;
        bed.servers.insert(0, again);
        xlvs.wait_for_times(
            &format!("real server {web1} of 10.64.1.2:10000/TCP is up after"),
            round,
        )?;
    }
    settle(&bed, &[("web1", 10), ("web2", 10)])?;
    Ok(())
}

/// What notify scripts have written.
fn told(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// Waits until the notify scripts of the quorum and those of the servers have written this. A script of either kind that
/// starts at the same moment may be the first to write.
fn wait_for_told(path: &Path, quorum: &[&str], servers: &[&str]) -> Result<()> {
    let start = Instant::now();
    loop {
        let told = told(path);
        let (of_quorum, of_servers): (Vec<&str>, Vec<&str>) =
            told.lines().partition(|line| line.starts_with("quorum "));
        if of_quorum == quorum && of_servers == servers {
            return Ok(());
        }
        ensure!(start.elapsed() < NOTICED, "told was {told:?}, not {quorum:?} and {servers:?}");
        sleep(Duration::from_millis(20));
    }
}

/// The line of `xlvs list` about a server or service, which must say all of this; the rest of the listing, too, if it does not.
fn listed(bed: &Bed, setup: &Setup, who: &str, wanted: &[&str]) -> Result<()> {
    let (code, list) = order_in(&bed.topology.lb, setup, &["list"])?;
    let line = list.lines().find(|line| line.contains(who)).unwrap_or_default();
    let all = code == Some(0) && wanted.iter().all(|wanted| line.contains(wanted));
    ensure!(all, "{code:?}, not {wanted:?} of {who}:\n{list}");
    Ok(())
}

#[test]
fn a_restart_goes_on_with_what_was_known() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let [web1, web2] = SERVERS;
    let sorry = SocketAddr::from(([192, 168, 1, 101], 18090));
    let _sorry = Server::start(&bed.topology.servers[1], "sorry", sorry)?;
    let (program, told) = (bed.scratch.path("notify"), bed.scratch.path("told"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\n", told.display()))?;
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    let program = program.display();
    let notify = format!(
        "  sorry_server {} {}\n  quorum_up \"{program} quorum up\"\n  quorum_down \"{program} quorum down\"\n",
        sorry.ip(),
        sorry.port()
    );
    let text = checked(&notify).replace(
        "    TCP_CHECK",
        &format!(
            "    notify_up \"{program} up\"\n    notify_down \"{program} down\"\n    TCP_CHECK"
        ),
    );
    // One of them stays, with weight 0.
    let second = format!("real_server {} {} {{\n", web2.ip(), web2.port());
    let text = text.replace(&second, &format!("{second}    inhibit_on_failure\n"));
    // With this a start makes no check before the test is over: whatever it knows it knows from before.
    let unchecked = text.replace("warmup 0", "warmup 10000");

    let xlvs = bed.start(&text, None)?;
    settle(&bed, &[("web1", 10), ("web2", 10)])?;
    drop(bed.servers.remove(0));
    settle(&bed, &[("web2", 20)])?;
    wait_for_told(&told, &["quorum up"], &["down"])?;
    let setup = xlvs.setup().clone();
    let (dead, service) = (web1.to_string(), "TCP 10.64.1.2:10000");
    listed(&bed, &setup, &dead, &["DOWN", " for ", "TCP_CHECK", "refused"])?;
    listed(&bed, &setup, service, &["1 of 2 DOWN"])?;
    // Killed, and while nobody is there.
    drop(xlvs);
    listed(&bed, &setup, &dead, &["DOWN", " for ", "TCP_CHECK", "refused"])?;
    listed(&bed, &setup, "No controller runs", &["servers are not checked", " ago."])?;
    assert_eq!(by_server(&bed.ask_many(20, 2)?), [("web2", 20)].into());
    let xlvs = bed.start(&unchecked, None)?;
    assert_eq!(by_server(&bed.ask_many(20, 2)?), [("web2", 20)].into());
    listed(&bed, &setup, &dead, &["DOWN", " for ", "TCP_CHECK", "refused"])?;
    drop(xlvs);

    // The last one dies too; ended by `xlvs stop --keep-dataplane`.
    let xlvs = bed.start(&text, None)?;
    bed.servers.clear();
    settle(&bed, &[("sorry", 20)])?;
    wait_for_told(&told, &["quorum up", "quorum down"], &["down", "down"])?;
    xlvs.wait_for("is down, its weight is set to 0: TCP_CHECK")?;
    let takes_over = format!(
        "the sorry server {sorry} takes over from 10.64.1.2:10000/TCP: no real server is up"
    );
    xlvs.wait_for(&takes_over)?;
    listed(&bed, &setup, service, &["SORRY", "no quorum: weight 0 is up, 1 is needed"])?;
    listed(&bed, &setup, &sorry.to_string(), &["SORRY"])?;
    listed(&bed, &setup, &web2.to_string(), &["DOWN"])?;
    xlvs.order(&["stop", "--keep-dataplane"])?;
    drop(xlvs);
    assert_eq!(by_server(&bed.ask_many(20, 2)?), [("sorry", 20)].into());
    let xlvs = bed.start(&unchecked, None)?;
    assert_eq!(by_server(&bed.ask_many(20, 2)?), [("sorry", 20)].into());

    // Both are back, one in a file that asks for a check again.
    bed.servers.push(Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?);
    drop(xlvs);
    let xlvs = bed.start(&text, None)?;
    settle(&bed, &[("web1", 20)])?;
    bed.servers.push(Server::start(&bed.topology.servers[1], "web2", SocketAddr::from(web2))?);
    settle(&bed, &[("web1", 10), ("web2", 10)])?;
    let quorum = ["quorum up", "quorum down", "quorum up"];
    wait_for_told(&told, &quorum, &["down", "down", "up", "up"])?;
    xlvs.wait_for(&format!("the sorry server {sorry} yields, 10.64.1.2:10000/TCP has its quorum"))?;
    xlvs.wait_for_times("back in with weight 1", 2)?;
    listed(&bed, &setup, &web1.to_string(), &["up"])?;
    // What was known ends with the data plane.
    let memory = xlvs.setup().runtime_dir.join("health.json");
    bed.servers.clear();
    settle(&bed, &[("sorry", 20)])?;
    ensure!(memory.exists(), "{} is not there", memory.display());
    assert!(xlvs.stop()?.success());
    ensure!(!memory.exists(), "{} is left", memory.display());
    Ok(())
}

#[test]
fn a_service_without_a_server_refuses_and_recovers() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let xlvs = bed.start(&checked(""), None)?;
    let [web1, _] = SERVERS;
    bed.servers.clear();
    xlvs.wait_for("10.64.1.2:10000/TCP has no real server that is up")?;
    xlvs.wait_for_times("of 10.64.1.2:10000/TCP is down, taken out: TCP_CHECK", 2)?;
    ensure!(bed.ask_many(1, 1).is_err(), "somebody has answered");
    bed.servers.push(Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?);
    xlvs.wait_for("has its quorum: weight 1 is up, 1 is needed")?;
    settle(&bed, &[("web1", 20)])?;
    Ok(())
}
