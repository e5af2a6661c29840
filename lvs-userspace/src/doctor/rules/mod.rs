//! The rules: from facts to findings, one module for each area. None of them looks at anything itself.

mod addresses;
mod config;
mod counters;
pub(super) mod drivers;
mod edits;
mod forwarding;
mod full_nat;
mod health;
mod interfaces;
mod ipvs;
mod kernel;
mod modes;
mod offloads;
mod others;
mod return_route;
mod servers;
mod state;

use super::{
    facts::Facts,
    finding::{Finding, Purpose, Severity, some},
};

/// Everything that there is to say, area by area.
pub(super) fn all(facts: &Facts) -> Vec<Finding> {
    let areas = [
        kernel::check,
        config::check,
        interfaces::check,
        modes::check,
        offloads::check,
        others::check,
        forwarding::check,
        addresses::check,
        full_nat::check,
        servers::check,
        return_route::check,
        ipvs::check,
        state::check,
        health::check,
        edits::check,
        counters::check,
    ];
    let mut findings: Vec<Finding> = areas.iter().flat_map(|check| check(facts)).collect();
    without_an_interface(facts, &mut findings);
    let unseen = facts.unseen.iter().map(|(what, why)| {
        Finding::notice("not-looked-at", format!("{what}: {why}"))
            .why("What is wrong there is not told here.")
    });
    findings.extend(unseen);
    findings
}

/// What depends on which interface leads where: with one missing, routes and addresses have gone with it, and what would mend
/// them elsewhere is wrong.
const OF_WAYS: [&str; 7] = [
    "virtual-address",
    "marked-address",
    "local-address",
    "server-route",
    "server-interface",
    "return-route",
    "local-return-route",
];

/// Offers no cure for what an interface that is missing may be the cause of.
fn without_an_interface(facts: &Facts, findings: &mut [Finding]) {
    if facts.no_interfaces.is_empty() {
        return;
    }
    let names = some(facts.no_interfaces.iter().map(|(name, _)| name));
    let first = format!(" See to {names} first, which is missing: it may be the cause.");
    let caused = |finding: &&mut Finding| {
        finding.severity > Severity::Notice && OF_WAYS.contains(&finding.name)
    };
    for finding in findings.iter_mut().filter(caused) {
        finding.commands.retain(|command| command.purpose != Purpose::Mend);
        finding.why.push_str(&first);
    }
}

/// `sysctl -w` for a path below `/proc/sys`: with slashes where an interface has dots in its name.
fn sysctl(path: &str, value: impl std::fmt::Display) -> String {
    let name = if path.contains('.') { path.to_owned() } else { path.replace('/', ".") };
    format!("sysctl -w {name}={value}")
}

/// What a rule says about facts that were spoilt in one point: all but what is fine.
#[cfg(test)]
fn said(check: fn(&Facts) -> Vec<Finding>, spoil: impl FnOnce(&mut Facts)) -> Vec<Finding> {
    use super::sound;
    let mut facts = sound::facts();
    spoil(&mut facts);
    let mut findings = check(&facts);
    findings.retain(|finding| finding.severity != Severity::Ok);
    findings
}

/// What a controller has told: services of which something is remembered, and services that are edited, in JSON.
#[cfg(test)]
fn told(memory: &str, edits: &str) -> crate::control::Told {
    let edits = format!(r#"{{"services":[{edits}],"tcp":null,"tcp_fin":null,"udp":null}}"#);
    crate::control::Told {
        memory: serde_json::from_str(&format!(r#"{{"services":[{memory}]}}"#)).unwrap(),
        edits: serde_json::from_str(&edits).unwrap(),
        unreadable: None,
        running: true,
        changed: None,
        out_of_date: None,
    }
}

/// The same of one finding: its name, severity, and first command.
#[cfg(test)]
fn one(
    check: fn(&Facts) -> Vec<Finding>,
    spoil: impl FnOnce(&mut Facts),
) -> (&'static str, Severity, String) {
    let findings = said(check, spoil);
    let [finding] = findings.as_slice() else { panic!("not one finding: {findings:#?}") };
    let command = finding.commands.first().map(|command| command.command.clone());
    (finding.name, finding.severity, command.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::sound;

    #[test]
    fn a_sound_host_has_no_more_than_oks() {
        let findings = all(&sound::facts());
        let others: Vec<_> =
            findings.iter().filter(|finding| finding.severity != Severity::Ok).collect();
        assert!(others.is_empty(), "{others:#?}");
        assert!(findings.len() >= 10, "{findings:#?}");
    }

    #[test]
    fn with_an_interface_missing_no_other_one_gets_its_addresses() {
        let mut facts = sound::facts();
        facts.host.unanswered = ["10.64.1.2".parse().unwrap()].into();
        let address = |facts: &Facts| {
            let findings = all(facts);
            findings.into_iter().find(|finding| finding.name == "virtual-address").unwrap()
        };
        assert_eq!(address(&facts).commands.len(), 1);
        facts.no_interfaces.push(("eth9".to_owned(), "there is none".to_owned()));
        let found = address(&facts);
        assert!(found.commands.is_empty() && found.why.contains("See to eth9 first"), "{found:?}");
    }

    #[test]
    fn an_interface_with_dots_has_slashes_around_it() {
        assert_eq!(sysctl("net/ipv4/ip_forward", 1), "sysctl -w net.ipv4.ip_forward=1");
        let path = "net/ipv4/conf/eth0.10/rp_filter";
        assert_eq!(sysctl(path, 2), "sysctl -w net/ipv4/conf/eth0.10/rp_filter=2");
    }

    #[test]
    fn what_was_not_looked_at_is_said() {
        let mut facts = sound::facts();
        facts.unseen.push(("pins", "permission denied; run as root".to_owned()));
        let findings = all(&facts);
        assert!(findings.iter().any(|finding| {
            finding.name == "not-looked-at" && finding.found.contains("run as root")
        }));
    }
}
