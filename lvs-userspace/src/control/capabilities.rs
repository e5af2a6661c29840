//! What the process may do, checked before anything is tried, so that the answer names what is missing.

use anyhow::{anyhow, bail};
use caps::{CapSet, Capability};
use tokio::task::spawn_blocking;

use crate::{
    config::{Check, Config, Family, RealServer},
    exit::Failure,
    health, net,
};

/// What is needed, and for what.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_BPF, "to load the BPF program and its maps"),
    (Capability::CAP_NET_ADMIN, "to attach it to interfaces"),
    (Capability::CAP_PERFMON, "because the program does arithmetic with packet pointers"),
];

/// What `--manage-vips` needs beside.
const ANNOUNCE: (Capability, &str) =
    (Capability::CAP_NET_RAW, "to announce virtual addresses, for --manage-vips");

/// The capabilities that this process lacks, each with what it is for.
pub(crate) fn missing(manage_vips: bool) -> anyhow::Result<Vec<(Capability, &'static str)>> {
    let held = caps::read(None, CapSet::Effective)?;
    // CAP_SYS_ADMIN implies the two capabilities that were split off from it in Linux 5.8.
    let admin = held.contains(&Capability::CAP_SYS_ADMIN);
    let implied =
        |capability| admin && matches!(capability, Capability::CAP_BPF | Capability::CAP_PERFMON);
    let needed = NEEDED.into_iter().chain(manage_vips.then_some(ANNOUNCE));
    Ok(needed
        .filter(|(capability, _)| !implied(*capability) && !held.contains(capability))
        .collect())
}

/// Fails with the names of the missing capabilities.
pub(super) fn check(manage_vips: bool) -> anyhow::Result<()> {
    let missing: Vec<String> = missing(manage_vips)?
        .iter()
        .map(|(capability, what)| format!("{capability} ({what})"))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing {}: {}; run as root, or give them to the service \
         (systemd: AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON CAP_NET_RAW)",
        if missing.len() == 1 { "capability" } else { "capabilities" },
        missing.join(", ")
    )
}

/// Fails if the configuration has health checks or scripts that this process can never make or run: they would say nothing
/// of their servers, which would so stay up for ever.
pub(super) async fn check_health(config: &Config) -> Result<(), Failure> {
    check_pings(config)?;
    check_ports(config)?;
    check_scripts(config).await
}

/// `PING_CHECK` needs a socket for it, which the kernel gives to some groups, or a raw one.
fn check_pings(config: &Config) -> Result<(), Failure> {
    let pings = checks(config).filter_map(|(server, check)| match check {
        Check::Ping(connection) => Some((server, connection.address)),
        _ => None,
    });
    // One of each family: there may be very many.
    let mut first: [Option<&RealServer>; 2] = [None, None];
    for (server, address) in pings {
        let [four, six] = &mut first;
        let of_family = if address.is_ipv4() { four } else { six };
        of_family.get_or_insert(server);
    }
    for (server, family) in first.into_iter().zip([Family::Ipv4, Family::Ipv6]) {
        if let Some(server) = server
            && !health::may_ping(family)
        {
            return Err(Failure::kernel(anyhow!(
                "the PING_CHECK of the real server {} can never be made: CAP_NET_RAW is missing, and \
                 net.ipv4.ping_group_range leaves out the group that xlvs runs as; run as root, give CAP_NET_RAW to the \
                 service (systemd: AmbientCapabilities= and CapabilityBoundingSet=), or \
                 `sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`",
                server.address
            )));
        }
    }
    Ok(())
}

/// `bind_port` may be one that is for some only.
fn check_ports(config: &Config) -> Result<(), Failure> {
    let held = caps::read(None, CapSet::Effective).map_err(anyhow::Error::new)?;
    if held.contains(&Capability::CAP_NET_BIND_SERVICE) {
        return Ok(());
    }
    let first = net::first_unprivileged_port();
    let bound = checks(config).find_map(|(server, check)| {
        let ports = check.connections().iter().filter_map(|connection| connection.bind_port);
        Some((server, check, ports.min().filter(|port| *port < first)?))
    });
    let Some((server, check, port)) = bound else { return Ok(()) };
    Err(Failure::kernel(anyhow!(
        "the {} of the real server {} can never be made: its `bind_port {port}` is below {first} \
         (net.ipv4.ip_unprivileged_port_start), and CAP_NET_BIND_SERVICE is missing; run as root, give it to the service \
         (systemd: AmbientCapabilities= and CapabilityBoundingSet=), or take a higher port",
        check.keyword(),
        server.address
    )))
}

/// All checks, each with its real server.
fn checks(config: &Config) -> impl Iterator<Item = (&RealServer, &Check)> {
    let servers = config.services.iter().flat_map(|service| service.real_servers.iter());
    servers.flat_map(|server| server.checkers.iter().map(move |checker| (server, &checker.check)))
}

/// Fails if the configuration has scripts run as somebody whom this process cannot become.
async fn check_scripts(config: &Config) -> Result<(), Failure> {
    if health::may_become_others() {
        return Ok(());
    }
    let config = config.clone();
    // Users may be looked up in the network.
    let found = spawn_blocking(move || health::scripts_of_others(&config)).await;
    let Some((script, user)) = found.map_err(anyhow::Error::new)?.into_iter().next() else {
        return Ok(());
    };
    Err(Failure::kernel(anyhow!(
        "`{script}` is to run as the user {user}, for which CAP_SETUID, CAP_SETGID and CAP_KILL are missing; run as root, \
         give them to the service (systemd: AmbientCapabilities= and CapabilityBoundingSet=), or name the user that xlvs \
         runs as (`script_user`)"
    )))
}
