//! How services are named: in the JSON of listings and of the control socket, and as a filter on the command line.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use crate::config::{Family, Protocol, Target};

/// Which service it is, whatever else changes about it. In JSON `{"protocol": "TCP", "address": "10.0.0.1", "port": 80}`,
/// in which port 0 stands for all of them, or `{"mark": 7, "family": "IPv4"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ServiceName {
    /// By where packets are sent to.
    Address {
        /// The transport protocol.
        #[serde(with = "protocol")]
        protocol: Protocol,
        /// The virtual address.
        address: IpAddr,
        /// The virtual port, or 0.
        port: u16,
    },
    /// By firewall mark.
    Mark {
        /// The mark, never 0.
        mark: u32,
        /// The family of the packets.
        #[serde(with = "family")]
        family: Family,
    },
}

impl ServiceName {
    /// That of a service with these parts. A service of an address always has a protocol.
    #[must_use]
    pub fn new(target: Target, protocol: Option<Protocol>, family: Family) -> Self {
        match target {
            Target::Address { address, port } => {
                Self::Address { protocol: protocol.unwrap_or(Protocol::Udp), address, port }
            }
            Target::Mark(mark) => Self::Mark { mark, family },
        }
    }

    /// What its packets are recognised by.
    #[must_use]
    pub const fn target(self) -> Target {
        match self {
            Self::Address { address, port, .. } => Target::Address { address, port },
            Self::Mark { mark, .. } => Target::Mark(mark),
        }
    }

    /// The family of its packets.
    #[must_use]
    pub const fn family(self) -> Family {
        match self {
            Self::Address { address, .. } => Family::of(address),
            Self::Mark { family, .. } => family,
        }
    }

    /// Its protocol; none with a mark.
    #[must_use]
    pub const fn protocol(self) -> Option<Protocol> {
        match self {
            Self::Address { protocol, .. } => Some(protocol),
            Self::Mark { .. } => None,
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address { protocol, address, port } => {
                write!(f, "{protocol} {}", SocketAddr::new(address, port))
            }
            Self::Mark { mark, family: Family::Ipv4 } => write!(f, "fwmark {mark}"),
            Self::Mark { mark, family: Family::Ipv6 } => write!(f, "fwmark {mark} IPv6"),
        }
    }
}

mod protocol {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::config::Protocol;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        protocol: &Protocol,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(protocol)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Protocol, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "TCP" => Ok(Protocol::Tcp),
            "UDP" => Ok(Protocol::Udp),
            other => Err(D::Error::custom(format!("`{other}` is no protocol: TCP or UDP"))),
        }
    }
}

mod family {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use crate::config::Family;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
    pub(super) fn serialize<S: Serializer>(
        family: &Family,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(family)
    }

    pub(super) fn deserialize<'d, D: Deserializer<'d>>(
        deserializer: D,
    ) -> Result<Family, D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "IPv4" => Ok(Family::Ipv4),
            "IPv6" => Ok(Family::Ipv6),
            other => Err(D::Error::custom(format!("`{other}` is no family: IPv4 or IPv6"))),
        }
    }
}

/// Services that a person asks for: `ADDRESS`, `ADDRESS:PORT`, `[ADDRESS]:PORT`, each with `/TCP` or `/UDP` behind it if only
/// those are meant, as the log names services; or `fwmark:MARK`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceFilter {
    /// Those of an address, with any port and protocol if none is given.
    Address(IpAddr, Option<u16>, Option<Protocol>),
    /// Those of a firewall mark.
    Mark(u32),
}

impl ServiceFilter {
    /// Whether it is one of them.
    #[must_use]
    pub fn matches(self, name: ServiceName) -> bool {
        match (self, name) {
            (
                Self::Address(wanted, wanted_port, wanted_protocol),
                ServiceName::Address { protocol, address, port },
            ) => {
                wanted == address
                    && wanted_port.is_none_or(|wanted| wanted == port)
                    && wanted_protocol.is_none_or(|wanted| wanted == protocol)
            }
            (Self::Mark(wanted), ServiceName::Mark { mark, .. }) => wanted == mark,
            _ => false,
        }
    }
}

impl FromStr for ServiceFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(mark) = text.strip_prefix("fwmark:") {
            return mark
                .parse()
                .map(Self::Mark)
                .map_err(|_| format!("`{mark}` is no firewall mark"));
        }
        let (place, protocol) = match text.split_once('/') {
            Some((place, "TCP" | "tcp")) => (place, Some(Protocol::Tcp)),
            Some((place, "UDP" | "udp")) => (place, Some(Protocol::Udp)),
            _ => (text, None),
        };
        if let Ok(place) = place.parse::<SocketAddr>() {
            return Ok(Self::Address(place.ip(), Some(place.port()), protocol));
        }
        let bare = place.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        bare.unwrap_or(place).parse().map(|address| Self::Address(address, None, protocol)).map_err(
            |_| {
                "write ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, one of them with /TCP or /UDP, or fwmark:MARK"
                    .to_owned()
            },
        )
    }
}

impl fmt::Display for ServiceFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Address(address, port, protocol) => {
                match port {
                    Some(port) => write!(f, "{}", SocketAddr::new(address, port))?,
                    None => write!(f, "{address}")?,
                }
                protocol.map_or(Ok(()), |protocol| write!(f, "/{protocol}"))
            }
            Self::Mark(mark) => write!(f, "fwmark:{mark}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (text, shown) in [
            (r#"{"protocol":"TCP","address":"10.0.0.1","port":80}"#, "TCP 10.0.0.1:80"),
            (r#"{"protocol":"UDP","address":"fd00::1","port":0}"#, "UDP [fd00::1]:0"),
            (r#"{"mark":7,"family":"IPv6"}"#, "fwmark 7 IPv6"),
        ] {
            let name: ServiceName = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&name).unwrap(), text);
            assert_eq!(name.to_string(), shown);
        }
        assert!(serde_json::from_str::<ServiceName>(r#"{"mark":7}"#).is_err());
    }

    #[test]
    fn filters_take_addresses_with_and_without_port_and_marks() {
        let web = ServiceName::Address {
            protocol: Protocol::Tcp,
            address: "10.0.0.1".parse().unwrap(),
            port: 80,
        };
        let mark = ServiceName::Mark { mark: 7, family: Family::Ipv4 };
        for (text, of_web, of_mark) in [
            ("10.0.0.1", true, false),
            ("10.0.0.1:80", true, false),
            ("10.0.0.1:81", false, false),
            ("10.0.0.1:80/TCP", true, false),
            ("10.0.0.1/tcp", true, false),
            ("10.0.0.1:80/UDP", false, false),
            ("[fd00::1]", false, false),
            ("fwmark:7", false, true),
        ] {
            let filter: ServiceFilter = text.parse().unwrap();
            assert_eq!((filter.matches(web), filter.matches(mark)), (of_web, of_mark), "{text}");
        }
        for text in ["web:80", "fwmark:x", "10.0.0.1:80/SCTP", "10.0.0.1:80/", "/TCP"] {
            assert!(text.parse::<ServiceFilter>().is_err(), "{text}");
        }
        for text in ["10.0.0.1", "10.0.0.1:80/TCP", "[fd00::1]:53/UDP", "fwmark:7"] {
            assert_eq!(text.parse::<ServiceFilter>().unwrap().to_string(), text);
        }
    }
}
