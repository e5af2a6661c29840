//! What the process may do, checked before anything is tried, so that the answer names what is missing.

use anyhow::bail;
use caps::{CapSet, Capability};

/// What is needed, and for what.
const NEEDED: [(Capability, &str); 3] = [
    (Capability::CAP_BPF, "to load the BPF program and its maps"),
    (Capability::CAP_NET_ADMIN, "to attach it to interfaces"),
    (Capability::CAP_PERFMON, "because the program does arithmetic with packet pointers"),
];

/// The capabilities that this process lacks, each with what it is for.
pub(crate) fn missing() -> anyhow::Result<Vec<(Capability, &'static str)>> {
    let held = caps::read(None, CapSet::Effective)?;
    // CAP_SYS_ADMIN implies the two capabilities that were split off from it in Linux 5.8.
    let admin = held.contains(&Capability::CAP_SYS_ADMIN);
    let lacking = |(capability, _): &(Capability, &str)| {
        let implied = admin && *capability != Capability::CAP_NET_ADMIN;
        !implied && !held.contains(capability)
    };
    Ok(NEEDED.into_iter().filter(lacking).collect())
}

/// Fails with the names of the missing capabilities.
pub(super) fn check() -> anyhow::Result<()> {
    let missing: Vec<String> =
        missing()?.iter().map(|(capability, what)| format!("{capability} ({what})")).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!(
        "missing {}: {}; run as root, or give them to the service \
         (systemd: AmbientCapabilities=CAP_BPF CAP_NET_ADMIN CAP_PERFMON)",
        if missing.len() == 1 { "capability" } else { "capabilities" },
        missing.join(", ")
    )
}
