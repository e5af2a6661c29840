//! The pictures: a client, the balancer, and real servers that share one network.
//!
//! The standard one ([`Plan::TWO_ARMED`]):
//!
//! ```text
//!  client            lb                         switch              web1, web2, …
//!  client0 ──────── xlvs-c   xlvs-s ──────── lb0 ─ br0 ─ web1 ──── eth0 192.168.1.100
//!  10.64.1.1/24   10.64.1.254/24  192.168.1.1/24      └─ web2 ──── eth0 192.168.1.101
//!                 10.64.1.2/32 (the VIP)
//! ```
//!
//! A router on either side ([`Plan::ROUTED`]; [`Plan::ROUTED_SERVERS`] has only those of the servers, where the
//! second router is there to move to):
//!
//! ```text
//!  client          router            lb                br0   router1, router2        br1   web1, web2
//!  client0 ── far0   near0 ── xlvs-c   xlvs-s ── lb0 ──┬── near0       far0 ──────────┬── eth0
//!  10.64.2.1  .254  10.64.1.253                        ├── 192.168.1.251  192.168.2.251├── 192.168.2.100
//!                                                      └── 192.168.1.252  192.168.2.252└── 192.168.2.101
//! ```
//!
//! And everything behind one interface ([`Plan::ONE_ARMED`]; in [`Plan::ONE_NETWORK`] the client is
//! 192.168.1.50 on `br0` itself):
//!
//! ```text
//!  client          router                     br0     lb
//!  client0 ── far0   near0 ────────────────────┬── lb0 ── xlvs-s 192.168.1.1, 192.168.1.2/32 (the VIP)
//!  10.64.2.1  .254  192.168.1.253              ├── web1 ── eth0 192.168.1.100
//!                                              └── web2 ── eth0 192.168.1.101
//! ```
//!
//! Everybody has an IPv6 address too, with the same digits: [`crate::family`].
//!
//! Two settings stand in for what real network cards do by themselves. The ends that face the
//! balancer have GRO on, because native XDP hands a frame to a veth only if the other end polls
//! (NAPI), and drops it without a word otherwise. And they have transmit checksums off, because a
//! veth passes on packets whose checksum is still to be filled in by hardware that does not exist,
//! which no XDP program can finish; this also cuts segments to the size that a wire would carry.

mod changes;
mod plan;
mod wiring;

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};

pub use self::changes::Side;
pub use self::plan::{Arms, Distance, Plan};
use self::wiring::{End, plug, veth};
use crate::family::Family;
use crate::netns::Netns;

/// The client's address in the standard picture.
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

/// What a router in front of the client is called by the client.
const CLIENTS_GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 64, 2, 254);
/// The routers in front of the servers: towards the balancer, towards the servers.
const SERVER_ROUTERS: [(Ipv4Addr, Ipv4Addr); 2] = [
    (Ipv4Addr::new(192, 168, 1, 251), Ipv4Addr::new(192, 168, 2, 251)),
    (Ipv4Addr::new(192, 168, 1, 252), Ipv4Addr::new(192, 168, 2, 252)),
];

/// The namespaces of a picture; dropping it removes them with all their interfaces.
#[derive(Debug)]
pub struct Topology {
    /// Where requests come from.
    pub client: Netns,
    /// Where `xlvs run` belongs.
    pub lb: Netns,
    /// The bridges that make the servers neighbours of each other and of the balancer or the routers.
    pub switch: Netns,
    /// The real servers, in the order of [`SERVERS`].
    pub servers: Vec<Netns>,
    /// The router in front of the client, if there is one.
    pub client_router: Vec<Netns>,
    /// The routers in front of the servers, if they are behind routers: the one in use, and another.
    pub server_routers: Vec<Netns>,
    /// What this is a picture of, and who has which address.
    pub plan: Plan,
}

impl Topology {
    /// Builds the standard picture; all namespaces get names that begin with `prefix` and a dash.
    pub fn new(prefix: &str) -> Result<Self> {
        Self::of(prefix, Plan::TWO_ARMED)
    }

    /// Builds a picture.
    pub fn of(prefix: &str, plan: Plan) -> Result<Self> {
        let one = |role: &str| Netns::dual_stack(format!("{prefix}-{role}"));
        let some = |role: &str, count: usize| {
            (1..=count).map(|number| one(&format!("{role}{number}"))).collect::<Result<Vec<_>>>()
        };
        let routers = |distance, count| if distance == Distance::BehindRouter { count } else { 0 };
        let topology = Self {
            client: one("client")?,
            lb: one("lb")?,
            switch: one("switch")?,
            servers: some("web", SERVERS.len())?,
            client_router: some("gateway", routers(plan.client, 1))?,
            server_routers: some("router", routers(plan.servers, SERVER_ROUTERS.len()))?,
            plan,
        };
        topology.connect().context("the test network could not be built")?;
        Ok(topology)
    }

    /// Every namespace of the picture.
    pub fn namespaces(&self) -> impl Iterator<Item = &Netns> {
        let Self { client, lb, switch, servers, client_router, server_routers, plan: _ } = self;
        [client, lb, switch].into_iter().chain(servers).chain(client_router).chain(server_routers)
    }

    /// Leaves everything standing when this value is dropped.
    pub fn keep(&mut self) {
        let Self { client, lb, switch, servers, client_router, server_routers, plan: _ } = self;
        let all = [client, lb, switch].into_iter().chain(servers);
        all.chain(client_router).chain(server_routers).for_each(Netns::keep);
    }

    fn connect(&self) -> Result<()> {
        for bridge in ["br0", "br1"] {
            self.switch.ip(&[
                format!(
                    "link add {bridge} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
                ),
                format!("link set {bridge} up"),
            ])?;
        }
        self.connect_balancer()?;
        self.connect_client()?;
        self.connect_servers()?;
        self.set_offloads(["gro", "on", "tx", "off"])
    }

    fn connect_balancer(&self) -> Result<()> {
        let Self { lb, switch, plan, .. } = self;
        plug((lb, plan.server_side()), switch, "br0", "lb0")?;
        wiring::address((lb, plan.server_side()), GATEWAY)?;
        wiring::forward(lb)?;
        self.connect_client_side()
    }

    fn connect_client_side(&self) -> Result<()> {
        let Self { lb, plan, .. } = self;
        if plan.arms == Arms::Two {
            veth(self.client_side_peer(), (lb, plan.client_side()))?;
            wiring::address((lb, plan.client_side()), BALANCER)?;
        }
        wiring::host_address((lb, plan.client_side()), plan.virtual4())
    }

    fn connect_client(&self) -> Result<()> {
        let Self { client, lb, switch, plan, .. } = self;
        let outermost = self.client_side_peer();
        if plan.arms == Arms::One {
            plug(outermost, switch, "br0", "client")?;
        }
        let Some(router) = self.client_router.first() else {
            wiring::address(outermost, plan.client4())?;
            return wiring::default_route(client, plan.balancer4());
        };
        veth((router, "far0"), (client, "client0"))?;
        wiring::address(outermost, plan.client_router())?;
        wiring::address((router, "far0"), CLIENTS_GATEWAY)?;
        wiring::address((client, "client0"), plan.client4())?;
        wiring::forward(router)?;
        wiring::default_route(router, plan.balancer4())?;
        wiring::default_route(client, CLIENTS_GATEWAY)?;
        wiring::route(lb, plan.client4(), plan.client_router())
    }

    fn connect_servers(&self) -> Result<()> {
        let Self { lb, switch, plan, .. } = self;
        for (number, (router, (near, far))) in
            (1..).zip(self.server_routers.iter().zip(SERVER_ROUTERS))
        {
            plug((router, "near0"), switch, "br0", &format!("near{number}"))?;
            plug((router, "far0"), switch, "br1", &format!("far{number}"))?;
            wiring::address((router, "near0"), near)?;
            wiring::address((router, "far0"), far)?;
            wiring::forward(router)?;
            wiring::default_route(router, plan.way_out())?;
        }
        let (bridge, gateway) = match plan.servers {
            Distance::Neighbour => ("br0", plan.way_out()),
            Distance::BehindRouter => ("br1", SERVER_ROUTERS[0].1),
        };
        for (number, (server, address)) in (1..).zip(self.servers.iter().zip(plan.servers4())) {
            plug((server, "eth0"), switch, bridge, &format!("web{number}"))?;
            // So that a new MAC address is told to the neighbours.
            server.set("ipv4/conf/all/arp_notify", "1")?;
            if Family::here().contains(&Family::V6) {
                server.set("ipv6/conf/all/ndisc_notify", "1")?;
            }
            wiring::address((server, "eth0"), *address.ip())?;
            wiring::default_route(server, gateway)?;
            if plan.servers == Distance::BehindRouter {
                wiring::route(lb, *address.ip(), SERVER_ROUTERS[0].0)?;
            }
        }
        Ok(())
    }

    /// The interface through which the client's packets come to the balancer's network.
    fn client_side_peer(&self) -> End<'_> {
        match self.client_router.first() {
            Some(router) => (router, "near0"),
            None => (&self.client, "client0"),
        }
    }
}
