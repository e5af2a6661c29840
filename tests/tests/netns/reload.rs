//! SIGHUP: what the file says now, and nobody who is not concerned notices.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client::Connection;
use lvs_tests::topology::VIRTUAL;
use lvs_tests::xlvs::Xlvs;
use lvs_tests::{config, skip_unless_possible};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use super::support::{Bed, by_server};

/// By then packets of a server that was removed are dropped.
pub(crate) const FOUND_OUT: Duration = Duration::from_millis(1500);

/// The file without its first server.
fn only_web2() -> String {
    let text = config::without_persistence();
    text.replace("  real_server 192.168.1.100 8089 {\n    weight 1\n  }\n", "")
}

/// Sends SIGHUP and waits until the log says something.
fn hang_up(xlvs: &Xlvs, said: &str) -> Result<String> {
    kill(Pid::from_raw(xlvs.pid().try_into()?), Signal::SIGHUP)?;
    xlvs.wait_for(said)?;
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
