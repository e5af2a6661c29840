//! The recordings as data: `tests/oracle/recorded/*.json`, whose fields `tests/oracle/scenarios.py` explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

/// The source port of a scenario's first connection.
const FIRST_SOURCE: u16 = 20_000;

/// All scenarios with what was recorded.
#[derive(Clone, Debug)]
pub struct Oracle {
    /// Who takes part.
    pub people: People,
    /// The scenarios of all files.
    pub scenarios: Vec<Scenario>,
}

/// Who takes part in all scenarios.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
pub struct People {
    /// Where clients are.
    pub clients: Vec<Ipv4Addr>,
    /// Where servers are, by name.
    pub addresses: BTreeMap<char, Ipv4Addr>,
}

#[derive(Deserialize)]
struct File {
    #[serde(flatten)]
    people: People,
    scenarios: Vec<Scenario>,
}

/// Services, what is done to them, and what came of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// The name of its group, a slash, and what it is about.
    pub name: String,
    /// The scheduler's name in IPVS.
    pub scheduler: String,
    /// Its flags.
    #[serde(default)]
    pub flags: Vec<String>,
    /// Seconds.
    pub persistence: Option<u32>,
    /// What clients have in common that stay together.
    pub mask: Option<Ipv4Addr>,
    /// The mark of the one service that all virtual addresses are.
    pub fwmark: Option<u32>,
    /// The virtual addresses, otherwise a service each.
    pub virtuals: Vec<Ipv4Addr>,
    /// The virtual port and that of the servers.
    pub port: u16,
    /// How many ports from that one on are asked, of a service for any port.
    pub ports: Option<u16>,
    /// In the order in which they are added.
    pub servers: Vec<Server>,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// A real server as configured.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// A letter.
    pub name: char,
    /// Its weight.
    pub weight: u32,
    /// Connections from which on it gets no more; 0 for none.
    #[serde(default)]
    pub upper: u32,
    /// Connections below which it gets some again.
    #[serde(default)]
    pub lower: u32,
}

/// What is done.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Connections are opened.
    Open(Open),
    /// So many that are open are closed.
    Close(usize),
    /// So many that are open are reset.
    Reset(usize),
    /// Those that were reset go.
    Expire,
    /// There is another server.
    Add(Server),
    /// A server is changed.
    Edit(Server),
    /// A server goes.
    Remove(char),
    /// The counts are looked at.
    Check(Check),
}

/// Connections that are opened.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Open {
    /// How many.
    pub count: usize,
    /// The first one's client.
    pub first: usize,
    /// From one to the next.
    pub stride: usize,
    /// Which stay open: every so many-th from the first on.
    pub hold: usize,
    /// Recorded: the server of each, or [`REFUSED`](super::compare::REFUSED).
    pub answers: String,
}

impl Open {
    /// Whether a connection stays open.
    #[must_use]
    pub fn holds(&self, number: usize) -> bool {
        self.hold > 0 && number.is_multiple_of(self.hold)
    }
}

/// The counts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Recorded: active and inactive connections by server.
    pub loads: Loads,
    /// Recorded: the templates of a persistent service.
    #[serde(default)]
    pub templates: Templates,
}

/// Active and inactive connections by server.
pub type Loads = BTreeMap<char, [u64; 2]>;

/// Client (or its network), service and server of each template.
pub type Templates = BTreeSet<(Ipv4Addr, String, char)>;

/// A connection that is to be opened.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Visit {
    /// From where.
    pub client: SocketAddrV4,
    /// Whereto.
    pub to: SocketAddrV4,
}

impl Scenario {
    /// A connection: the `number`-th of a step, the `nth` of the scenario.
    pub fn visit(&self, people: &People, open: &Open, number: usize, nth: usize) -> Result<Visit> {
        let of = |list: &[Ipv4Addr], index: usize| {
            list.get(index % list.len().max(1)).copied().context("a list of addresses is empty")
        };
        let client = of(&people.clients, open.first + number * open.stride)?;
        let port = self.port + u16::try_from(number)? % self.ports.unwrap_or(1);
        Ok(Visit {
            client: SocketAddrV4::new(client, FIRST_SOURCE + u16::try_from(nth)?),
            to: SocketAddrV4::new(of(&self.virtuals, number)?, port),
        })
    }

    /// The ports that are asked.
    pub fn asked(&self) -> impl Iterator<Item = u16> {
        self.port..self.port + self.ports.unwrap_or(1)
    }

    /// The virtual port of its services.
    #[must_use]
    pub fn virtual_port(&self) -> u16 {
        if self.ports.is_some() { 0 } else { self.port }
    }

    /// Whether it waits for connections to go.
    #[must_use]
    pub fn waits(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Expire))
    }
}

/// Where the recordings are.
fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/recorded")
}

impl Oracle {
    /// Reads all recordings.
    pub fn read() -> Result<Self> {
        let folder = folder();
        let mut paths = Vec::new();
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            paths.push(entry?.path());
        }
        paths.sort();
        let mut oracle: Option<Self> = None;
        for path in paths {
            let name = path.display();
            let text = fs::read_to_string(&path).with_context(|| name.to_string())?;
            let File { people, scenarios } =
                serde_json::from_str(&text).with_context(|| name.to_string())?;
            let all = oracle
                .get_or_insert_with(|| Self { people: people.clone(), scenarios: Vec::new() });
            ensure!(all.people == people, "{name} was not recorded with the others");
            all.scenarios.extend(scenarios);
        }
        oracle.with_context(|| format!("{} is empty", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::REFUSED;
    use super::*;

    #[test]
    fn recordings_are_whole() {
        let Oracle { people, scenarios } = Oracle::read().unwrap();
        assert!(scenarios.len() > 100);
        let mut ports = BTreeSet::new();
        for scenario in &scenarios {
            let name = &scenario.name;
            for step in &scenario.steps {
                match step {
                    Step::Open(open) => {
                        assert_eq!(open.answers.len(), open.count, "{name}");
                        let known =
                            |answer| answer == REFUSED || people.addresses.contains_key(&answer);
                        assert!(open.answers.chars().all(known), "{name}: {}", open.answers);
                    }
                    Step::Check(check) => {
                        let persistent = scenario.persistence.is_some();
                        assert_eq!(!check.templates.is_empty(), persistent, "{name}");
                    }
                    _ => {}
                }
            }
            for port in scenario.asked() {
                assert!(ports.insert(port), "{name}: port {port} is another scenario's");
            }
        }
    }

    #[test]
    fn each_scheduler_is_recorded() {
        let scenarios = Oracle::read().unwrap().scenarios;
        let of = |scenario: &Scenario| scenario.scheduler.clone();
        let expected =
            ["dh", "fo", "lblc", "lblcr", "lc", "mh", "nq", "ovf", "rr", "sed", "sh", "wlc", "wrr"];
        let schedulers: BTreeSet<String> = scenarios.iter().map(of).collect();
        assert_eq!(schedulers, expected.map(str::to_owned).into());
    }

    #[test]
    fn connections_come_from_where_record_py_opens_them() {
        let Oracle { people, scenarios } = Oracle::read().unwrap();
        let any_port = scenarios.iter().find(|scenario| scenario.ports == Some(3)).unwrap();
        let open = Open { count: 5, first: 1, stride: 7, hold: 3, answers: String::new() };
        let visit = any_port.visit(&people, &open, 4, 9).unwrap();
        assert_eq!(visit.client.to_string(), "172.16.5.39:20009");
        assert_eq!(visit.to, SocketAddrV4::new(any_port.virtuals[0], any_port.port + 1));
        assert_eq!([0, 1, 2, 3].map(|number| open.holds(number)), [true, false, false, true]);
    }
}
