//! The standard picture: a client, the balancer, and real servers that share one network.
//!
//! ```text
//!  client            lb                         switch              web1, web2, …
//!  client0 ──────── xlvs-c   xlvs-s ──────── lb0 ─ br0 ─ web1 ──── eth0 192.168.1.100
//!  10.64.1.1/24   10.64.1.254/24  192.168.1.1/24      └─ web2 ──── eth0 192.168.1.101
//!                 10.64.1.2/32 (the VIP)
//! ```
//!
//! Two settings stand in for what real network cards do by themselves. The ends that face the
//! balancer have GRO on, because native XDP hands a frame to a veth only if the other end polls
//! (NAPI), and drops it without a word otherwise. And they have transmit checksums off, because a
//! veth passes on packets whose checksum is still to be filled in by hardware that does not exist,
//! which no XDP program can finish; this also cuts segments to the size that a wire would carry.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::command;
use crate::netns::Netns;

/// The client's address.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 64, 1, 1);
/// The virtual service of the example file.
pub const VIRTUAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(10, 64, 1, 2), 10000);
/// The balancer's own address on the client's side.
pub const BALANCER: Ipv4Addr = Ipv4Addr::new(10, 64, 1, 254);
/// The balancer's own address on the servers' side, which is the servers' default gateway.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
/// The real servers of the example file.
pub const SERVERS: [SocketAddrV4; 2] = [
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 100), 8089),
    SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 101), 18089),
];
/// The balancer's interfaces: towards the client, towards the servers.
pub const INTERFACES: [&str; 2] = ["xlvs-c", "xlvs-s"];

/// The namespaces of the picture; dropping it removes them with all their interfaces.
#[derive(Debug)]
pub struct Topology {
    /// Where requests come from.
    pub client: Netns,
    /// Where `xlvs run` belongs.
    pub lb: Netns,
    /// The bridge that makes the servers neighbours of each other and of the balancer.
    pub switch: Netns,
    /// The real servers, in the order of [`SERVERS`].
    pub servers: Vec<Netns>,
}

impl Topology {
    /// Builds the picture; all namespaces get names that begin with `prefix` and a dash.
    pub fn new(prefix: &str) -> Result<Self> {
        let [client, lb, switch] =
            ["client", "lb", "switch"].map(|role| Netns::new(format!("{prefix}-{role}")));
        let servers = (1..=SERVERS.len()).map(|n| Netns::new(format!("{prefix}-web{n}")));
        let topology = Self {
            client: client?,
            lb: lb?,
            switch: switch?,
            servers: servers.collect::<Result<_>>()?,
        };
        topology.connect().context("the test network could not be built")?;
        Ok(topology)
    }

    /// Every namespace of the picture.
    pub fn namespaces(&self) -> impl Iterator<Item = &Netns> {
        let Self { client, lb, switch, servers } = self;
        [client, lb, switch].into_iter().chain(servers)
    }

    /// Leaves everything standing when this value is dropped.
    pub fn keep(&mut self) {
        let Self { client, lb, switch, servers } = self;
        [client, lb, switch].into_iter().chain(servers).for_each(Netns::keep);
    }

    fn connect(&self) -> Result<()> {
        let Self { client, lb, switch, servers } = self;
        let [client_side, server_side] = INTERFACES;

        switch.ip(&["link add br0 type bridge stp_state 0 forward_delay 0", "link set br0 up"])?;
        veth((client, "client0"), (lb, client_side))?;
        veth((switch, "lb0"), (lb, server_side))?;
        switch.ip(&["link set lb0 master br0"])?;

        client.ip(&[
            format!("addr add {CLIENT}/24 dev client0"),
            format!("route add default via {BALANCER}"),
        ])?;
        lb.ip(&[
            format!("addr add {BALANCER}/24 dev {client_side}"),
            format!("addr add {}/32 dev {client_side}", VIRTUAL.ip()),
            format!("addr add {GATEWAY}/24 dev {server_side}"),
        ])?;
        lb.set("ipv4/ip_forward", "1")?;

        for (number, (server, address)) in (1..).zip(servers.iter().zip(SERVERS)) {
            let port = format!("web{number}");
            veth((server, "eth0"), (switch, &port))?;
            switch.ip(&[format!("link set {port} master br0")])?;
            server.ip(&[
                format!("addr add {}/24 dev eth0", address.ip()),
                format!("route add default via {GATEWAY}"),
            ])?;
        }
        self.set_offloads(["gro", "on", "tx", "off"])
    }

    /// Gives the ends that face the balancer the offloads that a veth has by itself, with which XDP does not
    /// work: no GRO, checksums left open, segments joined.
    pub fn use_default_offloads(&self) -> Result<()> {
        self.set_offloads(["gro", "off", "tx", "on"])
    }

    fn set_offloads(&self, settings: [&str; 4]) -> Result<()> {
        for (netns, interface) in [(&self.client, "client0"), (&self.switch, "lb0")] {
            command::run(netns.command("ethtool").args(["-K", interface]).args(settings))?;
        }
        Ok(())
    }
}

fn veth(one: (&Netns, &str), other: (&Netns, &str)) -> Result<()> {
    let link = ["link", "add", one.1, "netns", one.0.name(), "type", "veth"];
    let peer = ["peer", "name", other.1, "netns", other.0.name()];
    command::run(Command::new("ip").args(link).args(peer))?;
    for (netns, interface) in [one, other] {
        netns.ip(&[format!("link set {interface} up")])?;
    }
    Ok(())
}
