//! What is played: requests with persistence, requests in turn, and a look into the maps.

use std::net::IpAddr;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::counts::{self, Counts};
use lvs_tests::http::client;
use lvs_tests::http::server::Record;
use lvs_tests::topology::{CLIENT, VIRTUAL};
use lvs_tests::{bpftool, command, config};

use crate::interrupt::Interrupt;
use crate::stage::{Stage, setup};
use crate::terminal::{heading, prompt, say, table};

/// Requests in each act, the one by curl included.
const REQUESTS: u64 = 20;

/// Plays all acts; an error if anything is not as it should be.
pub(crate) fn play(stage: &mut Stage, interrupt: &Interrupt) -> Result<()> {
    heading("xlvs with the example file");
    config::EXAMPLE.lines().for_each(|line| say(&format!("  {line}")));
    stage.run_xlvs(config::EXAMPLE, interrupt)?;
    let mut shares = act(stage, interrupt)?;
    shares.sort_unstable();
    ensure!(shares == [0, REQUESTS], "persistence should keep the client with one server");
    say("  persistent_timeout keeps the client with one server");

    heading("the same without the line `persistent_timeout 10`");
    stage.run_xlvs(&config::without_persistence(), interrupt)?;
    let shares = act(stage, interrupt)?;
    ensure!(shares == [REQUESTS / 2; 2], "round robin should share the requests evenly");
    say("  rr sends each new connection to the next server");

    heading("the connections, as the kernel has them");
    connections(interrupt)?;
    Ok(())
}

/// One round of requests; returns how many each server answered.
fn act(stage: &Stage, interrupt: &Interrupt) -> Result<Vec<u64>> {
    let before = stage.records()?;
    curl(stage)?;
    for _ in 1..REQUESTS {
        interrupt.check()?;
        stage.topology.client.block_on(|| client::ask(VIRTUAL))?;
    }
    say(&format!("… and {} more requests, each on a connection of its own", REQUESTS - 1));
    let after = stage.records()?;
    let answered: Vec<Record> =
        before.iter().zip(&after).map(|(before, after)| difference(before, after)).collect();
    interrupt.check()?;
    let counted = counts::read(&setup())?;
    for counts in &counted {
        let map = setup().map("STATISTICS");
        prompt(&command::line(&bpftool::lookup_command(&map, counts.id)));
    }
    let counted = stage
        .webs
        .iter()
        .map(|web| counted.iter().find(|counts| counts.address == web.address))
        .map(|counts| counts.context("the balancer has no counts of a server"))
        .collect::<Result<Vec<_>>>()?;
    summary(stage, &answered, &counted);
    for (record, counts) in answered.iter().zip(counted) {
        let stranger = record.clients.keys().find(|address| **address != IpAddr::V4(CLIENT));
        ensure!(stranger.is_none(), "a server saw {stranger:?} instead of the client's address");
        ensure!(
            record.requests == counts.connections,
            "a server answered {} requests, the balancer counted {} connections",
            record.requests,
            counts.connections
        );
    }
    Ok(answered.iter().map(|record| record.requests).collect())
}

fn curl(stage: &Stage) -> Result<()> {
    let mut curl = stage.topology.client.command("curl");
    curl.args(["--silent", "--show-error", "--max-time", "10", &format!("http://{VIRTUAL}/")]);
    prompt(&command::line(&curl));
    let answer = command::run(&mut curl)?;
    say(answer.trim_end());
    Ok(())
}

fn difference(before: &Record, after: &Record) -> Record {
    let earlier = |client| before.clients.get(client).copied().unwrap_or_default();
    let mut clients = after.clients.clone();
    for (client, count) in &mut clients {
        *count -= earlier(client);
    }
    clients.retain(|_, count| *count > 0);
    Record { requests: after.requests - before.requests, clients }
}

fn summary(stage: &Stage, answered: &[Record], counted: &[&Counts]) {
    let rows: Vec<[String; 6]> = stage
        .webs
        .iter()
        .zip(answered.iter().zip(counted))
        .map(|(web, (record, counts))| {
            let clients: Vec<String> = record.clients.keys().map(ToString::to_string).collect();
            [
                format!("{} {}", web.name, web.address),
                record.requests.to_string(),
                if clients.is_empty() { "–".to_owned() } else { clients.join(", ") },
                counts.connections.to_string(),
                format!("{} / {}", counts.in_packets, counts.out_packets),
                format!("{} / {}", counts.in_bytes, counts.out_bytes),
            ]
        })
        .collect();
    let headings = [
        "server",
        "answered",
        "saw client",
        "xlvs: connections",
        "packets in / out",
        "bytes in / out",
    ];
    table(headings, &rows);
}

/// The connection table by `bpftool`: its first entry, and how many there are.
fn connections(interrupt: &Interrupt) -> Result<()> {
    interrupt.check()?;
    let map = setup().map("CONNECTIONS4");
    let mut dump = bpftool::dump_command(&map);
    prompt(&command::line(&dump));
    let text = command::run(&mut dump)?;
    text.lines().take_while(|line| !line.trim_start().starts_with("},{")).for_each(say);
    let entries = bpftool::dump(&map)?.len() as u64;
    say(&format!("    … {entries} entries in all, one for each direction of a connection"));
    ensure!(entries == 2 * REQUESTS, "{REQUESTS} connections should be {} entries", 2 * REQUESTS);
    Ok(())
}
