//! Services, and the groups that they came from.

use std::collections::HashSet;

use super::{
    super::{
        model::{
            Check, Family, Forwarding, Granularity, RealServer, Schedule, Scheduler, Target,
            Tunnel, TunnelChecksum, TunnelKind, VirtualServer,
        },
        quote,
    },
    Text, checker, seconds,
};

/// Writes all services. Those of one `virtual_server group` stand together.
pub(super) fn write(services: &[VirtualServer], out: &mut Text) {
    let mut groups = HashSet::new();
    let mut rest = services;
    while let Some(first) = rest.first() {
        let same = rest.iter().take_while(|next| {
            // In two files they may have the same line, but then not the same protocol.
            let same_block = (&next.group, next.line) == (&first.group, first.line);
            let marked = next.protocol.is_none() || first.protocol.is_none();
            first.group.is_some() && same_block && (marked || next.protocol == first.protocol)
        });
        let (block, others) = rest.split_at(same.count().max(1));
        if let Some(group) = &first.group
            && groups.insert(group)
        {
            out.block(&format!("virtual_server_group {}", quote::plain(group)), |out| {
                for service in block {
                    out.line(&member(&service.target));
                }
            });
        }
        let number = services.len() - rest.len() + 1;
        service(first, block, number, out);
        rest = others;
    }
}

fn member(target: &Target) -> String {
    match target {
        Target::Address { address, port: 0 } => address.to_string(),
        Target::Address { address, port } => format!("{address} {port}"),
        Target::Mark(mark) => format!("fwmark {mark}"),
    }
}

/// Writes one block; its number is for the name of its local addresses.
fn service(service: &VirtualServer, block: &[VirtualServer], number: usize, out: &mut Text) {
    if !service.local_addresses.is_empty() {
        out.block(&format!("local_address_group locals-{number}"), |out| {
            for address in &service.local_addresses {
                out.line(&address.to_string());
            }
        });
    }
    let head = match &service.group {
        Some(group) => format!("group {}", quote::plain(group)),
        None => member(&service.target),
    };
    out.block(&format!("virtual_server {head}"), |out| {
        alone(service, block, Some(number), out);
        for server in &service.real_servers {
            real_server(server, service, out);
        }
    });
}

/// All but the real servers. The local addresses are named by a number.
pub(super) fn alone(
    service: &VirtualServer,
    block: &[VirtualServer],
    number: Option<usize>,
    out: &mut Text,
) {
    let marked = service.group.is_some() || matches!(service.target, Target::Mark(_));
    if marked {
        out.line(match service.family {
            Family::Ipv4 => "ip_family inet",
            Family::Ipv6 => "ip_family inet6",
        });
    }
    if let Some(protocol) = block.iter().find_map(|service| service.protocol) {
        out.line(&format!("protocol {protocol}"));
    }
    out.line(&format!("lb_algo {}", service.scheduler));
    flags(service, out);
    out.line(&format!("lb_kind {}", method(service.forwarding)));
    if let (Some(number), false) = (number, service.local_addresses.is_empty()) {
        out.line(&format!("laddr_group_name locals-{number}"));
    }
    out.flag("ops", block.iter().any(|service| service.one_packet));
    persistence(service, out);
    health(service, out);
}

fn flags(service: &VirtualServer, out: &mut Text) {
    let (fallback, port) = match service.scheduler {
        Scheduler::SourceHash => ("sh-fallback", "sh-port"),
        Scheduler::MaglevHash => ("mh-fallback", "mh-port"),
        _ => ("flag-1", "flag-2"),
    };
    out.flag(fallback, service.flags.fallback);
    out.flag(port, service.flags.port);
    out.flag("flag-3", service.flags.flag_3);
}

fn persistence(service: &VirtualServer, out: &mut Text) {
    let Some(persistence) = service.persistence else { return };
    out.line(&format!("persistence_timeout {}", persistence.timeout.as_secs()));
    if persistence.granularity != Granularity::full(service.family) {
        out.line(&match persistence.granularity {
            Granularity::Mask(mask) => format!("persistence_granularity {mask}"),
            Granularity::Prefix(length) => format!("persistence_granularity {length}"),
        });
    }
    out.word("persistence_engine", service.persistence_engine.as_deref());
}

/// What happens when servers fail.
fn health(service: &VirtualServer, out: &mut Text) {
    let delay_loop = delay_loop(service);
    if delay_loop != Schedule::DELAY_LOOP {
        out.line(&format!("delay_loop {}", seconds(delay_loop)));
    }
    let quorum = &service.quorum;
    out.line(&format!("quorum {}", quorum.weight));
    out.line(&format!("hysteresis {}", quorum.hysteresis));
    for (keyword, script) in [("quorum_up", &quorum.up), ("quorum_down", &quorum.down)] {
        if let Some(script) = script {
            out.line(&format!("{keyword} {}", checker::script(script)));
        }
    }
    out.flag("omega", service.omega);
    out.flag("ha_suspend", service.ha_suspend);
    out.truth("smtp_alert", service.smtp_alert);
    out.word("snmp_name", service.snmp_name.as_deref());
    if let Some(sorry) = &service.sorry_server {
        let target = Target::Address { address: sorry.address, port: sorry.port };
        out.line(&format!("sorry_server {}", member(&target)));
        out.line(&format!("sorry_server_lvs_method {}", method(sorry.forwarding)));
        out.flag("sorry_server_inhibit", sorry.inhibit);
    }
}

/// What `delay_loop` of the service has to be for `misc_timeout`, which takes whole seconds only.
fn delay_loop(service: &VirtualServer) -> std::time::Duration {
    let checkers = service.real_servers.iter().flat_map(|server| &server.checkers);
    let odd = checkers.filter_map(|checker| match &checker.check {
        Check::Misc(misc) => Some(misc.timeout),
        _ => None,
    });
    let mut odd = odd.filter(|time| time.subsec_nanos() > 0 || time.as_secs() > 4_294);
    odd.next().unwrap_or(Schedule::DELAY_LOOP)
}

fn real_server(server: &RealServer, service: &VirtualServer, out: &mut Text) {
    let target = Target::Address { address: server.address, port: server.port };
    out.block(&format!("real_server {}", member(&target)), |out| {
        real_server_alone(server, service, out);
    });
}

/// What stands in the block of a real server.
pub(super) fn real_server_alone(server: &RealServer, service: &VirtualServer, out: &mut Text) {
    out.line(&format!("weight {}", server.weight));
    if server.forwarding != service.forwarding {
        out.line(&format!("lvs_method {}", method(server.forwarding)));
    }
    for (keyword, threshold) in
        [("uthreshold", server.upper_threshold), ("lthreshold", server.lower_threshold)]
    {
        if threshold != 0 {
            out.line(&format!("{keyword} {threshold}"));
        }
    }
    out.truth("inhibit_on_failure", server.inhibit_on_failure);
    for (keyword, script) in
        [("notify_up", &server.notify_up), ("notify_down", &server.notify_down)]
    {
        if let Some(script) = script {
            out.line(&format!("{keyword} {}", checker::script(script)));
        }
    }
    out.truth("smtp_alert", server.smtp_alert);
    out.word("snmp_name", server.snmp_name.as_deref());
    for check in &server.checkers {
        checker::write(check, (server.address, server.port), delay_loop(service), out);
    }
}

/// A forwarding method with its options.
fn method(forwarding: Forwarding) -> String {
    let Forwarding::Tunnel(Tunnel { kind, checksum }) = forwarding else {
        return forwarding.to_string();
    };
    let kind = match kind {
        TunnelKind::Ipip => "ipip".to_owned(),
        TunnelKind::Gue(port) => format!("gue port {port}"),
        TunnelKind::Gre => "gre".to_owned(),
    };
    let checksum = match checksum {
        TunnelChecksum::None => "",
        TunnelChecksum::Full => " csum",
        TunnelChecksum::Remote => " remcsum",
    };
    format!("TUN type {kind}{checksum}")
}
