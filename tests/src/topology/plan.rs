//! Which picture is built, and who has which address in it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};

use super::{BALANCER, CLIENT, GATEWAY, INTERFACES, SERVERS, VIRTUAL};
use crate::family::Family;

/// How many interfaces the balancer has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Arms {
    /// One for the servers' network, in which the clients' side is too: full NAT's picture.
    One,
    /// One towards the clients, one towards the servers.
    Two,
}

/// How somebody is reached from the balancer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Distance {
    /// In the same network.
    Neighbour,
    /// In a network of its own, behind a router.
    BehindRouter,
}

/// A picture.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// The balancer's interfaces.
    pub arms: Arms,
    /// Where the client is.
    pub client: Distance,
    /// Where the servers are. Behind a router means that there are two of these, one of which is in use.
    pub servers: Distance,
}

impl Plan {
    /// Client, balancer and servers in a row.
    pub const TWO_ARMED: Self =
        Self { arms: Arms::Two, client: Distance::Neighbour, servers: Distance::Neighbour };
    /// The same with a router between the balancer and the servers.
    pub const ROUTED_SERVERS: Self = Self { servers: Distance::BehindRouter, ..Self::TWO_ARMED };
    /// A router on either side of the balancer.
    pub const ROUTED: Self = Self { client: Distance::BehindRouter, ..Self::ROUTED_SERVERS };
    /// Everything on one network, which the client reaches by a router.
    pub const ONE_ARMED: Self =
        Self { arms: Arms::One, client: Distance::BehindRouter, servers: Distance::Neighbour };
    /// Client, balancer and servers on one network.
    pub const ONE_NETWORK: Self = Self { client: Distance::Neighbour, ..Self::ONE_ARMED };

    /// The balancer's interfaces.
    #[must_use]
    pub fn interfaces(self) -> Vec<String> {
        match self.arms {
            Arms::One => vec![INTERFACES[1].to_owned()],
            Arms::Two => INTERFACES.map(str::to_owned).to_vec(),
        }
    }

    /// The balancer's interface towards the client.
    #[must_use]
    pub fn client_side(self) -> &'static str {
        match self.arms {
            Arms::One => INTERFACES[1],
            Arms::Two => INTERFACES[0],
        }
    }

    /// The balancer's interface towards the servers.
    #[must_use]
    pub fn server_side(self) -> &'static str {
        INTERFACES[1]
    }

    /// The client's address.
    #[must_use]
    pub fn client(self, family: Family) -> IpAddr {
        family.of(self.client4())
    }

    /// The virtual address.
    #[must_use]
    pub fn virtual_address(self, family: Family) -> IpAddr {
        family.of(self.virtual4())
    }

    /// The virtual service of the example: the virtual address and its port.
    #[must_use]
    pub fn service(self, family: Family) -> SocketAddr {
        (self.virtual_address(family), VIRTUAL.port()).into()
    }

    /// The balancer's own address towards the client.
    #[must_use]
    pub fn balancer(self, family: Family) -> IpAddr {
        family.of(self.balancer4())
    }

    /// The balancer's own address towards the servers: whom they see with full NAT if no address group says
    /// otherwise.
    #[must_use]
    pub fn gateway(family: Family) -> IpAddr {
        family.of(GATEWAY)
    }

    /// Further addresses that the balancer can have for full NAT, from 1 on.
    #[must_use]
    pub fn local(family: Family, number: u8) -> IpAddr {
        family.of(Self::local4(number))
    }

    /// The web servers.
    #[must_use]
    pub fn servers(self, family: Family) -> [SocketAddr; 2] {
        self.servers4().map(|server| (family.of(*server.ip()), server.port()).into())
    }

    // What follows is for the wiring, which knows a host by its IPv4 address.

    pub(super) fn client4(self) -> Ipv4Addr {
        match (self.client, self.arms) {
            (Distance::BehindRouter, _) => Ipv4Addr::new(10, 64, 2, 1),
            (Distance::Neighbour, Arms::One) => Ipv4Addr::new(192, 168, 1, 50),
            (Distance::Neighbour, Arms::Two) => CLIENT,
        }
    }

    pub(super) fn virtual4(self) -> Ipv4Addr {
        match self.arms {
            Arms::One => Ipv4Addr::new(192, 168, 1, 2),
            Arms::Two => *VIRTUAL.ip(),
        }
    }

    pub(super) fn balancer4(self) -> Ipv4Addr {
        match self.arms {
            Arms::One => GATEWAY,
            Arms::Two => BALANCER,
        }
    }

    pub(super) fn local4(number: u8) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, 1, 10 + number % 40)
    }

    pub(super) fn servers4(self) -> [SocketAddrV4; 2] {
        SERVERS.map(|server| {
            let [a, b, c, d] = server.ip().octets();
            let c = if self.servers == Distance::BehindRouter { c + 1 } else { c };
            SocketAddrV4::new(Ipv4Addr::new(a, b, c, d), server.port())
        })
    }

    /// The address that a router in front of the client has towards the balancer.
    pub(super) fn client_router(self) -> Ipv4Addr {
        match self.arms {
            Arms::One => Ipv4Addr::new(192, 168, 1, 253),
            Arms::Two => Ipv4Addr::new(10, 64, 1, 253),
        }
    }

    /// The address of whom the balancer's neighbours on the servers' side send everything else to.
    pub(super) fn way_out(self) -> Ipv4Addr {
        match (self.arms, self.client) {
            (Arms::One, Distance::BehindRouter) => self.client_router(),
            _ => GATEWAY,
        }
    }
}
