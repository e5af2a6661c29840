//! What can be changed while the controller runs, as it stands in requests on the control socket (docs/control.md) and in
//! the file that keeps edits for the next start.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use serde::{Deserialize, Serialize};

mod words;

use crate::{
    config::{
        Family, Granularity, Persistence, RealServer, Scheduler, SchedulerFlags, VirtualServer,
    },
    inspect::ServiceName,
};

/// The longest time-out that ipvsadm takes, in seconds: 31 days.
const LONGEST_TIMEOUT: u32 = 86_400 * 31;

/// The greatest weight, and the highest threshold (`int` in IPVS).
const GREATEST: u32 = i32::MAX as u32;

/// A change of the running state. Commands of ipvsadm, one for one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    tag = "edit",
    rename_all = "kebab-case",
    try_from = "serde_json::Map<String, serde_json::Value>"
)]
pub enum Edit {
    /// `-A`: a new service, with NAT and without servers.
    AddService {
        /// Which one.
        service: ServiceName,
        /// What it is like.
        #[serde(flatten)]
        spec: ServiceSpec,
    },
    /// `-E`: what a service is like from now on.
    EditService {
        /// Which one.
        service: ServiceName,
        /// What it is like.
        #[serde(flatten)]
        spec: ServiceSpec,
    },
    /// `-D`: a service goes, with its servers.
    DeleteService {
        /// Which one.
        service: ServiceName,
    },
    /// `-a`: a new real server.
    AddServer {
        /// Of this service.
        service: ServiceName,
        /// Where it is.
        #[serde(flatten)]
        server: ServerName,
        /// What it is like.
        #[serde(flatten)]
        spec: ServerSpec,
    },
    /// `-e`: what a real server is like from now on.
    EditServer {
        /// Of this service.
        service: ServiceName,
        /// Where it is.
        #[serde(flatten)]
        server: ServerName,
        /// What it is like.
        #[serde(flatten)]
        spec: ServerSpec,
    },
    /// `-d`: a real server goes.
    DeleteServer {
        /// Of this service.
        service: ServiceName,
        /// Where it is.
        #[serde(flatten)]
        server: ServerName,
    },
    /// `-C`: all services go.
    Clear,
    /// `-Z`: counts begin at zero.
    Zero {
        /// Those of one service, or of all.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        service: Option<ServiceName>,
    },
    /// `--set`: time-outs in seconds; 0 leaves one as it is.
    SetTimeouts {
        /// Of an established TCP connection.
        #[serde(default)]
        tcp: u32,
        /// Of a TCP connection that is being closed.
        #[serde(default)]
        tcp_fin: u32,
        /// Of UDP.
        #[serde(default)]
        udp: u32,
    },
}

/// Where a real server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ServerName {
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 for the one that the client used.
    pub port: u16,
}

/// What of a service can be edited.
#[expect(clippy::struct_excessive_bools, reason = "the flags of a service")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceSpec {
    /// IPVS's name of the scheduler.
    pub scheduler: String,
    /// sh and mh: another server takes the place of one that takes no connections.
    #[serde(default)]
    pub fallback: bool,
    /// sh and mh: the client's port counts as well.
    #[serde(default)]
    pub source_port: bool,
    /// The third flag, which no scheduler reads.
    #[serde(default)]
    pub flag_3: bool,
    /// UDP: each packet is scheduled by itself.
    #[serde(default)]
    pub one_packet: bool,
    /// How clients stay with their servers, if they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persistence: Option<PersistenceSpec>,
}

/// How clients stay with their servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PersistenceSpec {
    /// For how many seconds.
    pub timeout: u32,
    /// What makes two addresses one client; each is one of its own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granularity: Option<Mask>,
}

/// A granularity: a mask for IPv4, a prefix length for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Mask {
    /// IPv4.
    Mask(Ipv4Addr),
    /// IPv6.
    Prefix(u8),
}

/// What of a real server can be edited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSpec {
    /// Its weight.
    #[serde(default = "ServerSpec::default_weight")]
    pub weight: u32,
    /// Its upper threshold, or 0.
    #[serde(default)]
    pub upper_threshold: u32,
    /// Its lower threshold, or 0.
    #[serde(default)]
    pub lower_threshold: u32,
}

/// Why an edit is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is such a service.
    #[error("there is such a service already")]
    ServiceExists,
    /// There is no such service.
    #[error("there is no such service")]
    NoService,
    /// There is no such scheduler.
    #[error("there is no such scheduler")]
    NoScheduler,
    /// The service has such a server.
    #[error("the service has this real server already")]
    ServerExists,
    /// The service has no such server.
    #[error("the service does not have this real server")]
    NoServer,
    /// A number is too large, or the lower threshold is above the upper one.
    #[error(
        "a weight or threshold is out of range: at most {GREATEST}, and the lower threshold not above the upper one"
    )]
    Range,
    /// Something else about it does not fit.
    #[error("{0}")]
    Invalid(&'static str),
}

impl Refusal {
    /// Its name in answers.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::ServiceExists => "service-exists",
            Self::NoService => "no-service",
            Self::NoScheduler => "no-scheduler",
            Self::ServerExists => "server-exists",
            Self::NoServer => "no-server",
            Self::Range => "range",
            Self::Invalid(_) => "invalid",
        }
    }
}

impl ServiceSpec {
    /// That of a service of the configuration.
    #[must_use]
    pub fn of(service: &VirtualServer) -> Self {
        Self {
            scheduler: service.scheduler.to_string(),
            fallback: service.flags.fallback,
            source_port: service.flags.port,
            flag_3: service.flags.flag_3,
            one_packet: service.one_packet,
            persistence: service.persistence.map(|persistence| PersistenceSpec {
                timeout: u32::try_from(persistence.timeout.as_secs()).unwrap_or(u32::MAX),
                granularity: (persistence.granularity != Granularity::full(service.family))
                    .then_some(match persistence.granularity {
                        Granularity::Mask(mask) => Mask::Mask(mask),
                        Granularity::Prefix(length) => Mask::Prefix(length),
                    }),
            }),
        }
    }

    /// Has a service of the configuration be like this. An unknown scheduler changes nothing.
    pub(super) fn apply(&self, service: &mut VirtualServer) {
        if let Some(scheduler) = scheduler(&self.scheduler) {
            service.scheduler = scheduler;
        }
        service.flags =
            SchedulerFlags { fallback: self.fallback, port: self.source_port, flag_3: self.flag_3 };
        service.one_packet = self.one_packet;
        service.persistence = self.persistence.map(|persistence| Persistence {
            timeout: Duration::from_secs(persistence.timeout.into()),
            granularity: match persistence.granularity {
                Some(Mask::Mask(mask)) => Granularity::Mask(mask),
                Some(Mask::Prefix(length)) => Granularity::Prefix(length),
                None => Granularity::full(service.family),
            },
        });
    }

    /// Whether a service can be like this, and in the one form that means it.
    pub(super) fn checked(mut self, name: ServiceName) -> Result<Self, Refusal> {
        scheduler(&self.scheduler).ok_or(Refusal::NoScheduler)?;
        if let Some(persistence) = &mut self.persistence {
            if !(1..=LONGEST_TIMEOUT).contains(&persistence.timeout) {
                return Err(Refusal::Invalid("persistence lasts for 1 to 2678400 seconds"));
            }
            persistence.granularity = match (persistence.granularity, name.family()) {
                (None | Some(Mask::Mask(Ipv4Addr::BROADCAST)), Family::Ipv4)
                | (None | Some(Mask::Prefix(128)), Family::Ipv6) => None,
                (mask @ Some(Mask::Mask(_)), Family::Ipv4)
                | (mask @ Some(Mask::Prefix(1..128)), Family::Ipv6) => mask,
                _ => {
                    return Err(Refusal::Invalid(
                        "the granularity of persistence is a mask for IPv4, and a prefix length of 1 to 128 for IPv6",
                    ));
                }
            };
        }
        match name {
            ServiceName::Address { port: 0, .. } if self.persistence.is_none() => {
                return Err(Refusal::Invalid("a service for all ports has to be persistent"));
            }
            ServiceName::Address { protocol: crate::config::Protocol::Tcp, .. }
                if self.one_packet =>
            {
                return Err(Refusal::Invalid("one-packet scheduling is for UDP"));
            }
            ServiceName::Mark { mark: 0, .. } => {
                return Err(Refusal::Invalid("a firewall mark is never 0"));
            }
            ServiceName::Address { address, .. } if !is_usable(address) => {
                return Err(Refusal::Invalid("no service can have such an address"));
            }
            _ => {}
        }
        Ok(self)
    }
}

impl ServerSpec {
    pub(super) const fn default_weight() -> u32 {
        1
    }

    /// That of a server of the configuration.
    #[must_use]
    pub const fn of(server: &RealServer) -> Self {
        Self {
            weight: server.weight,
            upper_threshold: server.upper_threshold,
            lower_threshold: server.lower_threshold,
        }
    }

    /// Has a server of the configuration be like this.
    pub(super) const fn apply(self, server: &mut RealServer) {
        server.weight = self.weight;
        server.upper_threshold = self.upper_threshold;
        server.lower_threshold = self.lower_threshold;
    }

    /// Whether a server of this service can be like this.
    pub(super) fn check(self, service: ServiceName, server: ServerName) -> Result<(), Refusal> {
        let Self { weight, upper_threshold, lower_threshold } = self;
        if weight > GREATEST || upper_threshold > GREATEST || lower_threshold > upper_threshold {
            return Err(Refusal::Range);
        }
        if Family::of(server.address) != service.family() {
            return Err(Refusal::Invalid("a real server is of its service's address family"));
        }
        if !is_usable(server.address) {
            return Err(Refusal::Invalid("no real server can have such an address"));
        }
        Ok(())
    }
}

/// Whether packets to it are forwarded.
fn is_usable(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            !(address.is_unspecified() || address.is_multicast() || address.is_broadcast())
        }
        IpAddr::V6(address) => {
            let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
            !(address.is_unspecified() || address.is_multicast() || link_local)
        }
    }
}

/// The scheduler with this name.
pub(super) fn scheduler(name: &str) -> Option<Scheduler> {
    Scheduler::ALL.into_iter().find(|scheduler| scheduler.to_string() == name)
}

/// Whether time-outs can be like this.
pub(super) fn check_timeouts(timeouts: [u32; 3]) -> Result<(), Refusal> {
    if timeouts.iter().any(|timeout| *timeout > LONGEST_TIMEOUT) {
        return Err(Refusal::Invalid("a time-out is 2678400 seconds at most"));
    }
    Ok(())
}
