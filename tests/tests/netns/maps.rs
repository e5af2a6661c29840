//! The pinned maps, read with `bpftool` as a user would: entries with named fields, and true.

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client::Connection;
use lvs_tests::topology::{CLIENT, SERVERS, VIRTUAL};
use lvs_tests::{bpftool, config, counts, skip_unless_possible};
use serde_json::{Value, json};

use super::support::Bed;

#[test]
fn connections_are_readable_with_named_fields() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let (entries, answer) = bed.topology.client.block_on(|| async {
        let mut connection = Connection::open(VIRTUAL).await?;
        let answer = connection.ask().await?;
        // While it is open: an ended connection may be collected at any time.
        Ok((bpftool::dump(&xlvs.setup().map("CONNECTIONS4"))?, answer))
    })?;
    ensure!(entries.len() == 2, "not one entry for each direction: {entries:?}");

    let server = SERVERS
        .into_iter()
        .enumerate()
        .find(|(index, _)| answer.server == format!("web{}", index + 1))
        .with_context(|| format!("an answer from {}", answer.server))?
        .1;
    let to_server = tuple((CLIENT.octets(), answer.port), (VIRTUAL.ip().octets(), VIRTUAL.port()));
    let to_client = tuple((server.ip().octets(), server.port()), (CLIENT.octets(), answer.port));
    for key in [to_server, to_client] {
        let entry = entries.iter().find(|entry| entry.get("key").is_some_and(|k| same(k, &key)));
        let value = entry.with_context(|| format!("no entry {key} in {entries:?}"))?;
        for field in ["head", "limits", "seen", "hop", "server"] {
            ensure!(value.pointer(&format!("/value/{field}")).is_some(), "{field}: {value}");
        }
    }
    Ok(())
}

#[test]
fn statistics_count_what_the_servers_counted() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    bed.ask_many(100, 4)?;
    let counts = counts::read(xlvs.setup())?;
    for server in SERVERS {
        let of_server = counts.iter().find(|counts| counts.address == server.into());
        let counts = of_server.with_context(|| format!("{server} is not in {counts:?}"))?;
        assert_eq!(counts.connections, 50, "{counts:?}");
        // A connection takes at least SYN, ACK, request and FIN; and SYN-ACK, answer and FIN.
        assert!(counts.in_packets >= 200 && counts.out_packets >= 150, "{counts:?}");
        assert!(counts.in_bytes > counts.in_packets * 40, "{counts:?}");
        assert!(counts.out_bytes > counts.out_packets * 40, "{counts:?}");
    }
    Ok(())
}

fn tuple(source: ([u8; 4], u16), destination: ([u8; 4], u16)) -> Value {
    json!({
        "source": source.0, "source_port": source.1,
        "destination": destination.0, "destination_port": destination.1,
        "protocol": 6,
    })
}

/// Whether an object has all the fields of another, with the same values.
fn same(object: &Value, fields: &Value) -> bool {
    let fields = fields.as_object().into_iter().flatten();
    fields.into_iter().all(|(name, value)| object.get(name) == Some(value))
}
