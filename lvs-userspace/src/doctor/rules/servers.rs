//! The real servers: whether there is a way to them, and whether anybody answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::health::SentTo;
use crate::doctor::{
    facts::{Facts, Outcome, Server, Way},
    finding::{Finding, some},
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(no_way(facts));
    findings.extend(here(facts));
    findings.extend(not_attached(facts));
    findings.extend(unresolved(facts));
    // Checks have taken the others out: their clients have gone elsewhere.
    let sent_to = SentTo::of(facts);
    findings.extend(silent(facts, &sent_to));
    findings.extend(refused(facts, &sent_to));
    let tried = facts.servers.len();
    let out = facts.servers.iter().filter(|server| !sent_to.has(server)).count();
    if findings.is_empty() && tried > 0 && facts.not_tried == 0 {
        let all = match (tried, out) {
            (_, 1..) => format!("those of {tried} that clients are sent to"),
            (1, _) => "1 real server".to_owned(),
            _ => format!("all {tried}"),
        };
        findings.push(Finding::ok("servers", format!("{all} can be reached")));
    }
    if facts.not_tried > 0 {
        let found = format!("{tried} of {} were tried", tried + facts.not_tried);
        findings.push(
            Finding::notice("servers", found)
                .why("There was no time for more; what others are like is not told here."),
        );
    }
    findings
}

/// The interface on the way to a server.
pub(super) fn way_out(server: &Server) -> Option<u32> {
    match server.way {
        Way::Out(interface, _) => Some(interface),
        Way::Here | Way::None(_) => None,
    }
}

/// The addresses of servers, each once.
fn hosts(servers: &[&Server]) -> BTreeSet<IpAddr> {
    servers.iter().map(|server| server.address).collect()
}

/// Where a server is, for people.
fn place(server: &Server) -> std::net::SocketAddr {
    (server.address, server.port).into()
}

fn no_way(facts: &Facts) -> Option<Finding> {
    let mut without = facts.servers.iter().filter_map(|server| match &server.way {
        Way::None(reason) => Some((server.address, reason)),
        _ => None,
    });
    let (first, reason) = without.next()?;
    let all: BTreeSet<IpAddr> =
        [first].into_iter().chain(without.map(|(address, _)| address)).collect();
    let all = some(&all);
    Some(
        Finding::problem("server-route", format!("no route to {all}: {reason}"))
            .why("Connections to these servers are not made (16).")
            .mend(format!("ip route add {first} via GATEWAY"))
            .look(format!("ip route get {first}")),
    )
}

fn here(facts: &Facts) -> Option<Finding> {
    let here: Vec<_> = facts.servers.iter().filter(|server| server.way == Way::Here).collect();
    (!here.is_empty()).then(|| {
        let names = some(hosts(&here));
        Finding::problem("server-here", format!("{names} is this host itself"))
            .why("Nothing is forwarded to the balancer: connections to this server are not made.")
            .look(format!("xlvs config show {}", facts.file.path.display()))
    })
}

fn not_attached(facts: &Facts) -> Vec<Finding> {
    let mut ways: BTreeMap<u32, Vec<&Server>> = BTreeMap::new();
    if facts.interfaces.is_empty() {
        return Vec::new();
    }
    for server in &facts.servers {
        if let Some(index) = way_out(server)
            && facts.interfaces.iter().all(|interface| interface.index != index)
        {
            ways.entry(index).or_default().push(server);
        }
    }
    ways.into_iter()
        .map(|(index, servers)| {
            let name = facts.host.name(index);
            let servers = some(hosts(&servers));
            Finding::problem(
                "server-interface",
                format!("the way to {servers} leaves by it, and it is not attached"),
            )
            .about(name.clone())
            .why("Such packets are dropped (18), and the servers' answers pass by.")
            .mend(facts.run_command(facts.mode, Some(&name)))
        })
        .collect()
}

fn unresolved(facts: &Facts) -> Option<Finding> {
    let silent: Vec<&Server> =
        facts.servers.iter().filter(|server| server.resolved == Some(false)).collect();
    let first = silent.first()?;
    let Way::Out(interface, neighbour) = first.way else { return None };
    let name = facts.host.name(interface);
    let names = some(hosts(&silent));
    Some(
        Finding::warning("server-neighbour", format!("no answer from the neighbour on the way to {names}"))
            .why(
                "Nobody there says which MAC address packets are to be sent to: the host is down, on another network, or \
                 has another address.",
            )
            .look(format!("ip neigh show {neighbour} dev {name}")),
    )
}

/// Servers whose neighbour answers, but not their port.
fn silent(facts: &Facts, sent_to: &SentTo) -> Option<Finding> {
    let is_silent = |server: &&Server| {
        let outcome = server.plain.as_ref().map(|tried| &tried.outcome);
        server.tcp
            && server.resolved != Some(false)
            && sent_to.has(server)
            && matches!(outcome, Some(Outcome::Silent | Outcome::Failed(_)))
    };
    let silent: Vec<&Server> = facts.servers.iter().filter(is_silent).collect();
    let first = silent.first()?;
    let reason = match first.plain.as_ref().map(|tried| &tried.outcome) {
        Some(Outcome::Failed(reason)) => format!(" ({reason})"),
        _ => String::new(),
    };
    let names = some(silent.iter().copied().map(place));
    Some(
        Finding::warning("server-port", format!("no answer from {names}{reason}"))
            .why("A firewall drops connections from here, or the host is down behind its router.")
            .look(format!("nc -zvw 2 {} {}", first.address, first.port)),
    )
}

fn refused(facts: &Facts, sent_to: &SentTo) -> Option<Finding> {
    let is_refused = |server: &&Server| {
        let outcome = server.plain.as_ref().map(|tried| &tried.outcome);
        server.tcp && outcome == Some(&Outcome::Refused) && sent_to.has(server)
    };
    let refused: Vec<&Server> = facts.servers.iter().filter(is_refused).collect();
    let first = refused.first()?;
    let names = some(refused.iter().copied().map(place));
    Some(
        Finding::warning("server-port", format!("connection refused by {names}"))
            .why("The host is there, and nothing listens on that port: clients are refused too.")
            .look(format!("nc -zvw 2 {} {}", first.address, first.port)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        facts::Tried,
        finding::Severity,
        rules::{one, said},
    };

    fn plain(outcome: Outcome) -> impl FnOnce(&mut Facts) {
        move |facts| facts.servers[0].plain = Some(Tried { from: None, outcome })
    }

    #[test]
    fn a_way_must_lead_out_of_an_attached_interface() {
        let (name, severity, command) = one(check, |facts| {
            facts.servers[0].way = Way::None("Network is unreachable".to_owned());
        });
        assert_eq!((name, severity), ("server-route", Severity::Problem));
        assert_eq!(command, "ip route add 192.168.1.100 via GATEWAY");
        let (name, _, _) = one(check, |facts| facts.servers[0].way = Way::Here);
        assert_eq!(name, "server-here");
        let (name, severity, command) = one(check, |facts| {
            facts.interfaces.pop();
        });
        assert_eq!((name, severity), ("server-interface", Severity::Problem));
        assert_eq!(command, "xlvs run --config /etc/xlvs.conf --interface out --interface in");
    }

    #[test]
    fn a_server_must_answer() {
        let (name, severity, command) = one(check, |facts| {
            facts.servers[0].resolved = Some(false);
            plain(Outcome::Silent)(facts);
        });
        assert_eq!((name, severity), ("server-neighbour", Severity::Warning));
        assert_eq!(command, "ip neigh show 192.168.1.100 dev in");
        for outcome in [Outcome::Silent, Outcome::Refused, Outcome::Failed("no".to_owned())] {
            let (name, severity, _) = one(check, plain(outcome));
            assert_eq!((name, severity), ("server-port", Severity::Warning));
        }
        let udp = said(check, |facts| {
            plain(Outcome::Refused)(facts);
            facts.servers[0].tcp = false;
        });
        assert!(udp.is_empty(), "nobody listens for TCP there");
    }

    #[test]
    fn it_is_said_how_many_were_tried() {
        let findings = said(check, |facts| facts.not_tried = 5);
        assert_eq!(findings[0].found, "1 of 6 were tried");
    }
}
