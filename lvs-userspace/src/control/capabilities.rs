//! What the process may do, checked before anything is tried, so that the answer names what is missing.

use anyhow::bail;
use caps::{CapSet, Capability};
use tokio::task::spawn_blocking;

use crate::{config::Config, exit::Failure, health};

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

/// Fails if the configuration has scripts run as somebody whom this process cannot become.
pub(super) async fn check_scripts(config: &Config) -> Result<(), Failure> {
    if health::may_become_others() {
        return Ok(());
    }
    let config = config.clone();
    // Users may be looked up in the network.
    let found = spawn_blocking(move || health::scripts_of_others(&config)).await;
    let Some((script, user)) = found.map_err(anyhow::Error::new)?.into_iter().next() else {
        return Ok(());
    };
    Err(Failure::kernel(anyhow::anyhow!(
        "`{script}` is to run as the user {user}, for which CAP_SETUID, CAP_SETGID and CAP_KILL are missing; run as root, \
         give them to the service (systemd: AmbientCapabilities= and CapabilityBoundingSet=), or name the user that xlvs \
         runs as (`script_user`)"
    )))
}
