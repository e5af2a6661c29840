//! What will keep packets from flowing although everything starts: said once, with the command that mends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracing::{Level, info, warn};

use super::answers;

use crate::{
    bpf::Trace,
    config::{Config, Family, Severity, Target, VirtualServer},
    net::{self, Addresses, Interface, Way},
};

/// Lines about single addresses in the log at most.
const MOST_LINES: usize = 20;

/// What will keep packets from flowing.
pub(super) fn on_interfaces(config: &Config, interfaces: &[Interface]) -> Vec<(Severity, String)> {
    let down = interfaces.iter().filter(|interface| !interface.up).map(|interface| {
        let name = &interface.name;
        format!("interface `{name}` is down; `ip link set dev {name} up`")
    });
    let mut lines: Vec<String> = down.collect();
    for (family, name, knob, of) in [
        ("ipv4", "IPv4", "net.ipv4.ip_forward", Family::Ipv4),
        ("ipv6", "IPv6", "net.ipv6.conf.all.forwarding", Family::Ipv6),
    ] {
        if config.services.iter().all(|service| service.family != of) {
            continue;
        }
        let off = interfaces.iter().filter(|interface| interface.forwards(family) == Some(false));
        let off: Vec<String> = off.map(|interface| format!("`{}`", interface.name)).collect();
        if !off.is_empty() {
            lines.push(format!(
                "{name} forwarding is off on {}, so that packets of services that come in there are dropped; \
                 `sysctl -w {knob}=1`",
                off.join(", ")
            ));
        }
    }
    lines.into_iter().map(|line| (Severity::Warning, line)).collect()
}

/// Says which virtual addresses nobody answers for now, and which of those that are `wanted` are here again.
pub(super) fn on_strange_addresses(
    before: &BTreeSet<IpAddr>,
    now: &BTreeSet<IpAddr>,
    wanted: &BTreeSet<IpAddr>,
) {
    let gone: Vec<&IpAddr> = now.difference(before).collect();
    for address in gone.iter().take(MOST_LINES) {
        let length = if address.is_ipv4() { 32 } else { 128 };
        warn!(
            "the virtual address {address} is not on this host, so that clients find nobody under it; \
             `ip addr add {address}/{length} dev IF`, --manage-vips, or leave it to VRRP"
        );
    }
    if let Some(more) = gone.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        warn!("… and so on: {more} more virtual addresses are not on this host");
    }
    // What no service has any more is nobody's loss.
    let here: Vec<&IpAddr> = before.difference(now).filter(|one| wanted.contains(one)).collect();
    for address in here.iter().take(MOST_LINES) {
        info!("the virtual address {address} is on this host now");
    }
    if let Some(more) = here.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        info!("… and so on: {more} more virtual addresses are on this host now");
    }
}

/// Which other addresses nobody will answer ARP requests or neighbour solicitations for.
pub(super) async fn on_addresses(config: &Config, local: &Addresses) -> Vec<(Severity, String)> {
    let (marked, locals) = (answers::marked_addresses(config), answers::local_addresses(config));
    let mut lines = Vec::new();
    for (all, what, why) in [
        (&marked, "addresses in ranges of `fwmark_match`", "clients find nobody under them"),
        (&locals, "local addresses of full NAT", "the servers' answers find nobody under them"),
    ] {
        let strange = answers::unanswered(all.clone(), |address| local.contains(address)).await;
        if let Some(first) = strange.first() {
            lines.push(format!(
                "{} of the {} {what} are not on this host, {first} the first of them, nor routed here, so that {why}: \
                 `ip addr add {first} dev IF`",
                strange.len(),
                all.len()
            ));
        }
    }
    lines.into_iter().map(|line| (Severity::Warning, line)).collect()
}

/// Says which real servers cannot be reached, or only by an interface that was forgotten: replies that come in there
/// would pass the balancer by. And if there are more neighbours than the kernel keeps.
pub(super) fn on_ways(ways: &[(IpAddr, Way)], interfaces: &[Interface]) {
    let mut forgotten: BTreeMap<u32, (IpAddr, usize)> = BTreeMap::new();
    let mut neighbours = BTreeSet::new();
    let mut lines = Vec::new();
    for (server, way) in ways {
        match way {
            Ok(Some((index, neighbour))) => {
                neighbours.insert((*index, *neighbour));
                if interfaces.iter().all(|interface| interface.index != *index) {
                    forgotten.entry(*index).or_insert((*server, 0)).1 += 1;
                }
            }
            Ok(None) => lines.push(format!(
                "the real server {server} is this host itself, to which nothing is forwarded; let it have another address, \
                 in a network namespace or on another host"
            )),
            Err(error) => lines.push(format!(
                "no route to the real server {server}: {error}; `ip route add {server} via ROUTER`, or delete it"
            )),
        }
    }
    warn_some(&lines, "real servers cannot be reached");
    for (family, of) in [("ipv4", true), ("ipv6", false)] {
        let count = neighbours.iter().filter(|(_, address)| address.is_ipv4() == of).count();
        let room = net::room_for_neighbours(family);
        if count > room {
            warn!(
                "the real servers are {count} neighbours, of which the kernel keeps {room} at a time, so that packets to \
                 others are lost; `sysctl -w net.{family}.neigh.default.gc_thresh3={}`, or put a router between",
                count.next_power_of_two() * 2
            );
        }
    }
    for (index, (server, count)) in forgotten {
        let name = nix::net::if_::if_indextoname(index)
            .map_or_else(|_| index.to_string(), |name| name.to_string_lossy().into_owned());
        warn!(
            "the way to {} leads out of `{name}`, which is not attached, so that their connections will not work; \
             add --interface {name}",
            if count == 1 {
                format!("the real server {server}")
            } else {
                format!("{count} real servers, such as {server},")
            }
        );
    }
}

/// Warns of as many as one may read, and says how many there are.
fn warn_some(lines: &[String], what: &str) {
    for line in lines.iter().take(MOST_LINES) {
        warn!("{line}");
    }
    if lines.len() > MOST_LINES {
        warn!("… and so on: {} {what}", lines.len());
    }
}

/// Says what a trace will never show.
pub(super) fn on_trace(config: &Config, trace: &Trace) {
    let fits = |service: &VirtualServer| match service.target {
        Target::Address { address, port } => {
            trace.address.is_none_or(|traced| traced == address)
                && trace.port.is_none_or(|traced| port == 0 || traced == port)
        }
        // Any packet can carry a mark.
        Target::Mark(_) => true,
    };
    if !config.services.iter().any(fits) {
        warn!(
            "--trace-service fits no virtual server of the configuration, so that nothing will be traced \
             (IPv6 with a port is written [ADDRESS]:PORT)"
        );
    }
    if !tracing::enabled!(Level::INFO) {
        warn!("--trace logs at level info, which --log-level leaves out");
    }
}
