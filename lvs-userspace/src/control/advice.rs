//! What will keep packets from flowing although everything starts: said once, with the command that mends it.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use tracing::{Level, info, warn};

use super::answers;

use crate::{
    bpf::Trace,
    config::{Config, Family, Target, VirtualServer},
    net::{self, Addresses, Interface, Way},
};

/// Lines about single addresses in the log at most.
const MOST_LINES: usize = 20;

/// Says what will keep packets from flowing.
pub(super) fn on_interfaces(config: &Config, interfaces: &[Interface]) {
    for interface in interfaces {
        let name = &interface.name;
        if !interface.up {
            warn!("interface `{name}` is down; `ip link set dev {name} up`");
        }
        for (family, knob, of) in [
            ("ipv4", "net.ipv4.ip_forward", Family::Ipv4),
            ("ipv6", "net.ipv6.conf.all.forwarding", Family::Ipv6),
        ] {
            let used = config.services.iter().any(|service| service.family == of);
            if used && interface.forwards(family) == Some(false) {
                warn!(
                    "forwarding is off on `{name}` ({family}), so that packets of services that come in there are \
                     dropped; `sysctl -w {knob}=1`"
                );
            }
        }
    }
}

/// Says which virtual addresses nobody answers for now, and which are here again.
pub(super) fn on_strange_addresses(before: &BTreeSet<IpAddr>, now: &BTreeSet<IpAddr>) {
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
    let here: Vec<&IpAddr> = before.difference(now).collect();
    for address in here.iter().take(MOST_LINES) {
        info!("the virtual address {address} is on this host now, or is not needed any more");
    }
    if let Some(more) = here.len().checked_sub(MOST_LINES).filter(|more| *more > 0) {
        info!("… and so on: {more} more virtual addresses");
    }
}

/// Says which other addresses nobody will answer ARP requests or neighbour solicitations for.
pub(super) async fn on_addresses(config: &Config, local: &Addresses) {
    let (marked, locals) = (answers::marked_addresses(config), answers::local_addresses(config));
    for (all, what, why) in [
        (&marked, "addresses in `fwmark_match`", "clients find nobody under them"),
        (&locals, "local addresses of full NAT", "the servers' answers find nobody under them"),
    ] {
        let strange = answers::unanswered(all.clone(), |address| local.contains(address)).await;
        if let Some(first) = strange.first() {
            warn!(
                "{} of the {} {what} are not on this host, {first} the first of them, nor routed here, so that {why}: \
                 `ip addr add {first} dev IF`",
                strange.len(),
                all.len()
            );
        }
    }
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
                "the real server {server} is this host itself, to which nothing is forwarded"
            )),
            Err(error) => lines.push(format!("no route to the real server {server}: {error}")),
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
