//! The harness without the product: when these fail, the fault is not in `xlvs`.

use std::time::Duration;

use anyhow::Result;
use lvs_tests::http::client;
use lvs_tests::ping::Pinger;
use lvs_tests::topology::{BALANCER, CLIENT, SERVERS, VIRTUAL};
use lvs_tests::{echo, skip_unless_possible};

use super::support::Bed;

#[test]
fn plain_forwarding_reaches_both_servers() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    for (name, address) in [("web1", SERVERS[0]), ("web2", SERVERS[1])] {
        let answer = bed.topology.client.block_on(|| client::ask(address))?;
        assert_eq!((answer.server.as_str(), answer.client), (name, CLIENT.into()));
    }
    bed.transfer_with(SERVERS[0].into(), 10_000_000)?;
    assert_eq!(bed.served()?, [3, 1]);
    Ok(())
}

#[test]
fn the_balancer_answers_pings_and_echoes() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let limit = Duration::from_secs(5);
    let mut pinger = Pinger::new(&bed.topology.client, BALANCER, limit)?;
    echo::serve(&bed.topology.lb, 22)?;
    let mut session = echo::Session::new(&bed.topology.client, (*VIRTUAL.ip(), 22), limit)?;
    for _ in 0..10 {
        pinger.ping()?;
        session.send("echo hello\n")?;
    }
    Ok(())
}
