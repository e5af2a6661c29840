//! The services of the balancer, as text.

use lvs_common::host::sample::{Kind, Method, SERVER_PORT, port};

use super::Place;

/// Services beside those of [`Kind`], each for TCP and UDP; the number is the last digit of the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Its server is behind a narrow way.
    Narrow = 3,
    /// Its server's MAC address is not known.
    Unresolved = 4,
    /// Its only server has weight 0.
    Empty = 5,
    /// With full NAT, it has no local addresses of its own.
    Own = 6,
}

impl Special {
    pub(super) const ALL: [Self; 4] = [Self::Narrow, Self::Unresolved, Self::Empty, Self::Own];

    pub(crate) const fn port(self, method: Method) -> u16 {
        port(method, Kind::Tcp) + self as u16
    }
}

/// The port of a service's servers. With full NAT each service has its own: the services take turns at the ports of
/// full NAT each for itself, and one that is taken makes the next choice random.
pub(crate) const fn server_port(method: Method, service: u16) -> u16 {
    match method {
        Method::Nat => SERVER_PORT,
        Method::FullNat => SERVER_PORT + service % 10,
    }
}

/// All services of a family.
pub(super) fn configuration<A: Place>() -> String {
    let group = format!("locals{}", A::VERSION);
    let locals = A::LOCALS.map(Place::text).join("\n");
    let mut blocks = vec![format!("local_address_group {group} {{\n{locals}\n}}")];
    let [first, second, third] = A::SERVERS;
    for method in [Method::Nat, Method::FullNat] {
        let locals = match method {
            Method::Nat => String::new(),
            Method::FullNat => format!("laddr_group_name {group}\n"),
        };
        for kind in Kind::ALL {
            let (protocol, option) = match kind {
                Kind::Tcp => ("TCP", ""),
                Kind::Persistent => ("TCP", "persistence_timeout 5000"),
                Kind::Udp => ("UDP", ""),
                Kind::OnePacket => ("UDP", "ops"),
            };
            let options = format!("protocol {protocol}\n{locals}{option}");
            let port = port(method, kind);
            let servers = [(first, 1), (second, 1), (third, 0)];
            let servers =
                servers.map(|(server, weight)| (server, server_port(method, port), weight));
            blocks.push(service(method, "rr", port, &options, &servers));
        }
        for special in Special::ALL {
            let (server, weight, locals) = match special {
                Special::Narrow => (A::NARROW_SERVER, 1, locals.as_str()),
                Special::Unresolved => (A::UNRESOLVED_SERVER, 1, locals.as_str()),
                Special::Empty => (first, 0, locals.as_str()),
                Special::Own => (first, 1, ""),
            };
            let port = special.port(method);
            let server = (server, server_port(method, port), weight);
            for protocol in ["TCP", "UDP"] {
                let options = format!("protocol {protocol}\n{locals}");
                blocks.push(service(method, "rr", port, &options, &[server]));
            }
        }
    }
    blocks.join("\n") + "\n"
}

/// A service of a family's virtual address, with the addresses, ports and weights of its servers.
pub(crate) fn service<A: Place>(
    method: Method,
    scheduler: &str,
    port: u16,
    options: &str,
    servers: &[(A, u16, u32)],
) -> String {
    let lb_kind = if method == Method::FullNat { "FNAT" } else { "NAT" };
    let vip = A::VIP.text();
    let servers: Vec<_> = servers
        .iter()
        .map(|(server, port, weight)| (server.text(), port, weight))
        .map(|(server, port, weight)| format!("real_server {server} {port} {{ weight {weight} }}"))
        .collect();
    format!(
        "virtual_server {vip} {port} {{\nlb_algo {scheduler}\nlb_kind {lb_kind}\n{options}\n{}\n}}\n",
        servers.join("\n")
    )
}
