//! What the controller's health checks have found, as it is written down in its runtime directory.

use std::{
    collections::{HashMap, HashSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    config::{Target, VirtualServer},
    control::{Told, desired::Kind, edit::ServerName},
    doctor::{
        facts::{Facts, Server},
        finding::{Finding, Severity, some},
    },
    health::{Name, Remembered, RememberedServer},
    inspect::ServiceName,
};

/// Services that have a finding of their own.
const SERVICES: usize = 8;

/// Servers that are named with the reason.
const NAMED: usize = 3;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let Some(told) = &facts.state.told else { return Vec::new() };
    let mut findings: Vec<Finding> =
        told.memory.services.iter().filter_map(|service| of(service, told.running)).collect();
    if findings.is_empty() {
        return told
            .running
            .then(|| Finding::ok("health", "no server is down"))
            .into_iter()
            .collect();
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    let look = facts.xlvs("list");
    let further = findings.split_off(findings.len().min(SERVICES));
    findings.extend(further.first().map(|worst| {
        Finding::new(
            worst.severity,
            "health",
            format!("the same or less of {} further services", further.len()),
        )
        .why("Only the first ones are named.")
    }));
    findings.into_iter().map(|finding| finding.look(look.clone())).collect()
}

/// What is to be said of a service. (Not the weights of maps are looked at: a start or an edit may be on its way there.)
fn of(service: &Remembered, running: bool) -> Option<Finding> {
    let Remembered { quorum, weight, needed, .. } = *service;
    let sorry = service.sorry.filter(|sorry| sorry.serves);
    let down: Vec<&RememberedServer> = service.servers.iter().filter(|server| !server.up).collect();
    let (severity, found, why) = if let Some(sorry) = sorry {
        let sorry = SocketAddr::new(sorry.address, sorry.port);
        let why = "Clients are served by the sorry server until there is a quorum again.";
        (Severity::Warning, format!("on its sorry server {sorry}"), why)
    } else if !quorum && needed > 0 && weight <= 0 {
        let why = "New connections are refused.";
        (Severity::Problem, "no server takes new connections".to_owned(), why)
    } else if !quorum {
        let found = format!("no quorum: weight {weight} is up, {needed} is needed");
        (Severity::Warning, found, "Fewer servers than it is meant to have take all clients.")
    } else if down.is_empty() {
        return None;
    } else {
        let why = "Clients are sent to the other ones until its checks find it well again.";
        (Severity::Warning, counted(down.len()), why)
    };
    let named = down.iter().take(NAMED).map(|server| {
        let place = SocketAddr::new(server.address, server.port);
        format!("{place} is down ({})", server.why())
    });
    let mut parts: Vec<String> = [found].into_iter().chain(named).collect();
    if down.len() > NAMED {
        parts.push(format!("and {} more", down.len() - NAMED));
    }
    let why = if running {
        why.to_owned()
    } else {
        format!("{why} No controller runs: that is what the last one had found.")
    };
    Some(Finding::new(severity, "health", parts.join("; ")).about(name(service)).why(why))
}

fn counted(down: usize) -> String {
    if down == 1 { "1 server is out".to_owned() } else { format!("{down} servers are out") }
}

fn name(service: &Remembered) -> String {
    match &service.service {
        Name::Single(name) => name.to_string(),
        Name::Group { group, .. } => {
            format!("group {group} ({})", some(&service.names))
        }
    }
}

/// Where clients are sent to, by the file, the edits, and the checks; `None` where it is not known what checks have found.
/// What is tried of it must answer; the other ones are known to be out.
#[derive(Debug)]
pub(super) struct SentTo(Option<HashSet<(IpAddr, u16)>>);

impl SentTo {
    pub(super) fn of(facts: &Facts) -> Self {
        Self(facts.state.told.as_ref().map(|told| sent_to(&facts.config.services, told)))
    }

    pub(super) fn has(&self, server: &Server) -> bool {
        self.0.as_ref().is_none_or(|all| all.contains(&(server.address, server.port)))
    }
}

fn sent_to(services: &[VirtualServer], told: &Told) -> HashSet<(IpAddr, u16)> {
    let mut down: HashMap<ServiceName, HashSet<(IpAddr, u16)>> = HashMap::new();
    for service in &told.memory.services {
        let single = match service.service {
            Name::Single(name) => Some(name),
            Name::Group { .. } => None,
        };
        for name in service.names.iter().copied().chain(single) {
            let servers = service.servers.iter().filter(|server| !server.up);
            down.entry(name)
                .or_default()
                .extend(servers.map(|server| (server.address, server.port)));
        }
    }
    let edits = told.edits.kinds();
    let mut all = HashSet::new();
    for service in services {
        let name = ServiceName::new(service.target, service.protocol, service.family);
        let (down, edits) = (down.get(&name), edits.get(&name));
        if edits.is_some_and(|(service, _)| *service == Some(Kind::Deleted)) {
            continue;
        }
        let of_service = match service.target {
            Target::Address { port, .. } => port,
            Target::Mark(_) => 0,
        };
        let there = service.real_servers.iter().map(|server| (server.address, server.port)).filter(
            |&(address, port)| {
                let edit =
                    edits.and_then(|(_, servers)| servers.get(&ServerName { address, port }));
                edit != Some(&Kind::Deleted)
                    && !down.is_some_and(|down| down.contains(&(address, port)))
            },
        );
        let sorry = service.sorry_server.iter().map(|sorry| (sorry.address, sorry.port));
        all.extend(there.chain(sorry).map(|(address, port)| {
            let port = [port, of_service].into_iter().find(|port| *port != 0);
            (address, port.unwrap_or(crate::doctor::facts::ANY_PORT))
        }));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::{one, said, told};

    /// A service as it is remembered.
    fn remembered(quorum: bool, weight: i64, sorry: &str, up: bool) -> String {
        format!(
            r#"{{"service":{{"protocol":"TCP","address":"10.64.1.2","port":80}},"quorum":{quorum},"weight":{weight},"needed":2,
            "sorry":{sorry},"servers":[{{"address":"192.168.1.100","port":80,"up":{up},"set":{up},"weight":1,"checkers":
            [{{"check":"x","made":true,"up":{up},"added":0,"reason":"TCP_CHECK: connection refused"}}]}}]}}"#
        )
    }

    #[test]
    fn a_service_without_servers_is_a_problem() {
        let findings = said(check, |facts| {
            facts.state.pin_dir = "/run/pins".into();
            facts.state.told = Some(told(&remembered(false, 0, "null", false), ""));
        });
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!(finding.severity, Severity::Problem);
        assert_eq!(finding.about.as_deref(), Some("TCP 10.64.1.2:80"));
        let down = "192.168.1.100:80 is down (TCP_CHECK: connection refused)";
        assert_eq!(finding.found, format!("no server takes new connections; {down}"));
        assert_eq!(finding.commands[0].command, "xlvs list --pin-dir /run/pins");
    }

    #[test]
    fn who_is_down_who_stands_in_and_a_lost_quorum_are_told() {
        let sorry = r#"{"address":"192.168.1.9","port":80,"serves":true,"set":true}"#;
        for (service, begins) in [
            (remembered(true, 2, "null", false), "1 server is out; 192.168.1.100:80 is down (TCP"),
            (
                remembered(false, 0, sorry, false),
                "on its sorry server 192.168.1.9:80; 192.168.1.100",
            ),
            (remembered(false, 1, "null", true), "no quorum: weight 1 is up, 2 is needed"),
        ] {
            let findings = said(check, |facts| facts.state.told = Some(told(&service, "")));
            let [finding] = findings.as_slice() else { panic!("{findings:?}") };
            assert_eq!(finding.severity, Severity::Warning);
            assert!(finding.found.starts_with(begins), "{finding:?}");
        }
        let well = remembered(true, 2, "null", true);
        assert!(said(check, |facts| facts.state.told = Some(told(&well, ""))).is_empty());
    }

    #[test]
    fn many_are_not_all_named() {
        let services = vec![remembered(true, 2, "null", false); SERVICES + 2].join(",");
        let findings = said(check, |facts| facts.state.told = Some(told(&services, "")));
        assert_eq!(findings.len(), SERVICES + 1);
        assert!(findings[SERVICES].found.ends_with("of 2 further services"), "{findings:?}");
    }

    #[test]
    fn of_a_server_that_is_out_it_is_not_said_that_clients_are_refused() {
        use crate::doctor::facts::{Outcome, Tried};
        let refused = |facts: &mut Facts| {
            facts.servers[0].plain = Some(Tried { from: None, outcome: Outcome::Refused });
        };
        let servers = super::super::servers::check;
        let out = said(servers, |facts| {
            refused(facts);
            facts.state.told = Some(told(&remembered(false, 0, "null", false), ""));
        });
        assert!(out.is_empty(), "{out:?}");
        let (name, ..) = one(servers, |facts| {
            refused(facts);
            facts.state.told = Some(told("", ""));
        });
        assert_eq!(name, "server-port");
    }
}
