//! What a configuration says, in types: the only part of the front end that the controller sees.
//!
//! Everything here has been checked: addresses and ports can be used as they are, defaults are filled in.

use std::{fmt, net::IpAddr, time::Duration};

/// All of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// In the order of the file; no two have the same address, port and protocol.
    pub services: Vec<VirtualServer>,
    /// `lvs_timeouts`.
    pub timeouts: Timeouts,
}

/// For how many seconds a connection lives without a packet; absent means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// An established TCP connection, 900 by default.
    pub tcp: Option<u32>,
    /// A TCP connection that is being closed, 120 by default.
    pub tcp_fin: Option<u32>,
    /// UDP, 300 by default.
    pub udp: Option<u32>,
}

/// A virtual service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualServer {
    /// The address that clients use.
    pub address: IpAddr,
    /// The port that clients use, never 0.
    pub port: u16,
    /// The transport protocol.
    pub protocol: Protocol,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How packets reach the real servers.
    pub forwarding: Forwarding,
    /// Where full NAT lets connections to the servers come from: at most 256 addresses of the service's family, each
    /// once. Empty without full NAT, and if it is to take the address of the interface towards the server.
    pub local_addresses: Vec<IpAddr>,
    /// `ops`: each packet is scheduled by itself; with UDP only.
    pub one_packet: bool,
    /// For how long a client stays with its real server; absent if it does not.
    pub persistence: Option<Duration>,
    /// The time between two health checks.
    pub delay_loop: Duration,
    /// In the order of the file, at least one, of the service's address family; no two have the same address and port.
    pub real_servers: Vec<RealServer>,
    /// The line in the file, counted from 1.
    pub line: usize,
}

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RealServer {
    /// The server's own address.
    pub address: IpAddr,
    /// The port it listens on, never 0.
    pub port: u16,
    /// Its share of the connections; 0 takes no new ones. At most 2147483647.
    pub weight: u32,
    /// The line in the file, counted from 1.
    pub line: usize,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A way to choose the real server of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// `rr`: one after the other.
    RoundRobin,
}

/// A way to bring packets to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// `NAT`: the destination is rewritten, and the answers pass here again.
    Nat,
    /// `FNAT`: the source is rewritten too, so that the server answers to this host by itself.
    FullNat,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "rr",
        })
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nat => "NAT",
            Self::FullNat => "FNAT",
        })
    }
}
