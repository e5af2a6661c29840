//! Persistence.

use std::{net::Ipv4Addr, time::Duration};

use serde::Serialize;

use super::Family;

/// How clients stay with their real servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Persistence {
    /// For how long: whole seconds, at least one.
    #[serde(serialize_with = "super::json::seconds")]
    pub timeout: Duration,
    /// What makes two addresses one client.
    pub granularity: Granularity,
}

/// Addresses that agree in these bits are one client; of the service's family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
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
