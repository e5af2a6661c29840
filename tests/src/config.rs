//! The configuration file that the demo and many tests run, two servers behind one address, and the writing
//! of others.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// The example as a person writes it, with the spelling of the persistence line that one
/// vendor's guide uses.
pub const EXAMPLE: &str = "\
virtual_server 10.64.1.2 10000 {
  delay_loop 20
  lb_algo rr
  lb_kind NAT
  persistent_timeout 10
  protocol TCP
  real_server 192.168.1.100 8089 {
    weight 1
  }
  real_server 192.168.1.101 18089 {
    weight 1
  }
}
";

/// The example without its persistence line: requests in turn reach servers in turn.
#[must_use]
pub fn without_persistence() -> String {
    EXAMPLE.lines().filter(|line| !line.contains("persistent_timeout")).fold(
        String::new(),
        |mut text, line| {
            text.push_str(line);
            text.push('\n');
            text
        },
    )
}

/// How packets are rewritten.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Method {
    /// The server sees the client.
    Nat,
    /// The server sees an address of the balancer.
    FullNat,
}

/// What a service carries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A virtual service without persistence, served in turn.
#[derive(Clone, Debug)]
pub struct Service {
    /// Where clients send to.
    pub address: SocketAddr,
    /// What.
    pub protocol: Protocol,
    /// How it gets to the servers.
    pub method: Method,
    /// The name of the [group](local_group) that full NAT takes its addresses from.
    pub locals: Option<&'static str>,
    /// Where to.
    pub servers: Vec<SocketAddr>,
}

impl Service {
    /// A service of which full NAT has the address of the interface towards the server.
    #[must_use]
    pub fn new(
        protocol: Protocol,
        method: Method,
        address: SocketAddr,
        servers: &[SocketAddr],
    ) -> Self {
        Self { address, protocol, method, locals: None, servers: servers.to_vec() }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, protocol, method, locals, servers } = self;
        let kind = match method {
            Method::Nat => "NAT",
            Method::FullNat => "FNAT",
        };
        let protocol = match protocol {
            Protocol::Tcp => "TCP",
            Protocol::Udp => "UDP",
        };
        writeln!(f, "virtual_server {} {} {{", address.ip(), address.port())?;
        writeln!(f, "  lb_algo rr\n  lb_kind {kind}\n  protocol {protocol}")?;
        if let Some(name) = locals {
            writeln!(f, "  laddr_group_name {name}")?;
        }
        for server in servers {
            writeln!(f, "  real_server {} {} {{", server.ip(), server.port())?;
            writeln!(f, "    weight 1\n  }}")?;
        }
        writeln!(f, "}}")
    }
}

/// A group of addresses for full NAT.
#[must_use]
pub fn local_group(name: &str, addresses: &[IpAddr]) -> String {
    let lines =
        addresses.iter().fold(String::new(), |lines, address| lines + &format!("  {address}\n"));
    format!("local_address_group {name} {{\n{lines}}}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_persistence_line_goes() {
        assert_eq!(without_persistence().lines().count() + 1, EXAMPLE.lines().count());
        assert!(!without_persistence().contains("persist"));
    }

    #[test]
    fn a_service_is_written_as_keepalived_reads_it() {
        let address = "[fd00::2]:53".parse().unwrap();
        let mut service = Service::new(Protocol::Udp, Method::FullNat, address, &[address]);
        service.locals = Some("two");
        assert_eq!(
            service.to_string(),
            "virtual_server fd00::2 53 {\n  lb_algo rr\n  lb_kind FNAT\n  protocol UDP\n  \
             laddr_group_name two\n  real_server fd00::2 53 {\n    weight 1\n  }\n}\n"
        );
        let addresses = ["10.0.0.1", "10.0.0.2"].map(|address| address.parse().unwrap());
        assert_eq!(
            local_group("two", &addresses),
            "local_address_group two {\n  10.0.0.1\n  10.0.0.2\n}\n"
        );
    }
}
