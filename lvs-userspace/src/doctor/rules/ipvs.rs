//! Services that IPVS has too: it would answer for what the data path passes on.

use crate::{
    config::{Protocol, Target, VirtualServer},
    doctor::{
        facts::{Facts, IpvsService},
        finding::{Finding, some},
    },
};

/// Commands for so many services.
const COMMANDS: usize = 8;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let both = |service: &&IpvsService| facts.config.services.iter().any(|own| same(own, service));
    let both: Vec<&IpvsService> = facts.host.ipvs.iter().filter(both).collect();
    if both.is_empty() {
        return Vec::new();
    }
    let deletions: Vec<String> = both.iter().map(|service| deletion(service)).collect();
    let names = some(deletions.iter().filter_map(|command| command.split(' ').next_back()));
    let finding = Finding::problem("ipvs", format!("IPVS has services of the configuration too: {names}"))
        .why(
            "Connections that IPVS has, and packets that pass to the stack, are answered by it: two balancers with two \
             tables, each of which knows nothing of the other's.",
        );
    vec![deletions.into_iter().take(COMMANDS).fold(finding, Finding::mend)]
}

fn same(own: &VirtualServer, other: &IpvsService) -> bool {
    match (own.target, other) {
        (Target::Address { address, port }, IpvsService::Address(protocol, its, its_port)) => {
            own.protocol == Some(*protocol) && address == *its && port == *its_port
        }
        (Target::Mark(mark), IpvsService::Mark(its)) => mark == *its,
        _ => false,
    }
}

fn deletion(service: &IpvsService) -> String {
    match service {
        IpvsService::Mark(mark) => format!("ipvsadm -D -f {mark}"),
        IpvsService::Address(protocol, address, port) => {
            let option = if *protocol == Protocol::Udp { "-u" } else { "-t" };
            format!("ipvsadm -D {option} {}", std::net::SocketAddr::new(*address, *port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn two_balancers_for_one_service_are_a_problem() {
        let address = "10.64.1.2".parse().unwrap();
        let found = one(check, |facts| {
            facts.host.ipvs = vec![
                IpvsService::Mark(7),
                IpvsService::Address(Protocol::Tcp, address, 80),
                IpvsService::Address(Protocol::Udp, address, 80),
            ];
        });
        let command = "ipvsadm -D -t 10.64.1.2:80".to_owned();
        assert_eq!(found, ("ipvs", Severity::Problem, command));
        let others = said(check, |facts| {
            facts.host.ipvs = vec![IpvsService::Address(Protocol::Tcp, address, 81)];
        });
        assert!(others.is_empty());
    }
}
