//! The addresses that clients use, and those that full NAT speaks under.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    control::answers,
    doctor::{
        facts::Facts,
        finding::{Finding, some},
    },
};

/// Commands for so many addresses.
const COMMANDS: usize = 8;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let config = &facts.config;
    let (marked, locals) = (answers::marked_addresses(config), answers::local_addresses(config));
    let clients = facts.clients_interface();
    [
        missing(
            facts,
            "virtual-address",
            &answers::virtual_addresses(config),
            clients,
            "Nobody answers ARP requests or neighbour solicitations for it here, so that clients find nobody; that is \
             as it should be while VRRP has it on another host. `xlvs run --manage-vips` adds and announces it by itself.",
        ),
        missing(
            facts,
            "marked-address",
            &marked,
            clients,
            "Clients find nobody under an address in `fwmark_match` that is neither here nor routed here.",
        ),
        missing(
            facts,
            "local-address",
            &locals,
            facts.servers_interface(),
            "Servers answer to a local address of full NAT: it must be this host's, or be routed to it.",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn missing(
    facts: &Facts,
    name: &'static str,
    all: &BTreeSet<IpAddr>,
    interface: &str,
    why: &str,
) -> Option<Finding> {
    if all.is_empty() {
        return None;
    }
    let missing: Vec<IpAddr> = all.intersection(&facts.host.unanswered).copied().collect();
    if missing.is_empty() {
        return Some(Finding::ok(name, format!("{} on this host", some(all))));
    }
    let found = if all.len() == 1 {
        format!("{} is not on this host", some(&missing))
    } else {
        format!("{} of {} are not on this host: {}", missing.len(), all.len(), some(&missing))
    };
    let finding = Finding::warning(name, found).why(why);
    Some(missing.iter().take(COMMANDS).fold(finding, |finding, address| {
        let length = if address.is_ipv4() { 32 } else { 128 };
        finding.mend(format!("ip addr add {address}/{length} dev {interface}"))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Policy, parse},
        doctor::{finding::Severity, rules::one},
    };

    #[test]
    fn a_virtual_address_belongs_on_the_clients_side() {
        let found = one(check, |facts| {
            facts.host.unanswered = ["10.64.1.2".parse().unwrap()].into();
        });
        let command = "ip addr add 10.64.1.2/32 dev out".to_owned();
        assert_eq!(found, ("virtual-address", Severity::Warning, command));
    }

    #[test]
    fn a_local_address_belongs_on_the_servers_side() {
        let found = one(check, |facts| {
            facts.config.services[0].local_addresses =
                ["192.168.1.1", "192.168.1.9"].map(|text| text.parse().unwrap()).to_vec();
            facts.host.unanswered = ["192.168.1.9".parse().unwrap()].into();
        });
        let command = "ip addr add 192.168.1.9/32 dev in".to_owned();
        assert_eq!(found, ("local-address", Severity::Warning, command));
    }

    #[test]
    fn the_addresses_of_marks_count_where_a_service_has_the_mark() {
        let text = "fwmark_match 7 {\n 10.64.1.2 80\n 10.64.1.3-4 80\n}\nfwmark_match 8 {\n 10.9.9.9 80\n}\n\
            virtual_server fwmark 7 {\n lb_algo rr\n lb_kind NAT\n real_server 192.168.1.100 80 {\n weight 1\n }\n}\n";
        let config = parse("test", text, &Policy::default()).unwrap().config;
        let found = one(check, |facts| {
            facts.config = config;
            facts.host.unanswered =
                ["10.64.1.3", "10.64.1.4"].map(|text| text.parse().unwrap()).into();
        });
        let command = "ip addr add 10.64.1.3/32 dev out".to_owned();
        assert_eq!(found, ("marked-address", Severity::Warning, command));
    }
}
