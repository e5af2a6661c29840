//! Links, addresses and routes, in both families at once.

use std::net::Ipv4Addr;
use std::process::Command;

use anyhow::Result;

use crate::command;
use crate::family::Family;
use crate::netns::Netns;

/// An interface in a namespace.
pub(super) type End<'a> = (&'a Netns, &'a str);

/// A cable: two interfaces that are up and see each other.
pub(super) fn veth(one: End<'_>, other: End<'_>) -> Result<()> {
    let link = ["link", "add", one.1, "netns", one.0.name(), "type", "veth"];
    let peer = ["peer", "name", other.1, "netns", other.0.name()];
    command::run(Command::new("ip").args(link).args(peer))?;
    for (netns, interface) in [one, other] {
        netns.ip(&[format!("link set {interface} up")])?;
    }
    Ok(())
}

/// A cable to a new port of a bridge.
pub(super) fn plug(end: End<'_>, switch: &Netns, bridge: &str, port: &str) -> Result<()> {
    veth(end, (switch, port))?;
    switch.ip(&[format!("link set {port} master {bridge}")]).map(drop)
}

/// Gives an interface an address in a network.
pub(super) fn address((netns, interface): End<'_>, address: Ipv4Addr) -> Result<()> {
    let lines = Family::here().iter().map(|family| {
        let (address, prefix) = (family.of(address), family.prefix());
        format!("addr add {address}/{prefix} dev {interface}{}", at_once(*family))
    });
    netns.ip(&lines.collect::<Vec<_>>()).map(drop)
}

/// Gives an interface an address that belongs to no network, as keepalived does with a virtual one: in
/// IPv6 the host's own packets do not take it for their source.
pub(super) fn host_address((netns, interface): End<'_>, address: Ipv4Addr) -> Result<()> {
    let lines = Family::here().iter().map(|family| {
        let (address, prefix) = (family.of(address), family.host_prefix());
        let how = match family {
            Family::V4 => "",
            Family::V6 => " nodad preferred_lft 0",
        };
        format!("addr add {address}/{prefix} dev {interface}{how}")
    });
    netns.ip(&lines.collect::<Vec<_>>()).map(drop)
}

/// The default route of a namespace, in place of the one before.
pub(super) fn default_route(netns: &Netns, via: Ipv4Addr) -> Result<()> {
    let lines = Family::here()
        .iter()
        .map(|family| format!("{} route replace default via {}", family.option(), family.of(via)));
    routes(netns, lines)
}

/// The route to the network of `member`, in place of the one before.
pub(super) fn route(netns: &Netns, member: Ipv4Addr, via: Ipv4Addr) -> Result<()> {
    let [a, b, c, _] = member.octets();
    let network = Ipv4Addr::new(a, b, c, 0);
    let lines = Family::here().iter().map(|family| {
        let (network, via) = (family.of(network), family.of(via));
        format!("{} route replace {network}/{} via {via}", family.option(), family.prefix())
    });
    routes(netns, lines)
}

/// Runs `ip` for each line: the option for the family can only be given on a command line.
pub(super) fn routes(netns: &Netns, lines: impl Iterator<Item = String>) -> Result<()> {
    for line in lines {
        let mut command = Command::new("ip");
        command::run(command.args(["-n", netns.name()]).args(line.split(' ')))?;
    }
    Ok(())
}

/// Forwards packets between its interfaces.
pub(super) fn forward(netns: &Netns) -> Result<()> {
    netns.set("ipv4/ip_forward", "1")?;
    if Family::here().contains(&Family::V6) {
        netns.set("ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

fn at_once(family: Family) -> &'static str {
    match family {
        Family::V4 => "",
        Family::V6 => " nodad",
    }
}
