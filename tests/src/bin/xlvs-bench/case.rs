//! What is measured: the combinations of family, method, protocol and hook, each with the configuration
//! that brings it about.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::frame::Tuple;

/// The port of the virtual service.
pub(crate) const PORT: u16 = 10_000;
/// The port of the real servers.
pub(crate) const SERVER_PORT: u16 = 8089;
/// Real servers of the service.
pub(crate) const SERVERS: u8 = 16;
/// Local addresses for full NAT; each has some 60,000 ports towards each server.
pub(crate) const LOCAL_ADDRESSES: u8 = 32;
/// How many client addresses there are; connections beyond that differ by their port.
const CLIENTS: u32 = 4096;

/// IPv4 or IPv6, on both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

/// How packets reach the real servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Method {
    Nat,
    FullNat,
}

/// The transport protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    Tcp,
    Udp,
}

/// Which program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hook {
    Xdp,
    Tc,
}

/// One combination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Case {
    pub(crate) family: Family,
    pub(crate) method: Method,
    pub(crate) protocol: Protocol,
    pub(crate) hook: Hook,
}

/// All that the report has a place for.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for family in [Family::V4, Family::V6] {
        for protocol in [Protocol::Tcp, Protocol::Udp] {
            for method in [Method::Nat, Method::FullNat] {
                cases.push(Case { family, method, protocol, hook: Hook::Xdp });
            }
        }
    }
    let (family, method, protocol) = (Family::V4, Method::Nat, Protocol::Tcp);
    cases.push(Case { family, method, protocol, hook: Hook::Tc });
    cases
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        };
        let hook = match self.hook {
            Hook::Xdp => "XDP",
            Hook::Tc => "TC",
        };
        write!(f, "{family} {} {} {hook}", self.method, self.protocol)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nat => "NAT",
            Self::FullNat => "FNAT",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl Case {
    /// The configuration.
    pub(crate) fn config(self) -> String {
        let mut text = String::new();
        let mut group = "";
        if self.method == Method::FullNat {
            group = "    laddr_group_name bench\n";
            text.push_str("local_address_group bench {\n");
            for address in self.family.local_addresses() {
                let _ = writeln!(text, "    {address}");
            }
            text.push_str("}\n");
        }
        let _ = writeln!(text, "virtual_server {} {PORT} {{", self.family.virtual_address());
        let _ = writeln!(text, "    lb_algo rr\n    lb_kind {}", self.method);
        let _ = writeln!(text, "    protocol {}\n{group}", self.protocol);
        for server in self.family.servers() {
            let _ = writeln!(text, "    real_server {server} {SERVER_PORT} {{ weight 1 }}");
        }
        text.push_str("}\n");
        text
    }

    /// What the packets of a client carry.
    pub(crate) fn sent(self, client: u32) -> Tuple {
        self.sent_to(client, self.family.virtual_address(), PORT)
    }

    /// The same to any other place.
    pub(crate) fn sent_to(self, client: u32, destination: IpAddr, port: u16) -> Tuple {
        Tuple {
            source: self.family.client(client % CLIENTS),
            source_port: 1024 + u16::try_from(client / CLIENTS).unwrap_or(u16::MAX),
            destination,
            destination_port: port,
        }
    }
}

impl Family {
    /// The address of the service.
    pub(crate) fn virtual_address(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(172, 16, 0, 100).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0x100).into(),
        }
    }

    /// An address that is nobody's here.
    pub(crate) fn foreign_address(self) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(198, 51, 100, 7).into(),
            Self::V6 => Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 7).into(),
        }
    }

    /// The real servers.
    pub(crate) fn servers(self) -> impl Iterator<Item = IpAddr> {
        (0..SERVERS).map(move |number| self.inside(100 + number))
    }

    /// The balancer's addresses towards the servers with full NAT.
    pub(crate) fn local_addresses(self) -> impl Iterator<Item = IpAddr> {
        (0..LOCAL_ADDRESSES).map(move |number| self.inside(10 + number))
    }

    fn inside(self, host: u8) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::new(192, 168, 1, host).into(),
            Self::V6 => Ipv6Addr::new(0xfd00, 2, 0, 0, 0, 0, 0, host.into()).into(),
        }
    }

    fn client(self, number: u32) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from_bits(0x0a00_0100 + number).into(),
            Self::V6 => {
                let first = Ipv6Addr::new(0xfd10, 0, 0, 0, 0, 0, 0, 0x100).to_bits();
                Ipv6Addr::from_bits(first + u128::from(number)).into()
            }
        }
    }
}
