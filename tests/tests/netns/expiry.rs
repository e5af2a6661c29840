//! Collecting what has ended: how long a large table takes, whom that disturbs, and what the counts are after it.
//!
//! `XLVS_TEST_ENTRIES` is how many connections have ended at once, and how many templates there are, of which half have ended.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::Pod;
use aya::maps::{Array, HashMap, Map, MapData};
use lvs_common::abi::{
    Clock, Direction, Flow, Head, Limits, Load, NO_SLOT, NextHop, Template, TemplateKey, Tuple, V4,
};
use lvs_common::connection::ticks;
use lvs_common::tcp::TcpState;
use lvs_tests::config::Method;
use lvs_tests::counts;
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::Plan;
use lvs_tests::xlvs::Xlvs;

use super::lab::Lab;
use super::support::{from_environment, say, wait_for};

/// Two sweeps and what a busy machine needs.
const COLLECTED: Duration = Duration::from_secs(90);
/// More than any time-out here.
const AGO: u64 = 20_000_000_000;
/// Longer than this takes.
const HOUR: u64 = 3_600_000_000_000;

#[test]
fn many_ended_connections_and_templates_are_collected_with_exact_counts() -> Result<()> {
    skip_unless_possible!();
    let count = u32::try_from(from_environment("XLVS_TEST_ENTRIES", 50_000)?)?;
    let lab = Lab::for_mode(Plan::TWO_ARMED, "native")?;
    let service = lab.web_service(Method::Nat, Family::V4);
    // Room for a million, and for the requests beside them.
    let room = format!("--max-connections={}", 1_000_000 + count / 100);
    let xlvs = lab.start_with("native", &service.to_string(), &["--log-level", "debug", &room])?;
    let setup = xlvs.setup().clone();
    let map = |name: &str| setup.map(name);

    // The clock as it was read last: some connection makes it be read.
    let address = lab.web(Method::Nat, Family::V4);
    lab.client().block_on(|| client::ask(address))?;
    let now = wait_for("the clock", || {
        let clock: Clock = array(&map("CLOCK"))?.get(&0, 0)?;
        Ok((clock.now != 0).then_some(clock.now))
    })?;
    let mut loads = array::<Load>(&map("LOADS"))?;
    let before = loads.get(&0, 0)?;
    loads.set(0, Load { inactive: before.inactive + count, ..before }, 0)?;
    let mut connections = table::<Tuple<V4>, Flow<V4>>(&map("CONNECTIONS4"))?;
    let mut templates = table::<TemplateKey<V4>, Template>(&map("TEMPLATES4"))?;
    for number in 0..count {
        let (one, other) = connection(number, now.wrapping_sub(AGO));
        connections.insert(one.0, one.1, 0)?;
        connections.insert(other.0, other.1, 0)?;
        templates.insert(template_key(number), template(number, now), 0)?;
    }
    // Killed in the middle of it, most likely; the next one goes on.
    wait_for("the first sweep", || {
        let left = counts::loads(&setup, 1)?.first().map_or(0, |load| load.inactive);
        Ok((left < u64::from(count)).then_some(()))
    })?;
    let log = xlvs.log();
    drop(xlvs);
    let xlvs = Xlvs::start(&lab.topology.lb, setup.clone())?;
    let start = Instant::now();
    let (mut slowest, mut collected) = (Duration::ZERO, 0);
    while start.elapsed() < COLLECTED {
        let asked = Instant::now();
        lab.client().block_on(|| client::ask(address))?;
        slowest = slowest.max(asked.elapsed());
        let left = counts::loads(&setup, 1)?.first().map_or(0, |load| load.inactive);
        // The first that is still there although it has ended.
        let there =
            |number: &u32| ends(*number) && templates.get(&template_key(*number), 0).is_ok();
        collected = (collected..count).find(there).unwrap_or(count);
        if left < u64::from(count) && collected == count {
            break;
        }
    }
    let log = log + &xlvs.log();
    let lines = log.lines().filter(|line| line.contains("collected"));
    lines.for_each(|line| say(format_args!("{line}")));
    say(format_args!("{count} of each; the slowest request meanwhile took {slowest:?}"));
    ensure!(collected == count, "templates are left that have ended, such as {collected}");
    let goes_on = |number: &u32| !ends(*number);
    let lost =
        (0..count).filter(goes_on).find(|one| templates.get(&template_key(*one), 0).is_err());
    ensure!(lost.is_none(), "templates have gone that live, such as {lost:?}");
    // What is left in the table is what the counts say, to the last one.
    let entries = connections.iter().filter_map(Result::ok);
    let of_server = entries.filter(|(_, flow)| flow.to_server() && flow.server == 0);
    let left = u64::try_from(of_server.count())?;
    let load = *counts::loads(&setup, 1)?.first().context("no load")?;
    assert_eq!(load.active + load.inactive, left, "{load:?}");
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn template_key(number: u32) -> TemplateKey<V4> {
    TemplateKey { client: (0x0b00_0000 + number).to_be_bytes(), service: 0 }
}

/// Whether this template has ended.
const fn ends(number: u32) -> bool {
    number % 4 < 2
}

/// Of four, two have ended, the third one has time left, and to the last one a connection refers.
const fn template(number: u32, now: u64) -> Template {
    let expires = if number % 4 == 2 { now + HOUR } else { now.wrapping_sub(AGO) };
    let connections = if number % 4 == 3 { 1 } else { 0 };
    Template { expires, connections, timeout: 1, server: 0, generation: number }
}

/// Both entries of a connection that was last seen then, in `TIME_WAIT`, of the first server.
#[expect(clippy::type_complexity, reason = "two entries")]
fn connection(number: u32, seen: u64) -> ((Tuple<V4>, Flow<V4>), (Tuple<V4>, Flow<V4>)) {
    let client = (0x0b00_0000 + number).to_be_bytes();
    let (address, server) = ([10, 64, 1, 2], [192, 168, 1, 100]);
    let key = Tuple {
        source: client,
        destination: address,
        source_port: 4000,
        destination_port: 10000,
        protocol: 6,
    };
    let flow = |direction, source, destination, source_port, destination_port| Flow {
        source,
        destination,
        source_port,
        destination_port,
        address_difference: 0,
        port_difference: 0,
        hop: NextHop::NONE,
        seen: ticks(seen),
        hop_checked: 0,
        server: 0,
        limits: Limits::new(1, NO_SLOT),
        mtu: 1500,
        head: Head { state: TcpState::TimeWait as u8, direction, flags: 0, template: 0 },
    };
    let to_server = flow(Direction::ToServer as u8, client, server, 4000, 8089);
    let to_client = flow(Direction::ToClient as u8, address, client, 10000, 4000);
    let reverse = to_server.reverse_key(6);
    ((key, to_server), (reverse, to_client))
}

fn array<T: Pod>(path: &Path) -> Result<Array<MapData, T>> {
    Ok(Map::Array(MapData::from_pin(path)?).try_into()?)
}

/// A pinned hash map.
pub(crate) fn table<K: Pod, V: Pod>(path: &Path) -> Result<HashMap<MapData, K, V>> {
    Ok(Map::HashMap(MapData::from_pin(path)?).try_into()?)
}
