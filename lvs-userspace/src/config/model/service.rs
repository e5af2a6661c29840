//! Virtual services.

use std::{fmt, net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{Forwarding, Persistence, RealServer, Scheduler, SchedulerFlags, Script, SorryServer};

/// A virtual service. A `virtual_server` for a group becomes one for each of the group's addresses and marks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "lines of a configuration that are there or not")]
pub struct VirtualServer {
    /// What clients' packets are recognised by.
    pub target: Target,
    /// The family of the clients' packets, and of all addresses here.
    pub family: Family,
    /// The transport protocol; absent with a mark, and only then: it stands for all protocols.
    pub protocol: Option<Protocol>,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How the scheduler goes about it.
    pub flags: SchedulerFlags,
    /// How packets reach the real servers.
    pub forwarding: Forwarding,
    /// Where full NAT lets connections to the servers come from: at most 256 addresses of the service's family, each
    /// once. Empty without full NAT, and if it is to take the address of the interface towards the server.
    pub local_addresses: Vec<IpAddr>,
    /// `ops`: each packet is scheduled by itself, of UDP only. Never set on a TCP service.
    pub one_packet: bool,
    /// How a client stays with its real server; absent if it does not. Always there if the target is all ports of an
    /// address.
    pub persistence: Option<Persistence>,
    /// When the service has enough real servers.
    pub quorum: Quorum,
    /// `omega`: at the stop, `notify_down` and `quorum_down` are run as if the servers failed.
    pub omega: bool,
    /// Takes the clients while the quorum is lost.
    pub sorry_server: Option<SorryServer>,
    /// `ha_suspend`: checks run only while this host has the service's address.
    pub ha_suspend: bool,
    /// Whether quorum gained and lost is told by mail.
    pub smtp_alert: bool,
    /// `persistence_engine`, with persistence only: what else than the address makes a client, such as `sip`.
    pub persistence_engine: Option<String>,
    /// Its name in SNMP.
    pub snmp_name: Option<String>,
    /// The `virtual_server_group` that it comes from. Services with the same group and line are one in keepalived: their
    /// real servers are checked once, and share a quorum.
    pub group: Option<String>,
    /// In the order of the file, one to 1,000, of the service's address family; no two have the same address and port.
    /// Shared by all that hold the same configuration: the file's, and that of the file with edits and health.
    pub real_servers: Arc<Vec<RealServer>>,
    /// The line of the `virtual_server` in the file, counted from 1.
    pub line: usize,
}

impl VirtualServer {
    /// Whether the data path can balance it: TCP and UDP, by NAT or full NAT, the same for all of its servers.
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        matches!(self.forwarding, Forwarding::Nat | Forwarding::FullNat)
            && self.protocol != Some(Protocol::Sctp)
            && self.real_servers.iter().all(|server| server.forwarding == self.forwarding)
    }
}

/// `quorum` and what belongs to it, in weights of servers that are up.
///
/// It is gained at `weight` plus `hysteresis`, and lost below `weight` minus `hysteresis` or at 0
/// (`update_quorum_state()` in keepalived's `check_ipwrapper.c`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quorum {
    /// `quorum`: at least 1, at most what all servers weigh together if that is more than 0.
    pub weight: u32,
    /// `hysteresis`: less than the weight.
    pub hysteresis: u32,
    /// What runs when it is gained.
    pub up: Option<Script>,
    /// What runs when it is lost.
    pub down: Option<Script>,
}

impl Default for Quorum {
    fn default() -> Self {
        Self { weight: 1, hysteresis: 0, up: None, down: None }
    }
}

/// What the packets of a service have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Where they are sent to.
    Address {
        /// The address that clients use.
        address: IpAddr,
        /// The port that they use; 0 stands for all ports.
        port: u16,
    },
    /// The firewall mark that they carry, never 0.
    Mark(u32),
}

/// An address family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    #[must_use]
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }

    /// Not this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Ipv4 => Self::Ipv6,
            Self::Ipv6 => Self::Ipv4,
        }
    }
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP. No packets of it are balanced yet.
    Sctp,
}

impl Protocol {
    /// Those that can be balanced.
    pub const ALL: [Self; 2] = [Self::Tcp, Self::Udp];
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address { address, port: 0 } => write!(f, "{address} all ports"),
            Self::Address { address, port } => write!(f, "{address} port {port}"),
            Self::Mark(mark) => write!(f, "fwmark {mark}"),
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ipv4 => "IPv4",
            Self::Ipv6 => "IPv6",
        })
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        })
    }
}
