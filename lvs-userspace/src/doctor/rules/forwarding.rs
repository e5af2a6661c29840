//! What the kernel must do for the packets that it is asked about, and for those that it is handed.

use super::sysctl;
use crate::{
    config::{Family, Forwarding},
    doctor::{
        facts::{Facts, Interface},
        finding::{Finding, some},
    },
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(forward(facts, Family::Ipv4, "ip-forward", "net/ipv4/ip_forward", "net/ipv4"));
    let path = "net/ipv6/conf/all/forwarding";
    findings.extend(forward(facts, Family::Ipv6, "ipv6-forward", path, "net/ipv6"));
    for interface in &facts.interfaces {
        findings.extend(rp_filter(facts, interface));
        findings.extend(accept_ra(facts, interface));
        findings.extend(redirects(facts, interface));
    }
    findings.extend(neighbours(facts));
    findings.extend(conntrack(facts));
    findings
}

fn forward(
    facts: &Facts,
    family: Family,
    name: &'static str,
    path: &str,
    below: &str,
) -> Option<Finding> {
    if !facts.uses(family) {
        return None;
    }
    let why = format!(
        "The data path asks the kernel for the way: packets of {family} services are dropped (17) while it does not \
         forward."
    );
    let on = facts.host.setting(path)?;
    if on == "0" {
        return Some(
            Finding::problem(name, format!("{} is 0", path.replace('/', ".")))
                .why(why)
                .mend(sysctl(path, 1)),
        );
    }
    let of = |interface: &Interface| format!("{below}/conf/{}/forwarding", interface.name);
    let off = |interface: &&Interface| facts.host.setting(&of(interface)) == Some("0");
    let off: Vec<&Interface> = facts.interfaces.iter().filter(off).collect();
    if off.is_empty() {
        return Some(Finding::ok(name, format!("{} is {on}", path.replace('/', "."))));
    }
    let found = format!("forwarding is off on {}", some(off.iter().map(|one| &one.name)));
    let finding = Finding::problem(name, found).why(why);
    Some(off.iter().fold(finding, |finding, interface| finding.mend(sysctl(&of(interface), 1))))
}

/// Strict reverse path filtering drops what the stack is handed from clients whose way back is another interface. The
/// larger one of `all` and the interface's own counts (`IN_DEV_RPFILTER`).
fn rp_filter(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let name = &interface.name;
    let own = format!("net/ipv4/conf/{name}/rp_filter");
    let value = facts.host.number(&own).max(facts.host.number("net/ipv4/conf/all/rp_filter"));
    let elsewhere = facts.host.default_route(Family::Ipv4)?;
    let strict = value == Some(1) && facts.uses(Family::Ipv4);
    // Behind it are the servers, or it is the way to everybody.
    if !strict || facts.has_servers(interface.index) || elsewhere == interface.index {
        return None;
    }
    let other = facts.host.name(elsewhere);
    Some(
        Finding::warning("rp-filter", format!("rp_filter is strict, and the default route leaves by {other}"))
            .about(name.clone())
            .why(
                "What the stack gets from clients that are not on a network of this interface is dropped: pings, and \
                 packets to servers whose neighbour is not resolved yet.",
            )
            .mend(sysctl(&own, 2)),
    )
}

/// A host that forwards takes no notice of router advertisements, unless `accept_ra` is 2.
fn accept_ra(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let path = format!("net/ipv6/conf/{}/accept_ra", interface.name);
    let depends = facts.host.addresses.iter().any(|address| {
        address.interface == interface.index && address.dynamic && address.address.is_ipv6()
    });
    (facts.uses(Family::Ipv6) && depends && facts.host.setting(&path) == Some("1")).then(|| {
        Finding::warning(
            "accept-ra",
            "accept_ra is 1, and it has an address from router advertisements",
        )
        .about(interface.name.clone())
        .why("With forwarding on, they are not listened to: the address and its default route end.")
        .mend(sysctl(&path, 2))
    })
}

/// With everything behind one interface, the stack tells clients to go to the servers directly. The kernel does that if
/// `all` or the interface's own says so (`IN_DEV_TX_REDIRECTS`).
fn redirects(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let own = format!("net/ipv4/conf/{}/send_redirects", interface.name);
    let all = "net/ipv4/conf/all/send_redirects";
    let on = |path: &str| facts.host.setting(path) == Some("1");
    let nat = facts.forwards_by(Forwarding::Nat) && facts.uses(Family::Ipv4);
    (nat && facts.interfaces.len() == 1 && (on(&own) || on(all))).then(|| {
        Finding::notice("send-redirects", "the only interface sends ICMP redirects")
            .about(interface.name.clone())
            .why("Clients and servers on one network may be told to talk to each other directly, past the balancer.")
            .mend(sysctl(all, 0))
            .mend(sysctl(&own, 0))
    })
}

/// Two neighbours for each server, and as many again for clients, are a table that is not full.
fn neighbours(facts: &Facts) -> Option<Finding> {
    let path = "net/ipv4/neigh/default/gc_thresh3";
    let most = facts.host.number(path)?;
    let servers = u64::try_from(facts.servers.len() + facts.not_tried).unwrap_or(u64::MAX);
    let wanted = servers.saturating_mul(2);
    (wanted > most).then(|| {
        Finding::warning(
            "neighbour-table",
            format!("gc_thresh3 is {most}, and there are {servers} real servers"),
        )
        .why("When the kernel's table of neighbours is full, it cannot resolve further ones.")
        .mend(sysctl(path, wanted.next_power_of_two()))
        .mend(sysctl(&path.replace("ipv4", "ipv6"), wanted.next_power_of_two()))
    })
}

fn conntrack(facts: &Facts) -> Option<Finding> {
    facts.host.conntrack.then(|| {
        Finding::notice("conntrack", "the stack tracks connections (nf_conntrack)")
            .why(
                "Of a balanced connection it sees single packets only, those that the stack is handed (8): rules on \
                 `ct state invalid` would drop them, and no rule sees the others.",
            )
            .look("nft list ruleset")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    fn set(facts: &mut Facts, path: &str, value: &str) {
        facts.host.settings.insert(path.to_owned(), value.to_owned());
    }

    fn over_ipv6(facts: &mut Facts) {
        facts.config.services[0].family = Family::Ipv6;
    }

    #[test]
    fn forwarding_must_be_on_for_the_families_in_use() {
        let found = one(check, |facts| set(facts, "net/ipv4/ip_forward", "0"));
        let command = "sysctl -w net.ipv4.ip_forward=1".to_owned();
        assert_eq!(found, ("ip-forward", Severity::Problem, command));
        let (name, _, command) = one(check, |facts| set(facts, "net/ipv4/conf/in/forwarding", "0"));
        assert_eq!(name, "ip-forward");
        assert_eq!(command, "sysctl -w net.ipv4.conf.in.forwarding=1");
        let off6 = |facts: &mut Facts| set(facts, "net/ipv6/conf/all/forwarding", "0");
        assert!(said(check, off6).is_empty());
        let (name, severity, command) = one(check, |facts| {
            over_ipv6(facts);
            off6(facts);
        });
        assert_eq!((name, severity), ("ipv6-forward", Severity::Problem));
        assert_eq!(command, "sysctl -w net.ipv6.conf.all.forwarding=1");
    }

    #[test]
    fn strict_filters_matter_where_the_way_back_is_another() {
        let strict = |facts: &mut Facts| set(facts, "net/ipv4/conf/all/rp_filter", "1");
        assert!(said(check, strict).is_empty(), "the default route leaves by it");
        let found = one(check, |facts| {
            strict(facts);
            facts.host.default_routes = [Some(3), None];
        });
        let command = "sysctl -w net.ipv4.conf.out.rp_filter=2".to_owned();
        assert_eq!(found, ("rp-filter", Severity::Warning, command));
        let loose = said(check, |facts| {
            strict(facts);
            set(facts, "net/ipv4/conf/out/rp_filter", "2");
            facts.host.default_routes = [Some(3), None];
        });
        assert!(loose.is_empty(), "the larger one counts");
    }

    #[test]
    fn router_advertisements_are_asked_for_explicitly() {
        let (name, severity, command) = one(check, |facts| {
            over_ipv6(facts);
            set(facts, "net/ipv6/conf/out/accept_ra", "1");
            let own = &mut facts.host.addresses[0];
            (own.address, own.dynamic) = ("2001:db8::5".parse().unwrap(), true);
        });
        assert_eq!((name, severity), ("accept-ra", Severity::Warning));
        assert_eq!(command, "sysctl -w net.ipv6.conf.out.accept_ra=2");
    }

    #[test]
    fn redirects_matter_with_one_interface() {
        let on = |facts: &mut Facts| set(facts, "net/ipv4/conf/all/send_redirects", "1");
        assert!(said(check, on).is_empty());
        let (name, severity, _) = one(check, |facts| {
            on(facts);
            facts.interfaces.pop();
        });
        assert_eq!((name, severity), ("send-redirects", Severity::Notice));
    }

    #[test]
    fn many_servers_need_a_larger_table() {
        let (name, severity, command) = one(check, |facts| facts.not_tried = 999);
        assert_eq!((name, severity), ("neighbour-table", Severity::Warning));
        assert_eq!(command, "sysctl -w net.ipv4.neigh.default.gc_thresh3=2048");
    }

    #[test]
    fn connection_tracking_is_worth_knowing() {
        let (name, severity, _) = one(check, |facts| facts.host.conntrack = true);
        assert_eq!((name, severity), ("conntrack", Severity::Notice));
    }
}
