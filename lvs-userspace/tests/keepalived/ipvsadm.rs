//! A configuration as the rules that keepalived would put into IPVS, in the words of `ipvsadm -Sn`.

use std::{net::SocketAddr, sync::Arc};

use lvs_userspace::config::{
    Checker, Config, Family, Granularity, Protocol, RealServer, Scheduler, SorryServer, Target,
    VirtualServer,
};

/// The rules, in the order of the file.
pub(crate) fn rules(config: &Config) -> Vec<String> {
    config.services.iter().flat_map(service).collect()
}

fn service(service: &VirtualServer) -> Vec<String> {
    let name = match service.target {
        Target::Address { address, port } => {
            let option = if service.protocol == Some(Protocol::Udp) { "-u" } else { "-t" };
            format!("{option} {}", SocketAddr::new(address, port))
        }
        // ipvsadm prints a mark as a signed number.
        Target::Mark(mark) => {
            let six = if service.family == Family::Ipv6 { " -6" } else { "" };
            format!("-f {}{six}", mark.cast_signed())
        }
    };
    let mut rule = vec![format!("-A {name} -s {}", service.scheduler)];
    if let Some(persistence) = &service.persistence {
        rule.push(format!("-p {}", persistence.timeout.as_secs()));
        if persistence.granularity != Granularity::full(service.family) {
            rule.push(match persistence.granularity {
                Granularity::Mask(mask) => format!("-M {mask}"),
                Granularity::Prefix(bits) => format!("-M {bits}"),
            });
        }
    }
    rule.extend(service.one_packet.then(|| "-o".to_owned()));
    rule.extend(flags(service));
    // Servers that are up when the recording is made: not those whose first check is still to come, or came at once
    // and failed.
    let is_up =
        |checker: &Arc<Checker>| !checker.schedule.alpha && !checker.schedule.warmup.is_zero();
    let up = service.real_servers.iter().filter(|server| server.checkers.iter().all(is_up));
    let mut rules = vec![rule.join(" ")];
    rules.extend(up.map(|server| real_server(&name, server)));
    let is_real = |sorry: &SorryServer| {
        let same =
            |server: &RealServer| (server.address, server.port) == (sorry.address, sorry.port);
        service.real_servers.iter().any(same)
    };
    // The others are put in when the quorum is lost.
    if let Some(sorry) =
        service.sorry_server.as_ref().filter(|sorry| sorry.inhibit && !is_real(sorry))
    {
        rules.push(format!("-a {name} -r {} -m -w 0", SocketAddr::new(sorry.address, sorry.port)));
    }
    rules
}

fn flags(service: &VirtualServer) -> Option<String> {
    let names = match service.scheduler {
        Scheduler::SourceHash => ["sh-fallback", "sh-port", "flag-3"],
        Scheduler::MaglevHash => ["mh-fallback", "mh-port", "flag-3"],
        _ => ["flag-1", "flag-2", "flag-3"],
    };
    let set = [service.flags.fallback, service.flags.port, service.flags.flag_3];
    let set = names.into_iter().zip(set).filter(|(_, set)| *set).map(|(name, _)| name);
    let set: Vec<_> = set.collect();
    (!set.is_empty()).then(|| format!("-b {}", set.join(",")))
}

fn real_server(name: &str, server: &RealServer) -> String {
    let socket = SocketAddr::new(server.address, server.port);
    format!("-a {name} -r {socket} -m -w {}", server.weight)
}
