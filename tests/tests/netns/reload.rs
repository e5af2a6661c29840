//! SIGHUP: what the file says now, and nobody who is not concerned notices.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client::Connection;
use lvs_tests::http::load::{Clients, Load};
use lvs_tests::http::server::Server;
use lvs_tests::topology::VIRTUAL;
use lvs_tests::xlvs::{self, Xlvs};
use lvs_tests::{config, skip_unless_possible};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::support::{Bed, by_server, from_environment, say};

/// By then packets of a server that was removed are dropped.
const FOUND_OUT: Duration = Duration::from_millis(1500);

/// The file without its first server.
fn only_web2() -> String {
    let text = config::without_persistence();
    text.replace("  real_server 192.168.1.100 8089 {\n    weight 1\n  }\n", "")
}

/// Sends SIGHUP and waits until the log says something.
fn hang_up(xlvs: &Xlvs, said: &str) -> Result<String> {
    kill(Pid::from_raw(xlvs.pid().try_into()?), Signal::SIGHUP)?;
    let start = Instant::now();
    while !xlvs.log().contains(said) {
        ensure!(start.elapsed() < Duration::from_secs(10), "no `{said}` in:\n{}", xlvs.log());
        sleep(Duration::from_millis(20));
    }
    Ok(xlvs.log())
}

#[test]
fn transfers_go_on_while_the_file_changes_all_the_time() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let ended = AtomicBool::new(false);
    let reloads = scope(|scope| {
        let reloading = scope.spawn(|| {
            let mut reloads = 0;
            while !ended.load(Ordering::Relaxed) {
                let weight = format!("weight {}", reloads % 7);
                let other = reloads % 2 * 8000 + 20;
                let text = config::without_persistence().replacen("weight 1", &weight, 1);
                let text = text.replace("rr", ["wrr", "wlc", "sh", "rr"][reloads % 4]);
                xlvs.reload(
                    &(config::without_persistence().replace("10000", &other.to_string()) + &text),
                )?;
                reloads += 1;
            }
            Ok::<_, anyhow::Error>(reloads)
        });
        let result = (|| {
            for _ in 0..5 {
                bed.transfer(20_000_000)?;
            }
            Ok::<_, anyhow::Error>(())
        })();
        ended.store(true, Ordering::Relaxed);
        let reloads = reloading.join().map_err(|_| anyhow::anyhow!("the reloading thread"))?;
        result.context("the transfers").and(reloads)
    })?;
    ensure!(reloads > 10, "only {reloads} reloads");
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// The third server of the service that changes, which comes and goes.
const THIRD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 8090);
/// The port of that service.
const CHANGED: u16 = 10_001;
const CLIENTS: Clients = Clients { keep_alive: 2, short: 2 };

/// What the file says at a step: one service always the same; one with other weights, another scheduler and a server more or
/// less; others that come and go.
fn changed(step: u64) -> String {
    let unchanged = config::without_persistence();
    let weight = |of: u64| format!("weight {}", 1 + (step + of) % 5);
    let mut one = unchanged.replace("10000", &CHANGED.to_string());
    one = one.replacen("weight 1", &weight(0), 1);
    let scheduler = match step / 5 % 4 {
        0 => "wrr",
        1 => "wlc",
        2 => "rr",
        _ => "sh",
    };
    one = one.replace("lb_algo rr", &format!("lb_algo {scheduler}"));
    if step % 4 < 2 {
        let third = format!(
            "  real_server {} {} {{\n    {}\n  }}\n}}\n",
            THIRD.ip(),
            THIRD.port(),
            weight(2)
        );
        one.truncate(one.len() - 2);
        one.push_str(&third);
    }
    let others = (0..step % 8).map(|number| {
        let port = 11_000 + (step + 3 * number) % 16;
        unchanged.replace("10000", &port.to_string())
    });
    let before: String = others.collect();
    // Above and below what stays.
    if step.is_multiple_of(2) { before + &unchanged + &one } else { one + &unchanged + &before }
}

#[test]
fn nobody_notices_a_hundred_reloads() -> Result<()> {
    skip_unless_possible!();
    let seconds = from_environment("XLVS_TEST_SECONDS", 6)?;
    let reloads = seconds * 10 / 3;
    let pace = Duration::from_secs(seconds) / u32::try_from(reloads)?;
    let bed = Bed::new()?;
    bed.topology.client.set("ipv4/ip_local_port_range", "2000 65000")?;
    let third = Server::start(&bed.topology.servers[0], "web3", THIRD)?;
    let xlvs = bed.start(&changed(0), None)?;
    let unchanged = Load::start(&bed.topology.client, VIRTUAL, CLIENTS)?;
    let changing = SocketAddrV4::new(*VIRTUAL.ip(), CHANGED);
    let changing = Load::start(&bed.topology.client, changing, CLIENTS)?;
    let start = Instant::now();
    let mut slowest = Duration::ZERO;
    for step in 1..=reloads {
        let next = pace * u32::try_from(step)?;
        sleep(next.saturating_sub(start.elapsed()));
        let began = Instant::now();
        xlvs.reload(&changed(step))?;
        slowest = slowest.max(began.elapsed());
    }
    let took = start.elapsed();
    // The third server is there again: what is bound to it goes on.
    xlvs.reload(&changed(4))?;
    let reports = [unchanged.settle()?, changing.settle()?];
    let [same, other] = &reports;
    say(format_args!(
        "{reloads} reloads in {took:.1?}, the slowest took {slowest:.1?}; unchanged service: {} requests on {} connections, \
         the slowest took {:.1?}; changed service: {}, {}, {:.1?}",
        same.requests,
        same.connections,
        same.slowest,
        other.requests,
        other.connections,
        other.slowest
    ));
    for report in &reports {
        ensure!(report.failures.is_empty(), "requests have failed: {:?}", report.failures);
        ensure!(report.requests > 100 * seconds / 6, "few requests: {report:?}");
    }
    ensure!(other.servers.contains_key("web3"), "nobody was sent to the third server: {other:?}");
    assert_eq!(
        bed.served()?.iter().sum::<u64>() + third.record().requests,
        same.requests + other.requests
    );
    // Counts of whom a reload has left alone, and of those that went and came back.
    let counted = |port: u16| -> Result<u64> {
        let output = Command::new(xlvs::binary()?)
            .args(["stats", "--json", "--service"])
            .arg(SocketAddrV4::new(*VIRTUAL.ip(), port).to_string())
            .arg("--pin-dir")
            .arg(&xlvs.setup().pin_dir)
            .output()?;
        let stats: serde_json::Value = serde_json::from_slice(&output.stdout)?;
        stats["services"][0]["counts"]["connections"].as_u64().context("connections")
    };
    assert_eq!(counted(VIRTUAL.port())?, same.connections);
    assert_eq!(counted(CHANGED)?, other.connections);
    drop((unchanged, changing));
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn turns_go_on_where_they_were() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let mut servers = Vec::new();
    for round in 0..6 {
        let other = config::without_persistence().replace("10000", &(80 + round).to_string());
        xlvs.reload(&(config::without_persistence() + &other))?;
        servers.extend(bed.ask_many(1, 1)?.into_iter().map(|answer| answer.server));
    }
    for pair in servers.windows(2) {
        assert_ne!(pair[0], pair[1], "{servers:?}");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_file_that_cannot_be_used_changes_nothing() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let path = &xlvs.setup().config;
    fs::write(path, config::without_persistence().replace("weight 1", "weight x"))?;
    let log = hang_up(&xlvs, "nothing has changed")?;
    ensure!(log.contains("xlvs.conf:7:12") && log.contains("`x`"), "the spot is not in:\n{log}");
    fs::remove_file(path)?;
    fs::create_dir(path)?;
    let log = hang_up(&xlvs, "cannot read the configuration")?;
    ensure!(log.contains("directory"), "the reason is not in:\n{log}");
    fs::remove_dir(path)?;
    mkfifo(path, Mode::S_IRWXU)?;
    hang_up(&xlvs, "it is not a file")?;
    bed.ask_many(10, 1)?;
    assert_eq!(bed.served()?, [5, 5]);
    fs::remove_file(path)?;
    xlvs.reload(&only_web2())?;
    assert_eq!(by_server(&bed.ask_many(10, 1)?), [("web2", 10)].into());
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_server_that_comes_back_has_its_connections_again() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    bed.topology.client.block_on(|| async {
        // Both servers, in turn.
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut connection = Connection::open(VIRTUAL).await?;
            let server = connection.ask().await?.server;
            connections.push((server, connection));
        }
        xlvs.reload(&only_web2())?;
        tokio::time::sleep(FOUND_OUT).await;
        for (server, connection) in &mut connections {
            if server == "web2" {
                connection.ask().await.context("of the server that stays")?;
                continue;
            }
            let mut asked = Box::pin(connection.ask());
            let answer = tokio::time::timeout(FOUND_OUT, &mut asked).await;
            ensure!(answer.is_err(), "the server that was removed has answered");
            // The client sends it again.
            xlvs.reload(&config::without_persistence())?;
            asked.await.context("of the server that came back")?;
        }
        Ok(())
    })?;
    let servers = by_server(&bed.ask_many(10, 1)?).len();
    assert_eq!(servers, 2);
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn a_service_that_goes_leaves_the_port_to_the_host() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    bed.ask_many(2, 1)?;
    xlvs.reload(&config::without_persistence().replace("10000", "10001"))?;
    ensure!(bed.ask_many(1, 1).is_err(), "somebody answers at a port without a service");
    xlvs.reload(&config::without_persistence())?;
    bed.ask_many(2, 1)?;
    assert_eq!(bed.served()?, [2, 2]);
    assert!(xlvs.stop()?.success());
    Ok(())
}
