//! Who answers: servers in turn, or one server for a persistent client.

use anyhow::Result;
use lvs_tests::topology::VIRTUAL;
use lvs_tests::{config, skip_unless_possible};

use super::support::{Bed, by_server};

#[test]
fn a_thousand_requests_are_shared_evenly() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let answers = bed.ask_many(1000, 8)?;
    assert_eq!(by_server(&answers), [("web1", 500), ("web2", 500)].into());
    assert_eq!(bed.served()?, [500, 500]);
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn requests_one_after_the_other_alternate() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let answers = bed.ask_many(20, 1)?;
    for pair in answers.windows(2) {
        assert_ne!(pair[0].server, pair[1].server);
    }
    drop(xlvs);
    Ok(())
}

#[test]
fn persistence_keeps_a_client_with_one_server() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(config::EXAMPLE, None)?;
    let answers = bed.ask_many(1000, 8)?;
    let servers = by_server(&answers);
    assert_eq!(servers.values().collect::<Vec<_>>(), [&1000], "{servers:?}");
    assert_eq!(bed.served()?.iter().sum::<u64>(), 1000);
    let log = xlvs.log();
    assert!(log.contains("persistence_timeout"), "no notice of the other spelling:\n{log}");
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn servers_see_the_clients_own_port() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    for _ in 0..2 {
        let (seen, own) = bed.topology.client.block_on(|| async {
            let stream = tokio::net::TcpStream::connect(VIRTUAL).await?;
            let own = stream.local_addr()?;
            let mut connection = lvs_tests::http::client::Connection::over(stream).await?;
            Ok((connection.ask().await?, own))
        })?;
        assert_eq!((seen.client, seen.port), (own.ip(), own.port()));
    }
    drop(xlvs);
    Ok(())
}
