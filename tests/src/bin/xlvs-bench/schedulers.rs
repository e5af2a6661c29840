//! The schedulers, each with services of several sizes: all in one configuration, behind the case's own service, so
//! that all of them run in the same table one after the other.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::case::{Case, Family, Hook, Method, PORT, Protocol, SERVER_PORT};

/// Numbers of real servers.
pub(crate) const COUNTS: [u16; 4] = [2, 10, SOME, MANY];
/// Between these two it is worked out how costs grow.
pub(crate) const SOME: u16 = 100;
pub(crate) const MANY: u16 = 1_000;

/// What the case is; its service holds the connections that are there before.
pub(crate) const CASE: Case =
    Case { family: Family::V4, method: Method::Nat, protocol: Protocol::Tcp, hook: Hook::Xdp };

/// The balancer's address towards these servers.
const INSIDE: &str = "192.168.8.1/22";

/// One scheduler.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scheduler {
    pub(crate) name: &'static str,
    pub(crate) target: Target,
}

/// How many established packets a new connection may cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Target {
    /// Any number.
    None,
    /// So many, however many servers there are.
    Always(f64),
    /// So many, with up to so many servers.
    UpTo(u16, f64),
}

impl Target {
    /// The limit with so many servers.
    pub(crate) fn with(self, servers: u16) -> Option<f64> {
        match self {
            Self::Always(limit) => Some(limit),
            Self::UpTo(most, limit) if servers <= most => Some(limit),
            Self::UpTo(..) | Self::None => None,
        }
    }
}

/// All of IPVS's; those first that choose without a walk over the servers.
pub(crate) const ALL: [Scheduler; 14] = [
    of("rr", TABLE),
    of("wrr", TABLE),
    of("sh", TABLE),
    of("dh", TABLE),
    of("mh", TABLE),
    of("lc", WALK),
    of("wlc", WALK),
    of("sed", Target::None),
    of("nq", Target::None),
    of("fo", Target::None),
    of("ovf", Target::None),
    of("twos", Target::None),
    of("lblc", Target::None),
    of("lblcr", Target::None),
];
const TABLE: Target = Target::Always(6.0);
const WALK: Target = Target::UpTo(100, 15.0);

const fn of(name: &'static str, target: Target) -> Scheduler {
    Scheduler { name, target }
}

/// A service of a scheduler with so many servers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    pub(crate) scheduler: Scheduler,
    pub(crate) servers: u16,
    pub(crate) port: u16,
}

/// The services, in the order of the configuration.
pub(crate) fn services() -> impl Iterator<Item = Service> {
    let pairs = ALL.into_iter().flat_map(|scheduler| COUNTS.map(|servers| (scheduler, servers)));
    pairs.zip(PORT + 1..).map(|((scheduler, servers), port)| Service { scheduler, servers, port })
}

/// The configuration. Weights are 1 to 10 in turn. Those of ovf are capacities, and larger than the connections that
/// the servers have.
pub(crate) fn config() -> String {
    let mut text = CASE.config();
    let own = CASE.family.virtual_address();
    for Service { scheduler: Scheduler { name, .. }, servers, port } in services() {
        let unit = if name == "ovf" { 1_000 } else { 1 };
        let _ = writeln!(text, "virtual_server {own} {port} {{");
        let _ = writeln!(text, "    lb_algo {name}\n    lb_kind {}", CASE.method);
        let _ = writeln!(text, "    protocol {}", CASE.protocol);
        for (address, number) in addresses().zip(0..servers) {
            let weight = unit * (1 + number % 10);
            let _ = writeln!(text, "    real_server {address} {SERVER_PORT} {{ weight {weight} }}");
        }
        text.push_str("}\n");
    }
    text
}

/// How many active connections the services' servers have, in the order of the configuration: different ones and none
/// without any, as under traffic; so nq finds nobody idle and lblc asks each time whether another has too few.
pub(crate) fn active() -> Vec<u32> {
    let mut random = fastrand::Rng::with_seed(3);
    let servers = services().map(|service| usize::from(service.servers)).sum();
    std::iter::repeat_with(|| random.u32(100..200)).take(servers).collect()
}

/// The `ip` commands that make the servers neighbours.
pub(crate) fn links(side: &str) -> Vec<String> {
    let neighbours = addresses().zip(0..MANY).map(|(address, number)| {
        let [high, low] = number.to_be_bytes();
        format!(
            "neigh replace {address} lladdr 02:00:00:01:{high:02x}:{low:02x} dev {side} nud permanent"
        )
    });
    std::iter::once(format!("addr add {INSIDE} dev {side}")).chain(neighbours).collect()
}

/// The servers' addresses: the services share them.
fn addresses() -> impl Iterator<Item = IpAddr> {
    let first = Ipv4Addr::new(192, 168, 8, 2).to_bits();
    (first..).map(|bits| Ipv4Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use lvs_userspace::config::{self, Scheduler as Configured};
    use std::collections::HashSet;

    #[test]
    fn the_configuration_has_every_scheduler_and_number_of_servers() {
        let parsed =
            config::parse("bench", &config(), &config::Policy::default()).expect("no errors");
        let services = &parsed.config.services[1..];
        assert_eq!(services.len(), ALL.len() * COUNTS.len());
        let kinds: HashSet<Configured> = services.iter().map(|service| service.scheduler).collect();
        assert_eq!(kinds.len(), ALL.len());
        let servers: usize = services.iter().map(|service| service.real_servers.len()).sum();
        assert_eq!(servers, active().len());
    }

    #[test]
    fn targets_hold_as_far_as_they_say() {
        assert_eq!(TABLE.with(1_000), Some(6.0));
        assert_eq!([WALK.with(100), WALK.with(1_000)], [Some(15.0), None]);
        assert_eq!(Target::None.with(2), None);
    }
}
