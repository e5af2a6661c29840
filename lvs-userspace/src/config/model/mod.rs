//! What a configuration says, in types: the only part of the front end that the controller sees.
//!
//! Everything here has been checked: addresses and ports can be used as they are, defaults are filled in, groups are
//! taken apart.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::addresses::AddressRange;

mod checker;
mod global;
mod http;
mod real_server;
mod script;

pub use self::{
    checker::{
        Check, Checker, Connection, DnsCheck, DnsType, FileCheck, MiscCheck, PatternByte, Schedule,
        SmtpCheck, UdpCheck, UdpReply,
    },
    global::{FlushOnStop, Global, InitialValue, Mail, NotifyFifo, SyncDaemon, TrackFile},
    http::{HttpCheck, HttpVersion, SslFiles, Url, UrlRegex},
    real_server::{RealServer, SorryServer},
    script::{Script, ScriptUser},
};

/// All of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// In the order of the file, at most 4,000 with 65,536 real servers in all; no two have the same target, family
    /// and protocol.
    pub services: Vec<VirtualServer>,
    /// `fwmark_match`: which packets carry a mark, in the order of the file. Where several fit a packet, the first
    /// one counts. They have at most 65,536 keys in all.
    pub marks: Vec<MarkMatch>,
    /// `lvs_timeouts`.
    pub timeouts: Timeouts,
    /// `global_defs` but for that.
    pub global: Global,
    /// `SSL`.
    pub ssl: Option<SslFiles>,
    /// `track_file`: no two have the same name.
    pub track_files: Vec<TrackFile>,
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

/// A virtual service. A `virtual_server` for a group becomes one for each of the group's addresses and marks.
#[derive(Debug, Clone, PartialEq, Eq)]
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
    pub real_servers: Vec<RealServer>,
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
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

/// A way to choose the real server of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// `rr`: one after the other.
    RoundRobin,
    /// `wrr`: one after the other, as often as their weights say.
    WeightedRoundRobin,
    /// `lc`: the one with the fewest connections.
    LeastConnections,
    /// `wlc`: the one with the fewest connections for its weight.
    WeightedLeastConnections,
    /// `sh`: by a table that the client's address points into.
    SourceHash,
    /// `dh`: by a table that the service's address points into.
    DestinationHash,
    /// `lblc`: the one that the destination had last, unless it is overloaded.
    LocalityLeastConnections,
    /// `lblcr`: the least loaded of those that the destination had.
    LocalityLeastConnectionsReplicated,
    /// `sed`: the one that would have the fewest active connections for its weight with this one.
    ShortestExpectedDelay,
    /// `nq`: one without active connections, else as `sed`.
    NeverQueue,
    /// `mh`: as `sh`, by a Maglev table, which changes little when servers come and go.
    MaglevHash,
    /// `fo`: the one with the greatest weight.
    Failover,
    /// `ovf`: the one with the greatest weight that has no more active connections than that.
    Overflow,
    /// `twos`: the less loaded of two at random.
    TwoChoices,
}

/// The flags of a scheduler that reads them: `sh` and `mh` the first two, none the third.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct SchedulerFlags {
    /// `sh-fallback`, `mh-fallback`, `flag-1`: another server takes the place of one that takes no connections.
    pub fallback: bool,
    /// `sh-port`, `mh-port`, `flag-2`: the client's port counts as well.
    pub port: bool,
    /// `flag-3`.
    pub flag_3: bool,
}

/// How clients stay with their real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Persistence {
    /// For how long: whole seconds, at least one.
    pub timeout: Duration,
    /// What makes two addresses one client.
    pub granularity: Granularity,
}

/// Addresses that agree in these bits are one client; of the service's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Granularity {
    /// The bits of an IPv4 address, in any pattern.
    Mask(Ipv4Addr),
    /// So many first bits of an IPv6 address, 1 to 128.
    Prefix(u8),
}

impl Granularity {
    /// Each address is a client of its own.
    #[must_use]
    pub const fn full(family: Family) -> Self {
        match family {
            Family::Ipv4 => Self::Mask(Ipv4Addr::BROADCAST),
            Family::Ipv6 => Self::Prefix(128),
        }
    }

    /// The family of the addresses.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Mask(_) => Family::Ipv4,
            Self::Prefix(_) => Family::Ipv6,
        }
    }
}

/// A way to bring packets to a real server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Forwarding {
    /// `NAT`: the destination is rewritten, and the answers pass here again.
    Nat,
    /// `FNAT`: the source is rewritten too, so that the server answers to this host by itself.
    FullNat,
    /// `DR`: only the Ethernet address is rewritten. Not balanced yet.
    DirectRouting,
    /// `TUN`: packets are wrapped up. Not balanced yet.
    Tunnel(Tunnel),
}

/// How `TUN` wraps packets up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Tunnel {
    /// `type`.
    pub kind: TunnelKind,
    /// Of the outer header; not of IPIP, and remote checksums not of GRE.
    pub checksum: TunnelChecksum,
}

/// The outer headers of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TunnelKind {
    /// `ipip`: IP in IP.
    #[default]
    Ipip,
    /// `gue port N`: generic UDP encapsulation, to this port, never 0.
    Gue(u16),
    /// `gre`.
    Gre,
}

/// Checksums of a tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum TunnelChecksum {
    /// `nocsum`: none.
    #[default]
    None,
    /// `csum`: one.
    Full,
    /// `remcsum`: the inner one, worked out at the other end.
    Remote,
}

/// A line of `fwmark_match`: packets to any of these addresses and ports carry the mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarkMatch {
    /// The mark, never 0.
    pub mark: u32,
    /// The destination's address.
    pub addresses: AddressRange,
    /// The lowest port, never 0.
    pub first_port: u16,
    /// The highest port, not less than the lowest.
    pub last_port: u16,
    /// The transport protocol; absent for all that can be balanced.
    pub protocol: Option<Protocol>,
    /// The line in the file, counted from 1.
    pub line: usize,
}

impl MarkMatch {
    /// How many keys there are; as many as can be counted if they are more.
    #[must_use]
    pub fn count(&self) -> usize {
        let ports = usize::from(self.last_port.saturating_sub(self.first_port)) + 1;
        self.addresses.count().saturating_mul(ports).saturating_mul(self.protocols().len())
    }

    /// Each address with each port and protocol, once.
    pub fn keys(&self) -> impl Iterator<Item = (IpAddr, u16, Protocol)> + '_ {
        self.addresses.iter().flat_map(move |address| {
            (self.first_port..=self.last_port).flat_map(move |port| {
                self.protocols().iter().map(move |protocol| (address, port, *protocol))
            })
        })
    }

    /// Those that it is about.
    #[must_use]
    pub const fn protocols(&self) -> &'static [Protocol] {
        match self.protocol {
            Some(Protocol::Tcp) => &[Protocol::Tcp],
            Some(Protocol::Udp) => &[Protocol::Udp],
            Some(Protocol::Sctp) => &[Protocol::Sctp],
            None => &Protocol::ALL,
        }
    }
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

/// IPVS's name.
impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnections => "lc",
            Self::WeightedLeastConnections => "wlc",
            Self::SourceHash => "sh",
            Self::DestinationHash => "dh",
            Self::LocalityLeastConnections => "lblc",
            Self::LocalityLeastConnectionsReplicated => "lblcr",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::MaglevHash => "mh",
            Self::Failover => "fo",
            Self::Overflow => "ovf",
            Self::TwoChoices => "twos",
        })
    }
}

impl fmt::Display for Forwarding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nat => "NAT",
            Self::FullNat => "FNAT",
            Self::DirectRouting => "DR",
            Self::Tunnel(_) => "TUN",
        })
    }
}
