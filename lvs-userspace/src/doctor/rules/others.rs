//! Other programs on the interfaces.

use crate::{
    bpf::{Mode, OtherProgram},
    doctor::{
        facts::{Facts, Interface},
        finding::{Finding, some},
    },
};

/// How xlvs calls its own programs.
const OURS: [&str; 2] = ["xlvs", "xlvs_tc"];

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mode = facts.expected_mode();
    let mut findings = Vec::new();
    for interface in &facts.interfaces {
        let all = interface.other_xdp.iter().chain(&interface.other_tcx);
        let ours = all.clone().find(|program| OURS.contains(&program.name.as_str()));
        if let Some(ours) = ours {
            findings.push(second(interface, ours));
            continue;
        }
        findings.extend(xdp(interface, mode));
        findings.extend(tc(interface));
    }
    findings
}

fn described(program: &OtherProgram) -> String {
    match program.name.as_str() {
        "" => format!("program {}", program.id),
        name => format!("`{name}` (program {})", program.id),
    }
}

fn second(interface: &Interface, program: &OtherProgram) -> Finding {
    let found = format!("another xlvs is on it: {}", described(program));
    Finding::problem("other-xlvs", found)
        .about(interface.name.clone())
        .why("Its pins are not in this pin directory; `xlvs run` refuses the interface.")
        .look("bpftool link show")
}

fn xdp(interface: &Interface, mode: Mode) -> Option<Finding> {
    let program = interface.other_xdp.first()?;
    let name = &interface.name;
    let detach = match program.link {
        Some(link) => format!("bpftool link detach id {link}"),
        None if interface.xdp_in_stack => format!("ip link set dev {name} xdpgeneric off"),
        None => format!("ip link set dev {name} xdpdrv off"),
    };
    let found = format!("an XDP program of somebody else is on it: {}", described(program));
    let finding = if mode == Mode::Tc {
        Finding::warning("other-xdp", found).why("It sees packets first, and may take some away.")
    } else {
        Finding::problem("other-xdp", found).why(
            "The kernel takes one XDP program for an interface: `xlvs run` cannot attach there.",
        )
    };
    Some(
        finding
            .about(name.clone())
            .mend(detach)
            .look(format!("bpftool prog show id {}", program.id)),
    )
}

fn tc(interface: &Interface) -> Option<Finding> {
    let mut what: Vec<String> = interface.other_tcx.iter().map(described).collect();
    if interface.filters > 0 {
        what.push(format!("{} at tc ingress", counted(interface.filters)));
    }
    let name = &interface.name;
    (!what.is_empty()).then(|| {
        Finding::notice("other-tc", some(what))
            .about(name.clone())
            .why("What is balanced passes them by, in XDP because it comes first, in tc because xlvs is first in line.")
            .look(format!("bpftool net show dev {name}"))
    })
}

fn counted(filters: usize) -> String {
    if filters == 1 { "1 filter".to_owned() } else { format!("{filters} filters") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{finding::Severity, rules::one};

    fn program(name: &str, link: Option<u32>) -> OtherProgram {
        OtherProgram { id: 77, name: name.to_owned(), link }
    }

    #[test]
    fn another_xdp_program_is_in_the_way() {
        for (link, in_stack, command) in [
            (Some(5), false, "bpftool link detach id 5"),
            (None, false, "ip link set dev out xdpdrv off"),
            (None, true, "ip link set dev out xdpgeneric off"),
        ] {
            let found = one(check, |facts| {
                facts.interfaces[0].other_xdp = vec![program("filter", link)];
                facts.interfaces[0].xdp_in_stack = in_stack;
            });
            assert_eq!(found, ("other-xdp", Severity::Problem, command.to_owned()));
        }
        let (_, severity, _) = one(check, |facts| {
            facts.mode = Mode::Tc;
            facts.interfaces[0].other_xdp = vec![program("filter", None)];
        });
        assert_eq!(severity, Severity::Warning);
    }

    #[test]
    fn another_xlvs_is_named_as_such() {
        let (name, severity, _) =
            one(check, |facts| facts.interfaces[0].other_tcx = vec![program("xlvs_tc", None)]);
        assert_eq!((name, severity), ("other-xlvs", Severity::Problem));
    }

    #[test]
    fn programs_behind_ours_are_noticed() {
        let (name, severity, _) = one(check, |facts| {
            facts.interfaces[0].other_tcx = vec![program("observe", None)];
            facts.interfaces[0].filters = 1;
        });
        assert_eq!((name, severity), ("other-tc", Severity::Notice));
    }
}
