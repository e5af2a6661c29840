//! The interfaces themselves: there, up, whole, and the right ones.

use crate::{
    control::answers,
    doctor::{
        facts::{Facts, Interface, State},
        finding::{Finding, some},
    },
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (name, wrong) in &facts.no_interfaces {
        findings.push(
            Finding::problem("interface", wrong.clone())
                .about(name.clone())
                .why(if is_awaited(facts, name) {
                    "Packets that come in there are not balanced; xlvs follows it as soon as it comes back."
                } else {
                    "Packets that come in there are not balanced."
                })
                .look("ip -br link"),
        );
    }
    if facts.interfaces.is_empty() && facts.no_interfaces.is_empty() {
        findings.push(none_given(facts));
    }
    for interface in &facts.interfaces {
        let about = &interface.name;
        let before = findings.len();
        findings.extend(down(interface));
        findings.extend(part_of(facts, interface));
        findings.extend(queues(interface, facts.host.cpus));
        if findings.len() == before {
            let what = interface.driver.as_ref().or(interface.kind.as_ref());
            let what = what.map(|what| format!(" ({what})")).unwrap_or_default();
            findings.push(Finding::ok("interface", format!("up{what}")).about(about.clone()));
        }
    }
    findings
}

/// Whether the controller that runs was given an interface.
fn is_awaited(facts: &Facts, name: &String) -> bool {
    let State { controller, last_run, .. } = &facts.state;
    controller.is_some() && last_run.as_ref().is_some_and(|run| run.interfaces.contains(name))
}

/// Which ones it probably should be: those towards the servers, and those with virtual addresses.
fn none_given(facts: &Facts) -> Finding {
    let mut likely: Vec<u32> = facts.servers.iter().filter_map(super::servers::way_out).collect();
    likely.extend(answers::virtual_addresses(&facts.config).iter().filter_map(|address| {
        let own = facts.host.addresses.iter().find(|own| own.address == *address)?;
        Some(own.interface)
    }));
    likely.sort_unstable();
    likely.dedup();
    let options: Vec<String> = likely
        .into_iter()
        .map(|index| format!(" --interface {}", facts.host.name(index)))
        .collect();
    let found = "no interface was given, and no xlvs runs that has some";
    let finding = Finding::warning("interface", found)
        .why("Interfaces and the ways out of them were not looked at.");
    if options.is_empty() {
        finding.look("ip -br link")
    } else {
        finding.look(facts.xlvs(&format!("doctor{}", options.concat())))
    }
}

fn down(interface: &Interface) -> Option<Finding> {
    let name = &interface.name;
    if !interface.up {
        return Some(
            Finding::problem("interface-up", "it is down")
                .about(name.clone())
                .why("Nothing comes in or goes out there.")
                .mend(format!("ip link set dev {name} up")),
        );
    }
    (!interface.carrier).then(|| {
        Finding::problem("interface-carrier", "it is up, but has no carrier")
            .about(name.clone())
            .why("Nothing comes in or goes out there: no cable, or the other end is down.")
            .look(format!("ip -d link show dev {name}"))
    })
}

fn part_of(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let (master, kind) = interface.master.as_ref()?;
    let name = &interface.name;
    Some(
        Finding::warning("part-of", format!("it is a part of the {kind} {master}"))
            .about(name.clone())
            .why(format!(
                "Addresses and routes are those of {master}: what leaves by it would be dropped as a way out that is \
                 not attached (18)."
            ))
            .look(facts.xlvs(&format!("doctor --interface {master}"))),
    )
}

fn queues(interface: &Interface, cpus: u32) -> Option<Finding> {
    let (used, most) = interface.queues?;
    let possible = most.min(cpus);
    (used < possible && interface.driver.is_some()).then(|| {
        let name = &interface.name;
        Finding::notice("queues", format!("{used} of {most} queues in use, and {cpus} CPUs"))
            .about(name.clone())
            .why("A queue is served by one CPU: the others do not help with what comes in there.")
            .mend(format!("ethtool -L {name} combined {possible}"))
    })
}

/// VLAN devices on an interface.
pub(super) fn vlans(interface: &Interface) -> Option<String> {
    (!interface.vlans.is_empty()).then(|| some(&interface.vlans))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn an_interface_must_be_there_and_up() {
        let found = one(check, |facts| facts.interfaces[0].up = false);
        let command = "ip link set dev out up".to_owned();
        assert_eq!(found, ("interface-up", Severity::Problem, command));
        let (name, severity, _) = one(check, |facts| facts.interfaces[1].carrier = false);
        assert_eq!((name, severity), ("interface-carrier", Severity::Problem));
        let (name, severity, _) = one(check, |facts| {
            facts.no_interfaces.push(("eth9".to_owned(), "there is none".to_owned()));
        });
        assert_eq!((name, severity), ("interface", Severity::Problem));
    }

    #[test]
    fn one_that_is_to_come_back_is_waited_for() {
        use crate::control::found::{Controller, Given};
        let findings = said(check, |facts| {
            facts.no_interfaces.push(("eth9".to_owned(), "there is none".to_owned()));
            let mut run = Given::default();
            run.interfaces.push("eth9".to_owned());
            facts.state.last_run = Some(run);
            facts.state.controller = Some(Controller::default());
        });
        assert_eq!(findings[0].about.as_deref(), Some("eth9"));
        assert!(findings[0].why.contains("comes back"), "{findings:?}");
    }

    #[test]
    fn who_gives_none_is_told_which() {
        let (name, severity, command) = one(check, |facts| facts.interfaces.clear());
        assert_eq!((name, severity), ("interface", Severity::Warning));
        assert_eq!(command, "xlvs doctor --interface out --interface in");
    }

    #[test]
    fn parts_of_a_bond_are_not_the_bond() {
        let (name, severity, command) = one(check, |facts| {
            facts.interfaces[0].master = Some(("bond0".to_owned(), "bond".to_owned()));
        });
        assert_eq!((name, severity), ("part-of", Severity::Warning));
        assert!(command.ends_with("--interface bond0"));
    }

    #[test]
    fn queues_that_lie_idle_are_noticed() {
        let found = one(check, |facts| facts.interfaces[0].queues = Some((1, 63)));
        let command = "ethtool -L out combined 4".to_owned();
        assert_eq!(found, ("queues", Severity::Notice, command));
        assert!(said(check, |facts| facts.interfaces[0].queues = Some((1, 1))).is_empty());
    }
}
