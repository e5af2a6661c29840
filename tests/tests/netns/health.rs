//! Health checks at work: who fails is out, who recovers is back, and nobody else notices.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lvs_tests::http::server::Server;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::SERVERS;
use lvs_tests::xlvs::Xlvs;

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

/// Waits until the log has said something so often.
fn wait_for(xlvs: &Xlvs, said: &str, times: usize) -> Result<()> {
    let start = Instant::now();
    while xlvs.log().matches(said).count() < times {
        ensure!(start.elapsed() < NOTICED, "not {times} times `{said}` in:\n{}", xlvs.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
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
        wait_for(&xlvs, &format!("check of {web1} for 10.64.1.2:10000/TCP: TCP_CHECK"), round)?;
        settle(&bed, &[("web2", 20)])?;
        let again = Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?;
        bed.servers.insert(0, again);
        wait_for(&xlvs, &format!("check of {web1} for 10.64.1.2:10000/TCP: back"), round)?;
    }
    settle(&bed, &[("web1", 10), ("web2", 10)])?;
    Ok(())
}

#[test]
fn a_server_that_cannot_be_reached_is_out_and_transfers_of_others_go_on() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&checked(""), None)?;
    let web1 = &bed.topology.servers[0];
    // Nothing answers any more, not even that there is nobody.
    let filter = ["iptables", "-A", "INPUT", "-p", "tcp", "--dport", "8089", "-j", "DROP"];
    lvs_tests::command::run(web1.command(filter[0]).args(&filter[1..]))?;
    wait_for(&xlvs, "check of 192.168.1.100:8089 for 10.64.1.2:10000/TCP", 1)?;
    bed.transfer(20_000_000)?;
    settle(&bed, &[("web2", 20)])?;
    Ok(())
}

#[test]
fn the_sorry_server_takes_over_and_yields() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let sorry = SocketAddr::from(([192, 168, 1, 101], 18090));
    let _sorry = Server::start(&bed.topology.servers[1], "sorry", sorry)?;
    let xlvs = bed.start(&checked("  sorry_server 192.168.1.101 18090\n"), None)?;
    let [web1, _] = SERVERS;
    bed.servers.clear();
    wait_for(&xlvs, "has lost its quorum", 1)?;
    settle(&bed, &[("sorry", 20)])?;
    bed.servers.push(Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?);
    wait_for(&xlvs, "has its quorum", 1)?;
    settle(&bed, &[("web1", 20)])?;
    Ok(())
}

#[test]
fn a_service_without_a_server_refuses_and_recovers() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let xlvs = bed.start(&checked(""), None)?;
    let [web1, _] = SERVERS;
    bed.servers.clear();
    wait_for(&xlvs, "has lost its quorum", 1)?;
    wait_for(&xlvs, "for 10.64.1.2:10000/TCP: TCP_CHECK", 2)?;
    ensure!(bed.ask_many(1, 1).is_err(), "somebody has answered");
    bed.servers.push(Server::start(&bed.topology.servers[0], "web1", SocketAddr::from(web1))?);
    wait_for(&xlvs, "has its quorum", 1)?;
    settle(&bed, &[("web1", 20)])?;
    Ok(())
}
