//! Names of hosts and ports, both ways, as the system's resolver has them.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use dns_lookup::{AddrInfoHints, SockType, getaddrinfo, getnameinfo};

use crate::config::Protocol;

/// Room for an address with its port, in characters.
const LONGEST: usize = 59;

/// What has been looked up, for a listing names the same again and again.
#[derive(Debug, Default)]
pub(super) struct Names {
    numeric: bool,
    hosts: HashMap<IpAddr, String>,
    ports: HashMap<(u16, Option<Protocol>), String>,
}

impl Names {
    /// Numbers instead, if so asked.
    pub(super) fn new(numeric: bool) -> Self {
        Self { numeric, ..Self::default() }
    }

    /// An address and a port of a protocol.
    pub(super) fn place(
        &mut self,
        address: IpAddr,
        port: u16,
        protocol: Option<Protocol>,
    ) -> String {
        let (host, port) = if self.numeric {
            (address.to_string(), port.to_string())
        } else {
            (self.host(address), self.port(port, protocol))
        };
        let mut text =
            if address.is_ipv4() { format!("{host}:{port}") } else { format!("[{host}]:{port}") };
        cut(&mut text, LONGEST);
        text
    }

    fn host(&mut self, address: IpAddr) -> String {
        let name = self.hosts.entry(address).or_insert_with(|| {
            let name =
                getnameinfo(&SocketAddr::new(address, 0), libc::NI_NAMEREQD | libc::NI_NUMERICSERV);
            name.map_or_else(|_| address.to_string(), |(host, _)| host)
        });
        name.clone()
    }

    /// Ports have names in a protocol only.
    fn port(&mut self, port: u16, protocol: Option<Protocol>) -> String {
        let name = self.ports.entry((port, protocol)).or_insert_with(|| {
            let flags = match protocol {
                Some(Protocol::Tcp) => libc::NI_NUMERICHOST,
                Some(Protocol::Udp) => libc::NI_NUMERICHOST | libc::NI_DGRAM,
                Some(Protocol::Sctp) | None => return port.to_string(),
            };
            let name = getnameinfo(&SocketAddr::from(([0, 0, 0, 0], port)), flags);
            name.map_or_else(|_| port.to_string(), |(_, port)| port)
        });
        name.clone()
    }
}

/// Shortens a text.
pub(super) fn cut(text: &mut String, longest: usize) {
    let end = text.char_indices().nth(longest).map_or(text.len(), |(at, _)| at);
    text.truncate(end);
}

/// The IPv4 address of a host: as `inet_aton` reads it, else by name.
pub(super) fn address_of(host: &str) -> Option<Ipv4Addr> {
    inet_aton(host).or_else(|| {
        let hints = AddrInfoHints { address: libc::AF_INET, ..AddrInfoHints::default() };
        let found = getaddrinfo(Some(host), None, Some(hints)).ok()?;
        found.filter_map(Result::ok).find_map(|info| match info.sockaddr.ip() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
    })
}

/// The number of a port that has a name.
pub(super) fn port_of(name: &str, protocol: Protocol) -> Option<u16> {
    if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let socket = match protocol {
        Protocol::Tcp => SockType::Stream,
        Protocol::Udp => SockType::DGram,
        Protocol::Sctp => return None,
    };
    let hints = AddrInfoHints {
        socktype: socket.into(),
        address: libc::AF_INET,
        ..AddrInfoHints::default()
    };
    let mut found = getaddrinfo(None, Some(name), Some(hints)).ok()?;
    found.find_map(|info| info.ok().map(|info| info.sockaddr.port()))
}

/// One to four numbers, decimal, octal or hexadecimal, of which the last fills what is left.
fn inet_aton(text: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u32> = text.split('.').map(part).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) {
        return None;
    }
    let bits_left = 8 * (4 - first.len() as u32);
    if u64::from(*last) >> bits_left != 0 {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]).fold(0, |sum, (part, shift)| sum | part << shift);
    Some(Ipv4Addr::from(high | last))
}

fn part(text: &str) -> Option<u32> {
    // `from_str_radix` would take a sign.
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return hex
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit())
            .then(|| u32::from_str_radix(hex, 16).ok())
            .flatten();
    }
    let radix = if text.len() > 1 && text.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(text, radix).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_inet_aton_does() {
        for (text, address) in [
            ("10.0.0.1", Some([10, 0, 0, 1])),
            ("10.1", Some([10, 0, 0, 1])),
            ("10.1.2", Some([10, 1, 0, 2])),
            ("1", Some([0, 0, 0, 1])),
            ("0x7f.1", Some([127, 0, 0, 1])),
            ("010.0.0.1", Some([8, 0, 0, 1])),
            ("1.2.3.4.5", None),
            ("256.1.1.1", None),
            ("1.2.3.256", None),
            ("1.2.3.-4", None),
            ("", None),
            ("a.b", None),
        ] {
            assert_eq!(inet_aton(text), address.map(Ipv4Addr::from), "{text}");
        }
    }

    #[test]
    fn numbers_are_shown_where_they_are_wanted() {
        let mut names = Names::new(true);
        let tcp = Some(Protocol::Tcp);
        assert_eq!(names.place("10.0.0.1".parse().unwrap(), 80, tcp), "10.0.0.1:80");
        assert_eq!(names.place("fd00::1".parse().unwrap(), 80, tcp), "[fd00::1]:80");
        let mut long = "x".repeat(80);
        cut(&mut long, 28);
        assert_eq!(long.len(), 28);
    }
}
