//! Who is who across a reload: services by what they balance, as keepalived's `vs_iseq()` in `ipwrapper.c` compares them.

use std::{collections::HashMap, fmt, net::IpAddr};

use crate::config::{Config, Family, Protocol, Target, VirtualServer};

/// A virtual service as far as its health goes. The services that come from one `virtual_server` for a group are one:
/// their real servers are checked once, and share a quorum.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServiceId {
    /// A service of its own.
    Single {
        /// What it balances.
        target: Target,
        /// The family of its clients.
        family: Family,
        /// Its protocol, absent with a mark.
        protocol: Option<Protocol>,
    },
    /// All services of a `virtual_server group`.
    Group {
        /// The group's name.
        name: String,
        /// Which `virtual_server` of that group it is, counted from 0.
        nth: usize,
    },
}

impl ServiceId {
    /// The identities of a configuration's services, in their order.
    #[must_use]
    pub fn of_all(config: &Config) -> Vec<Self> {
        let mut groups: HashMap<&str, Vec<usize>> = HashMap::new();
        let mut ids = Vec::with_capacity(config.services.len());
        for service in &config.services {
            ids.push(match &service.group {
                None => Self::single(service),
                Some(name) => {
                    let lines = groups.entry(name).or_default();
                    let known = lines.iter().position(|line| *line == service.line);
                    let nth = known.unwrap_or_else(|| {
                        lines.push(service.line);
                        lines.len() - 1
                    });
                    Self::Group { name: name.clone(), nth }
                }
            });
        }
        ids
    }

    fn single(service: &VirtualServer) -> Self {
        Self::Single { target: service.target, family: service.family, protocol: service.protocol }
    }

    /// What keepalived's FIFOs call it: `format_vs()` in `check_data.c`.
    pub(crate) fn fifo_name(&self) -> String {
        match self {
            Self::Single { target: Target::Address { address, port }, protocol, .. } => {
                trio(*address, *protocol, *port)
            }
            Self::Single { target: Target::Mark(mark), .. } => format!("FWM {mark}"),
            Self::Group { name, nth } => format!("[{name}]:{nth}"),
        }
    }
}

/// `[address]:protocol:port`, as keepalived's FIFOs name an end.
pub(crate) fn trio(address: IpAddr, protocol: Option<Protocol>, port: u16) -> String {
    let protocol = match protocol {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Sctp) => "sctp",
        None => "none",
    };
    format!("[{address}]:{protocol}:{port}")
}

/// For log lines: `10.64.1.2:443/TCP`, `[2001:db8::1]:53/UDP`, `fwmark 7`, `group web`.
impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Single { target: Target::Address { address, port }, protocol, .. } => {
                write!(f, "{}", Endpoint { address: *address, port: *port })?;
                protocol.map_or(Ok(()), |protocol| write!(f, "/{protocol}"))
            }
            Self::Single { target, .. } => target.fmt(f),
            Self::Group { name, nth: 0 } => write!(f, "group {name}"),
            Self::Group { name, nth } => write!(f, "group {name} ({})", nth + 1),
        }
    }
}

/// The address and port of a server; port 0 is the port that the client used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.port),
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.port),
        }
    }
}
