//! What can happen to a picture that stands: other offloads, narrow links, moves.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};

use super::wiring::{self, routes};
use super::{Arms, Distance, Plan, SERVER_ROUTERS, Topology};
use crate::command;
use crate::family::Family;

/// A side of the balancer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Side {
    /// The client's.
    Client,
    /// The servers'.
    Servers,
}

impl Topology {
    /// Gives the ends that face the balancer the offloads that a veth has by itself, with which XDP does not
    /// work: no GRO, checksums left open, segments joined.
    pub fn use_default_offloads(&self) -> Result<()> {
        self.set_offloads(["gro", "off", "tx", "on"])
    }

    pub(super) fn set_offloads(&self, settings: [&str; 4]) -> Result<()> {
        let mut ends = vec![(&self.switch, "lb0")];
        if self.plan.arms == Arms::Two {
            ends.push(self.client_side_peer());
        }
        for (netns, interface) in ends {
            command::run(netns.command("ethtool").args(["-K", interface]).args(settings))?;
        }
        Ok(())
    }

    /// Takes the balancer's interface towards the client away.
    pub fn unplug_client(&self) -> Result<()> {
        let Self { lb, plan, .. } = self;
        lb.ip(&[format!("link del {}", plan.client_side())]).map(drop)
    }

    /// Puts it back, in the standard picture, with new MAC addresses.
    pub fn plug_client(&self) -> Result<()> {
        ensure!(self.plan == Plan::TWO_ARMED, "only the standard picture");
        self.connect_client_side()?;
        self.connect_client()?;
        self.set_offloads(["gro", "on", "tx", "off"])
    }

    /// Puts a narrow link behind the routers of a side, for packets that go away from the balancer: of the
    /// others' size the balancer has nothing to tell.
    ///
    /// All interfaces keep their MTU, and the routers' routes get a smaller one: the link is somewhere that
    /// no host can see, and TCP does not avoid it by the segment size that it announces.
    pub fn narrow(&self, side: Side, mtu: u16) -> Result<()> {
        for family in Family::here() {
            let (option, prefix) = (family.option(), family.host_prefix());
            let (routers, hosts) = match side {
                Side::Client => (&self.client_router, vec![self.plan.client(*family)]),
                Side::Servers => {
                    let servers = self.plan.servers(*family);
                    (&self.server_routers, servers.map(|server| server.ip()).to_vec())
                }
            };
            ensure!(!routers.is_empty(), "there is no router on that side");
            for router in routers {
                let narrow = |host: &IpAddr| {
                    format!("{option} route replace {host}/{prefix} dev far0 mtu {mtu}")
                };
                routes(router, hosts.iter().map(narrow))?;
            }
        }
        Ok(())
    }

    /// Makes the balancer's own links of a side narrow, by its routes. The MTU is locked, because forwarding goes by the
    /// interface otherwise.
    pub fn narrow_own_link(&self, side: Side, mtu: u16) -> Result<()> {
        let plan = self.plan;
        for family in Family::here() {
            let (distance, interface, router, hosts) = match side {
                Side::Client => {
                    let hosts = vec![plan.client(*family)];
                    (plan.client, plan.client_side(), plan.client_router(), hosts)
                }
                Side::Servers => {
                    let hosts = plan.servers(*family).map(|server| server.ip()).to_vec();
                    (plan.servers, plan.server_side(), SERVER_ROUTERS[0].0, hosts)
                }
            };
            let via = match distance {
                Distance::Neighbour => String::new(),
                Distance::BehindRouter => format!("via {} ", family.of(router)),
            };
            let (option, prefix) = (family.option(), family.host_prefix());
            let narrow = |host: &IpAddr| {
                format!(
                    "{option} route replace {host}/{prefix} {via}dev {interface} mtu lock {mtu}"
                )
            };
            routes(&self.lb, hosts.iter().map(narrow))?;
        }
        Ok(())
    }

    /// Puts a bridge of the balancer's own between it and the client: the interface towards the client becomes a port, and
    /// its addresses the bridge's, which is named.
    pub fn bridge_client_side(&self) -> Result<&'static str> {
        ensure!(self.plan.arms == Arms::Two, "that interface is the servers' too");
        let (name, port) = ("front", self.plan.client_side());
        self.lb.ip(&[
            format!("link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"),
            format!("link set {name} up"),
            format!("addr flush dev {port}"),
            format!("link set {port} master {name}"),
        ])?;
        wiring::address((&self.lb, name), self.plan.balancer4())?;
        wiring::host_address((&self.lb, name), self.plan.virtual4())?;
        Ok(name)
    }

    /// Gives the balancer more addresses for full NAT: [`Plan::local`] from 1 on.
    pub fn add_locals(&self, count: u8) -> Result<()> {
        for number in 1..=count {
            let end = (&self.lb, self.plan.server_side());
            wiring::host_address(end, Plan::local4(number))?;
        }
        Ok(())
    }

    /// Gives a server another MAC address, which it announces to its network while connections stay open.
    pub fn change_mac(&self, server: usize, last: u8) -> Result<()> {
        let netns = self.servers.get(server).context("no such server")?;
        netns.ip(&[format!("link set eth0 address 02:00:00:00:aa:{last:02x}")]).map(drop)
    }

    /// The servers are reached by the second of their routers from now on, and the first one is dead.
    pub fn move_servers_to_the_other_router(&self) -> Result<()> {
        let first = self.server_routers.first().context("the servers are behind no router")?;
        first.ip(&["link set near0 down", "link set far0 down"])?;
        wiring::route(&self.lb, Ipv4Addr::new(192, 168, 2, 0), SERVER_ROUTERS[1].0)?;
        for server in &self.servers {
            wiring::default_route(server, SERVER_ROUTERS[1].1)?;
        }
        Ok(())
    }

    /// Has the balancer send answers to these networks to the client's side, which is where a flood's made-up
    /// senders are thought to be.
    pub fn route_to_client(&self, networks: &[&str]) -> Result<()> {
        let lines = networks.iter().map(|network| {
            let family = if network.contains(':') { Family::V6 } else { Family::V4 };
            let via = match self.plan.client {
                Distance::BehindRouter => family.of(self.plan.client_router()),
                Distance::Neighbour => self.plan.client(family),
            };
            format!("{} route replace {network} via {via}", family.option())
        });
        routes(&self.lb, lines)
    }

    /// The balancer forgets all its neighbours, on all sides.
    pub fn forget_neighbours(&self) -> Result<()> {
        for family in Family::here() {
            routes(&self.lb, [format!("{} neigh flush all", family.option())].into_iter())?;
        }
        Ok(())
    }
}
