//! Next hops: unknown at first, and forgotten by the kernel while a connection is open.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client::Connection;
use lvs_tests::topology::VIRTUAL;
use lvs_tests::{config, skip_unless_possible};

use super::support::Bed;

/// A client sends its first SYN again after a second.
const NO_RETRANSMISSION: Duration = Duration::from_millis(900);

#[test]
fn a_first_connection_finds_an_unknown_neighbour_in_native_mode() -> Result<()> {
    skip_unless_possible!();
    first_connection("native")
}

#[test]
fn a_first_connection_finds_an_unknown_neighbour_in_generic_mode() -> Result<()> {
    skip_unless_possible!();
    first_connection("generic")
}

#[test]
fn a_connection_survives_that_neighbours_are_forgotten_in_native_mode() -> Result<()> {
    skip_unless_possible!();
    forgotten("native")
}

#[test]
fn a_connection_survives_that_neighbours_are_forgotten_in_generic_mode() -> Result<()> {
    skip_unless_possible!();
    forgotten("generic")
}

#[test]
fn a_first_connection_finds_an_unknown_neighbour_in_tc_mode() -> Result<()> {
    skip_unless_possible!();
    first_connection("tc")
}

#[test]
fn a_connection_survives_that_neighbours_are_forgotten_in_tc_mode() -> Result<()> {
    skip_unless_possible!();
    forgotten("tc")
}

/// A server comes back with another network card and does not announce it. Nothing but the balancer's own
/// questions can tell; the times after which the kernel asks are shortened for the test.
#[test]
fn a_server_with_a_new_mac_address_is_found_again() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let lb = &bed.topology.lb;
    lb.set("ipv4/neigh/xlvs-s/base_reachable_time_ms", "1000")?;
    lb.set("ipv4/neigh/xlvs-s/delay_first_probe_time", "1")?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    bed.ask_many(4, 1)?;
    bed.topology.servers.first().context("there are servers")?.ip(&[
        "link set eth0 down",
        "link set eth0 address 02:00:00:00:aa:01",
        "link set eth0 up",
        "route add default via 192.168.1.1",
    ])?;
    // The server would ask for its gateway when it answers, and so give itself away.
    let start = Instant::now();
    while bed.ask_many(2, 1).is_err() {
        ensure!(start.elapsed() < Duration::from_secs(30), "the server is still unreachable");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn first_connection(mode: &'static str) -> Result<()> {
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
    // Two requests: each is the first of its server.
    for _ in 0..2 {
        forget(&bed)?;
        let start = Instant::now();
        bed.ask_many(1, 1)?;
        let took = start.elapsed();
        ensure!(took < NO_RETRANSMISSION, "the first request took {took:?}: its SYN was lost");
    }
    assert_eq!(bed.served()?, [1, 1]);
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn forgotten(mode: &'static str) -> Result<()> {
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
    bed.topology.client.block_on(|| async {
        let mut connection = Connection::open(VIRTUAL).await?;
        let first = connection.ask().await?;
        // Longer than the time for which the data path takes a next hop to be good.
        for round in 0..30 {
            if round % 6 == 3 {
                forget(&bed)?;
            }
            let answer = connection.ask().await.with_context(|| format!("round {round}"))?;
            ensure!(answer == first, "round {round}: {answer:?} instead of {first:?}");
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        let len = 20_000_000;
        let hash = connection.download(len);
        let (hash, flushed) = tokio::join!(hash, async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            forget(&bed)
        });
        flushed?;
        ensure!(hash? == lvs_tests::payload::Payload::new(len).sha256(), "the download differs");
        Ok(())
    })?;
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// The balancer forgets all its neighbours, on both sides.
fn forget(bed: &Bed) -> Result<()> {
    bed.topology.lb.ip(&["neigh flush all"]).map(drop)
}
