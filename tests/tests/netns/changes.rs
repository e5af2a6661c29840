//! Reloads with clients at work all the time: no request fails but those on connections of a server that has been removed.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_tests::config::{Method, Protocol, Service};
use lvs_tests::http::load::{Clients, Load, Report};
use lvs_tests::http::server::Server;
use lvs_tests::topology::{SERVERS, VIRTUAL};
use lvs_tests::xlvs::Xlvs;
use lvs_tests::{config, skip_unless_possible};
use serde_json::Value;

use super::reload::FOUND_OUT;
use super::support::{Bed, from_environment, say};

/// The servers of the service that changes. They are others than those of the one that does not: a client may use the same
/// port for both services.
const FIRST: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 8091);
const SECOND: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 101), 8091);
/// That one comes and goes.
const THIRD: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 8090);
/// That service.
const CHANGED: SocketAddrV4 = SocketAddrV4::new(*VIRTUAL.ip(), 10_001);
const CLIENTS: Clients = Clients { keep_alive: 2, short: 2 };

/// What the file says at a step: one service always the same; one with other weights, another scheduler and a server more or
/// less; others that come and go.
fn changed(step: u64) -> String {
    let unchanged = config::without_persistence();
    let weight = |of: u64| format!("weight {}", 1 + (step + of) % 5);
    let mut one = unchanged.replace("10000", &CHANGED.port().to_string());
    one = one.replace("18089", &SECOND.port().to_string());
    one = one.replace("8089", &FIRST.port().to_string());
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

/// Connections that a service has counted.
fn connections_of(xlvs: &Xlvs, service: SocketAddrV4) -> Result<u64> {
    let stats = xlvs.look(&["stats", "--json", "--service", &service.to_string()])?;
    let stats: Value = serde_json::from_str(&stats)?;
    let connections = stats.pointer("/services/0/counts/connections");
    connections.and_then(Value::as_u64).context("connections")
}

#[test]
fn nobody_notices_a_hundred_reloads() -> Result<()> {
    skip_unless_possible!();
    let seconds = from_environment("XLVS_TEST_SECONDS", 6)?;
    let reloads = seconds * 10 / 3;
    let pace = Duration::from_secs(seconds) / u32::try_from(reloads)?;
    let bed = Bed::new()?;
    bed.topology.client.set("ipv4/ip_local_port_range", "2000 65000")?;
    let [first, second] = bed.topology.servers.as_slice() else { bail!("not two servers") };
    let others = [
        Server::start(first, "web1", FIRST)?,
        Server::start(second, "web2", SECOND)?,
        Server::start(first, "web3", THIRD)?,
    ];
    let xlvs = bed.start(&changed(0), None)?;
    let unchanged = Load::start(&bed.topology.client, VIRTUAL, CLIENTS)?;
    let changing = Load::start(&bed.topology.client, CHANGED, CLIENTS)?;
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
    assert_eq!(bed.served()?.iter().sum::<u64>(), same.requests);
    assert_eq!(others.iter().map(|one| one.record().requests).sum::<u64>(), other.requests);
    // Counts of whom a reload has left alone, and of those that went and came back.
    assert_eq!(connections_of(&xlvs, VIRTUAL)?, same.connections);
    assert_eq!(connections_of(&xlvs, CHANGED)?, other.connections);
    drop((unchanged, changing));
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// A service of the second test, and the servers that it has: each is of one service alone.
const BESIDE: SocketAddrV4 = SocketAddrV4::new(*VIRTUAL.ip(), 10_002);
const LEAVING: SocketAddrV4 = SocketAddrV4::new(*VIRTUAL.ip(), 10_003);
const COMING: SocketAddrV4 = SocketAddrV4::new(*VIRTUAL.ip(), 10_004);

const STAYS: [SocketAddrV4; 2] = [on(FIRST, 8101), on(SECOND, 8102)];
const REMOVED: SocketAddrV4 = on(FIRST, 8103);
const ADDED: SocketAddrV4 = on(FIRST, 8104);
const OF_LEAVING: SocketAddrV4 = on(SECOND, 8105);
const OF_COMING: SocketAddrV4 = on(SECOND, 8106);

/// The same host and another port.
const fn on(host: SocketAddrV4, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(*host.ip(), port)
}

/// What the file says before a server and a service are removed for good and others added, and after that.
fn file(step: u64, after: bool) -> String {
    let service = |address: SocketAddrV4, servers: &[SocketAddrV4]| {
        let servers: Vec<SocketAddr> = servers.iter().copied().map(SocketAddr::from).collect();
        Service::new(Protocol::Tcp, Method::Nat, address.into(), &servers).to_string()
    };
    let (third, scheduler) = if after { (ADDED, "lb_algo wrr") } else { (REMOVED, "lb_algo rr") };
    let changed = service(BESIDE, &[STAYS[0], STAYS[1], third]);
    let changed = changed.replacen("weight 1", &format!("weight {}", 1 + step % 2), 1);
    let changed = changed.replace("lb_algo rr", scheduler);
    let other = if after { service(COMING, &[OF_COMING]) } else { service(LEAVING, &[OF_LEAVING]) };
    config::without_persistence() + &changed + &other
}

/// The requests that failed are those on connections that this server has in the table, each once; they were not answered
/// at all, as in IPVS, which drops their packets. None was on a connection that was opened after the removal.
fn only_of(removed: SocketAddrV4, report: &Report, gone: Instant, xlvs: &Xlvs) -> Result<()> {
    let table = xlvs.look(&["connections", "--json"])?;
    let entries = table.lines().map(serde_json::from_str::<Value>);
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    let (service, removed) = (BESIDE.to_string(), removed.to_string());
    let mut clients = BTreeSet::new();
    for failure in &report.failures {
        let client = failure.client.with_context(|| format!("not even opened: {failure:?}"))?;
        let client = client.to_string();
        let is = |entry: &&Value, name: &str, what: &str| {
            entry.get(name).and_then(Value::as_str) == Some(what)
        };
        let entry = entries
            .iter()
            .find(|entry| is(entry, "service", &service) && is(entry, "client", &client));
        let entry = entry.with_context(|| format!("not in the table: {failure:?}"))?;
        ensure!(is(&entry, "server", &removed), "{failure:?} is of {entry}");
        ensure!(failure.error.contains("no answer"), "{failure:?}");
        ensure!(failure.server.is_some() || failure.began < gone, "opened later: {failure:?}");
        ensure!(clients.insert(client), "twice: {failure:?}");
    }
    Ok(())
}

#[test]
fn who_is_removed_for_good_takes_nobody_along() -> Result<()> {
    skip_unless_possible!();
    let seconds = from_environment("XLVS_TEST_SECONDS", 4)?;
    let bed = Bed::new()?;
    let client = &bed.topology.client;
    client.set("ipv4/ip_local_port_range", "2000 65000")?;
    let start = |address: SocketAddrV4, name: &str| {
        let place = SERVERS.iter().position(|server| server.ip() == address.ip());
        let netns = place.and_then(|place| bed.topology.servers.get(place));
        Server::start(netns.context("no such host")?, name, address)
    };
    let stay = [start(STAYS[0], "first")?, start(STAYS[1], "second")?];
    let (removed, added) = (start(REMOVED, "removed")?, start(ADDED, "added")?);
    let (leaving, coming) = (start(OF_LEAVING, "leaving")?, start(OF_COMING, "coming")?);
    let xlvs = bed.start(&file(0, false), None)?;
    // So many that the server that goes has some of those that are kept.
    let clients = Clients { keep_alive: 8, short: 2 };
    let unchanged = Load::start(client, VIRTUAL, CLIENTS)?;
    let changed = Load::start(client, BESIDE, clients)?;
    let left = Load::start(client, LEAVING, CLIENTS)?;
    let reloads = seconds * 10 / 3;
    let pace = Duration::from_secs(seconds) / u32::try_from(reloads)?;
    let mut step = 0;
    let mut reload_until = |end: u64, after: bool| -> Result<()> {
        while step < end {
            xlvs.reload(&file(step, after))?;
            sleep(pace);
            step += 1;
        }
        Ok(())
    };
    reload_until(reloads / 3, false)?;
    let before = Instant::now();
    xlvs.reload(&file(0, true))?;
    let gone = Instant::now();
    let come = Load::start(client, COMING, CLIENTS)?;
    reload_until(reloads * 2 / 3, true)?;
    // For so long, the data path may still know the server that it has found.
    sleep(FOUND_OUT.saturating_sub(gone.elapsed()));
    let left = left.settle()?;
    let answered = [removed.record().requests, leaving.record().requests];
    reload_until(reloads, true)?;
    let reports = [unchanged.settle()?, come.settle()?, changed.settle()?];
    let [same, come, changed] = &reports;
    say(format_args!(
        "unchanged {}, new {}, changed {} requests, {} of them on connections of the server that was removed failed; \
         of the service that was removed {}, {} failed",
        same.requests,
        come.requests,
        changed.requests,
        changed.failures.len(),
        left.requests,
        left.failures.len()
    ));
    for untouched in [same, come] {
        ensure!(untouched.failures.is_empty(), "{:?}", untouched.failures);
        ensure!(untouched.requests > 100, "few requests: {untouched:?}");
    }
    only_of(REMOVED, changed, gone, &xlvs)?;
    ensure!(
        changed.failures.iter().any(|one| one.server.as_deref() == Some("removed")),
        "none was on it: {changed:?}"
    );
    ensure!(
        changed.servers.contains_key("added"),
        "nobody was sent to the new server: {changed:?}"
    );
    // Of a service that is gone, what is open hangs likewise, and what is new finds nobody there.
    for failure in &left.failures {
        match failure.client {
            Some(_) => ensure!(failure.error.contains("no answer"), "{failure:?}"),
            None => {
                ensure!(failure.began > before && failure.error.contains("refused"), "{failure:?}");
            }
        }
    }
    ensure!(left.failures.iter().any(|one| one.server.is_some()), "{:?}", left.failures);
    ensure!(left.failures.iter().any(|one| one.client.is_none()), "{:?}", left.failures);
    // Nobody was answered by them any more, and all else is counted.
    assert_eq!([removed.record().requests, leaving.record().requests], answered);
    let of = |report: &Report, name: &str| report.servers.get(name).copied().unwrap_or_default();
    assert_eq!([of(changed, "removed"), of(&left, "leaving")], answered);
    assert_eq!(bed.served()?.iter().sum::<u64>(), same.requests);
    assert_eq!(coming.record().requests, come.requests);
    let others = stay.iter().chain([&removed, &added]).map(|one| one.record().requests);
    assert_eq!(others.sum::<u64>(), changed.requests);
    for (service, report) in [(VIRTUAL, same), (COMING, come), (BESIDE, changed)] {
        assert_eq!(connections_of(&xlvs, service)?, report.connections, "{service}");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}
