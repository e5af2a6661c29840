//! `xlvs` against the recordings of real IPVS: the same connections and edits, and the same servers, refusals, counts and
//! templates.
//!
//! All scenarios run through one instance, with a file that has the services of all of them. `XLVS_TEST_ORACLE` runs the
//! scenarios whose names begin with it, and no others: `XLVS_TEST_ORACLE=wrr/`.

use std::collections::BTreeMap;
use std::env;
use std::net::Ipv4Addr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::oracle::compare::{Balancer, End, Progress, Run};
use lvs_tests::oracle::ends::{Ends, Servers};
use lvs_tests::oracle::keepalived;
use lvs_tests::oracle::recording::{
    Loads, Open, Oracle, People, Scenario, Server, Templates, Visit,
};
use lvs_tests::oracle::tables::Tables;
use lvs_tests::scratch::Scratch;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::{CLIENT, Plan, Topology};
use lvs_tests::xlvs::{Setup, Xlvs};

use super::support::say;

/// Scenarios in which it does otherwise by design, with the reason.
const OTHERWISE: &[(&str, &str)] = &[];

#[test]
fn every_scenario_goes_as_in_ipvs() -> Result<()> {
    skip_unless_possible!();
    let Oracle { people, scenarios } = Oracle::read()?;
    let only = env::var("XLVS_TEST_ORACLE").ok();
    let wanted = |scenario: &&Scenario| match &only {
        Some(part) => scenario.name.starts_with(part),
        None => OTHERWISE.iter().all(|(name, _)| *name != scenario.name),
    };
    let compared: Vec<&Scenario> = scenarios.iter().filter(wanted).collect();
    ensure!(!compared.is_empty(), "no scenario has such a name");
    let start = Instant::now();
    let found =
        with_xlvs(&people, &compared, |under_test| Ok(run_all(&people, &compared, under_test)))?;
    say(format_args!(
        "{} of {} scenarios compared with IPVS in {:.1} s, {} differ",
        compared.len(),
        scenarios.len(),
        start.elapsed().as_secs_f32(),
        found.len()
    ));
    ensure!(found.is_empty(), "{} scenarios differ:\n\n{}", found.len(), found.join("\n\n"));
    Ok(())
}

/// `twos` draws lots, so that there is nothing to record: servers must have what their weights say.
#[test]
fn two_lots_share_by_weight() -> Result<()> {
    skip_unless_possible!();
    let Oracle { people, scenarios } = Oracle::read()?;
    let of_wlc = scenarios.into_iter().find(|scenario| scenario.name == "wlc/5-3-1 held");
    let mut scenario = of_wlc.context("no such scenario")?;
    scenario.scheduler = "twos".to_owned();
    scenario.servers.push(Server { name: 'D', weight: 0, upper: 0, lower: 0 });
    let open = Open { count: 360, first: 0, stride: 1, hold: 1, answers: String::new() };
    let counts = with_xlvs(&people, &[&scenario], |under_test| {
        let (mut held, mut counts) = (Vec::new(), BTreeMap::<char, usize>::new());
        for number in 0..open.count {
            let (server, ends) =
                under_test.open(scenario.visit(&people, &open, number, number)?)?;
            *counts.entry(server).or_default() += 1;
            held.extend(ends);
        }
        Ok(counts)
    })?;
    for (server, share) in [('A', 200), ('B', 120), ('C', 40)] {
        let count = counts.get(&server).copied().unwrap_or_default();
        ensure!(count.abs_diff(share) * 4 < share, "{server} has {count}, not some {share}");
    }
    assert_eq!(counts.len(), 3, "{counts:?}");
    Ok(())
}

/// Starts one instance for these scenarios, and does something with it from where the clients are.
fn with_xlvs<T: Send>(
    people: &People,
    scenarios: &[&Scenario],
    work: impl FnOnce(&mut UnderTest<'_>) -> Result<T> + Send,
) -> Result<T> {
    let scratch = Scratch::new()?;
    let topology = Topology::of(scratch.name(), Plan::TWO_ARMED)?;
    give_addresses(&topology, people, scenarios)?;
    let ports = scenarios.iter().flat_map(|scenario| scenario.asked());
    let server = topology.servers.first().context("no server")?;
    let servers = server.run(|| Servers::listen(ports, &people.addresses))?;
    let services: Vec<Service<'_>> = scenarios
        .iter()
        .map(|scenario| Service {
            scenario,
            text: keepalived::services(people, scenario, &scenario.servers),
        })
        .collect();
    let setup = Setup {
        config: scratch.write("xlvs.conf", &text(&services))?,
        pin_dir: scratch.path("bpf"),
        runtime_dir: scratch.path("run"),
        log: scratch.path("xlvs.log"),
        mode: Some("native"),
        interfaces: topology.plan.interfaces(),
        extra: Vec::new(),
    };
    let xlvs = Xlvs::start(&topology.lb, setup)?;
    let result = topology.client.run(|| {
        let tables = Tables::open(xlvs.setup(), people)?;
        work(&mut UnderTest { xlvs: &xlvs, people, servers, tables, services })
    })?;
    ensure!(xlvs.stop()?.success(), "xlvs failed at its end");
    Ok(result)
}

/// Runs scenarios and describes those that go otherwise. All that need not wait are run, then the others as far as they can be, and so on: those wait together, and none so
/// long that its closed connections go.
fn run_all(
    people: &People,
    scenarios: &[&Scenario],
    under_test: &mut UnderTest<'_>,
) -> Vec<String> {
    let mut runs: Vec<_> = scenarios.iter().map(|scenario| Run::new(people, scenario)).collect();
    runs.sort_by_key(|run| run.scenario().waits());
    let mut found = Vec::new();
    while !runs.is_empty() {
        let mut waiting = Vec::new();
        for mut run in runs {
            match run.go(under_test) {
                Ok(Progress::Waits) => waiting.push(run),
                Ok(Progress::Same) => {}
                Ok(Progress::Differs(divergence)) => found.push(divergence.to_string()),
                Err(error) => {
                    // A fault, after which the others would wait for nothing, one after the other.
                    found.push(format!("{error:#}"));
                    return found;
                }
            }
        }
        runs = waiting;
    }
    found
}

/// The addresses of the recordings, beside those that everybody has anyway. One namespace is all the servers.
fn give_addresses(topology: &Topology, people: &People, scenarios: &[&Scenario]) -> Result<()> {
    let add = |address: &Ipv4Addr, rest: String| format!("addr add {address}{rest}");
    let clients = people.clients.iter().map(|address| add(address, "/32 dev client0".to_owned()));
    topology.client.ip(&clients.collect::<Vec<_>>())?;
    let servers = people.addresses.values();
    let servers = servers.map(|address| add(address, "/24 dev eth0".to_owned()));
    topology.servers.first().context("no server")?.ip(&servers.collect::<Vec<_>>())?;
    let mut virtuals: Vec<_> =
        scenarios.iter().flat_map(|scenario| &scenario.virtuals).copied().collect();
    virtuals.sort();
    virtuals.dedup();
    let side = topology.plan.client_side();
    let virtuals = virtuals.iter().map(|address| add(address, format!("/32 dev {side}")));
    let route = format!("route add 172.16.0.0/16 via {CLIENT}");
    topology.lb.ip(&virtuals.chain([route]).collect::<Vec<_>>()).map(drop)
}

/// A scenario's part of the file at the moment.
struct Service<'a> {
    scenario: &'a Scenario,
    text: String,
}

fn text(services: &[Service<'_>]) -> String {
    services.iter().map(|service| service.text.as_str()).collect()
}

/// `xlvs` with everything around it.
struct UnderTest<'a> {
    xlvs: &'a Xlvs,
    people: &'a People,
    servers: Servers,
    tables: Tables,
    services: Vec<Service<'a>>,
}

impl Balancer for UnderTest<'_> {
    type Connection = Ends;

    fn open(&mut self, visit: Visit) -> Result<(char, Option<Ends>)> {
        self.servers.open(visit)
    }

    fn end(&mut self, connection: Ends, how: End) -> Result<()> {
        connection.end(how)
    }

    fn change(&mut self, scenario: &Scenario, servers: &[Server]) -> Result<()> {
        let mine = self.services.iter_mut().find(|one| one.scenario.name == scenario.name);
        mine.context("no such scenario")?.text =
            keepalived::services(self.people, scenario, servers);
        self.tables.forget();
        self.xlvs.reload(&text(&self.services))
    }

    fn loads(&mut self, scenario: &Scenario, servers: &[Server]) -> Result<Loads> {
        self.tables.loads(scenario, servers)
    }

    fn templates(&mut self, scenario: &Scenario) -> Result<Templates> {
        self.tables.templates(scenario)
    }
}
