//! Whether the servers' answers come back by this host, as NAT needs it.
//!
//! From here that shows in one way only: a server that answers to an address of its own network, but not to another
//! address of this host, sends what is for other networks somewhere else. That it does answer is no proof: another
//! router may have brought the answer here.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::{
    config::Forwarding,
    doctor::{
        facts::{Facts, Outcome, Server, Tried, Way},
        finding::{Finding, some},
    },
};

/// Commands for so many servers.
const COMMANDS: usize = 8;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(nat(facts));
    findings.extend(full_nat(facts));
    findings
}

/// Who answered here, and whether to another address too.
fn answers(server: &Server) -> Option<(IpAddr, Option<&Tried>)> {
    let plain = server.plain.as_ref().filter(|tried| tried.outcome.answered())?;
    Some((plain.from?, server.from_elsewhere.as_ref()))
}

fn nat(facts: &Facts) -> Option<Finding> {
    let with = |server: &&Server| server.forwarding == Forwarding::Nat;
    let servers = || facts.servers.iter().filter(with);
    let mut lost: BTreeMap<IpAddr, (&Server, IpAddr, IpAddr)> = BTreeMap::new();
    let mut back: BTreeSet<IpAddr> = BTreeSet::new();
    let mut unknown: BTreeSet<IpAddr> = BTreeSet::new();
    for server in servers() {
        match answers(server) {
            Some((own, Some(Tried { from: Some(other), outcome: Outcome::Silent }))) => {
                lost.entry(server.address).or_insert((server, own, *other));
            }
            Some((_, Some(tried))) if tried.outcome.answered() => {
                back.insert(server.address);
            }
            Some(_) => {
                unknown.insert(server.address);
            }
            None => {}
        }
    }
    if let Some((_, own, other)) = lost.values().next() {
        let names = some(lost.keys());
        let found = format!(
            "{names}: answers to {own}, which the server knows the way to, and not to {other}, for which it takes its \
             default route"
        );
        let finding = Finding::warning("return-route", found).why(
            "With NAT the servers' answers to clients must come back by this host, or clients drop them: their default \
             route must lead here, and no firewall there may drop what comes from other networks.",
        );
        return Some(
            lost.values()
                .take(COMMANDS)
                .fold(finding, |finding, (server, own, _)| gateway(finding, facts, server, *own)),
        );
    }
    if !back.is_empty() {
        let found = format!("{} answer to other networks by this host", some(&back));
        return Some(Finding::ok("return-route", found));
    }
    let first = unknown.first()?;
    Some(
        Finding::notice("return-route", format!("{}: cannot be told from here", some(&unknown)))
            .why(
                "This host has no address outside the servers' network to ask from. With NAT their answers must come \
                 back by it: also to clients on their own network, which takes a route for these, or full NAT.",
            )
            .look(format!("ssh {first} ip route get CLIENT")),
    )
}

/// What is to be done about a server's default route.
fn gateway(finding: Finding, facts: &Facts, server: &Server, own: IpAddr) -> Finding {
    let option = if own.is_ipv6() { "ip -6" } else { "ip" };
    let near = facts.host.addresses.iter().any(|address| {
        address.length < 128 && address.address == own && address.covers(server.address)
    });
    match server.way {
        Way::Out(_, neighbour) if !near => finding.mend_on(
            format!("the router {neighbour}"),
            format!("{option} route replace default via {own}"),
        ),
        _ => finding.mend_on(
            server.address.to_string(),
            format!("{option} route replace default via {own}"),
        ),
    }
}

/// With full NAT a server must know the way to the local addresses.
fn full_nat(facts: &Facts) -> Option<Finding> {
    let lost: Vec<(&Server, IpAddr, IpAddr)> = facts
        .servers
        .iter()
        .filter(|server| server.forwarding == Forwarding::FullNat)
        .filter_map(|server| match answers(server)? {
            (own, Some(Tried { from: Some(other), outcome: Outcome::Silent })) => {
                Some((server, own, *other))
            }
            _ => None,
        })
        .collect();
    let (_, own, other) = lost.first()?;
    let names: BTreeSet<IpAddr> = lost.iter().map(|(server, ..)| server.address).collect();
    let found = format!("{}: answers to {own}, and not to the local address {other}", some(&names));
    let finding = Finding::warning("local-return-route", found).why(
        "With full NAT that is where connections come from: the server must have a route to it.",
    );
    let option = if own.is_ipv6() { "ip -6" } else { "ip" };
    Some(names.iter().take(COMMANDS).fold(finding, |finding, server| {
        finding.mend_on(server.to_string(), format!("{option} route replace {other} via {own}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    fn silent(from: &str) -> Tried {
        Tried { from: Some(from.parse().unwrap()), outcome: Outcome::Silent }
    }

    #[test]
    fn silence_to_other_networks_is_a_wrong_default_route() {
        let findings = said(check, |facts| {
            facts.servers[0].from_elsewhere = Some(silent("10.64.1.254"));
        });
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.name, finding.severity), ("return-route", Severity::Warning));
        let command = &finding.commands[0];
        assert_eq!(command.on.as_deref(), Some("192.168.1.100"));
        assert_eq!(command.command, "ip route replace default via 192.168.1.1");
    }

    #[test]
    fn of_a_server_that_is_silent_anyway_nothing_is_said() {
        let findings = said(check, |facts| {
            let server = &mut facts.servers[0];
            server.plain.as_mut().unwrap().outcome = Outcome::Silent;
            server.from_elsewhere = Some(silent("10.64.1.254"));
        });
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn behind_a_router_it_is_the_routers_route() {
        let findings = said(check, |facts| {
            let server = &mut facts.servers[0];
            server.address = "192.168.2.100".parse().unwrap();
            server.way = Way::Out(3, "192.168.1.251".parse().unwrap());
            server.from_elsewhere = Some(silent("10.64.1.254"));
        });
        let on = findings[0].commands[0].on.as_deref();
        assert_eq!(on, Some("the router 192.168.1.251"));
    }

    #[test]
    fn with_one_network_it_cannot_be_told() {
        let (name, severity, _) = one(check, |facts| facts.servers[0].from_elsewhere = None);
        assert_eq!((name, severity), ("return-route", Severity::Notice));
    }

    #[test]
    fn full_nat_needs_the_way_to_its_addresses_only() {
        let (name, severity, command) = one(check, |facts| {
            facts.servers[0].forwarding = Forwarding::FullNat;
            facts.servers[0].from_elsewhere = Some(silent("10.99.0.1"));
        });
        assert_eq!((name, severity), ("local-return-route", Severity::Warning));
        assert_eq!(command, "ip route replace 10.99.0.1 via 192.168.1.1");
        let alone = said(check, |facts| {
            facts.servers[0].forwarding = Forwarding::FullNat;
            facts.servers[0].from_elsewhere = None;
        });
        assert!(alone.is_empty());
    }
}
