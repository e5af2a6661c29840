//! What full NAT needs: ports, and an address to speak under.

use std::collections::BTreeSet;

use super::servers::way_out;
use crate::{
    config::{Family, Forwarding},
    doctor::{facts::Facts, finding::Finding},
};

/// With fewer ports than this, one local address is good for less than a hundred short connections per second to a
/// server: a port is free again 120 s after its connection.
const FEW: usize = 12_000;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if !facts.forwards_by(Forwarding::FullNat) {
        return Vec::new();
    }
    let mut findings: Vec<Finding> = ports(facts).into_iter().collect();
    findings.extend(own_address(facts));
    findings
}

fn ports(facts: &Facts) -> Option<Finding> {
    let ports = facts.host.ports?;
    let found = format!("full NAT has {ports} ports for each local address and real server");
    let why = "A connection takes a port that the host does not use itself (ip_local_port_range, \
        ip_local_reserved_ports), for 120 s after its end too; without one it is refused (12).";
    let finding = match ports {
        0 => Finding::problem("full-nat-ports", found),
        few if few < FEW => Finding::warning("full-nat-ports", found),
        _ => return Some(Finding::ok("full-nat-ports", found)),
    };
    // The default of the kernel.
    let finding = finding.why(why).mend("sysctl -w net.ipv4.ip_local_port_range='32768 60999'");
    Some(finding.look("sysctl net.ipv4.ip_local_reserved_ports"))
}

/// Without a group the address is that of the interface towards the server.
fn own_address(facts: &Facts) -> Vec<Finding> {
    let ways: BTreeSet<(u32, bool)> = facts
        .servers
        .iter()
        .filter(|server| server.forwarding == Forwarding::FullNat && server.locals.is_empty())
        .filter_map(|server| Some((way_out(server)?, server.address.is_ipv6())))
        .collect();
    let has = |(interface, six): (u32, bool)| {
        facts
            .host
            .addresses
            .iter()
            .any(|own| own.interface == interface && own.global && own.address.is_ipv6() == six)
    };
    ways.into_iter()
        .filter(|way| !has(*way))
        .map(|(interface, six)| {
            let family = if six { Family::Ipv6 } else { Family::Ipv4 };
            let name = facts.host.name(interface);
            Finding::problem("full-nat-address", format!("it has no global address of {family}"))
                .about(name.clone())
                .why("Full NAT takes it towards the servers there, unless `laddr_group_name` names others; without one \
                      connections are refused (13).")
                .mend(format!("ip addr add ADDRESS/PREFIX dev {name}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    fn full_nat(facts: &mut Facts) {
        facts.config.services[0].forwarding = Forwarding::FullNat;
        facts.servers[0].forwarding = Forwarding::FullNat;
    }

    #[test]
    fn ports_are_counted_for_full_nat_only() {
        assert!(said(check, |facts| facts.host.ports = Some(0)).is_empty());
        for (ports, severity) in [(0, Severity::Problem), (5000, Severity::Warning)] {
            let found = one(check, |facts| {
                full_nat(facts);
                facts.host.ports = Some(ports);
            });
            assert_eq!((found.0, found.1), ("full-nat-ports", severity));
        }
        assert!(said(check, full_nat).is_empty());
    }

    #[test]
    fn an_address_towards_the_servers_is_needed() {
        let spoil = |facts: &mut Facts| {
            full_nat(facts);
            facts.host.addresses.retain(|own| own.interface != 3);
        };
        let (name, severity, _) = one(check, spoil);
        assert_eq!((name, severity), ("full-nat-address", Severity::Problem));
        let grouped = said(check, |facts| {
            spoil(facts);
            facts.servers[0].locals = vec!["10.64.1.254".parse().unwrap()];
        });
        assert!(grouped.is_empty());
    }
}
