//! Which addresses of a configuration nobody on this host answers ARP requests or neighbour solicitations for: for the
//! controller, which says so, and for the doctor.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    config::{Config, Target},
    net,
};

/// The virtual addresses of the services; not those that carry marks, which may be whole networks.
pub(crate) fn virtual_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let targets = config.services.iter().map(|service| service.target);
    targets
        .filter_map(|target| match target {
            Target::Address { address, .. } => Some(address),
            Target::Mark(_) => None,
        })
        .collect()
}

/// Those that clients use of services of a mark: in the lines of `fwmark_match` that a service has the mark of.
pub(crate) fn marked_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let used: BTreeSet<u32> = config
        .services
        .iter()
        .filter_map(|service| match service.target {
            Target::Address { .. } => None,
            Target::Mark(mark) => Some(mark),
        })
        .collect();
    let lines = config.marks.iter().filter(|line| used.contains(&line.mark));
    lines.flat_map(|line| line.addresses.iter()).collect()
}

/// Those that full NAT speaks under.
pub(crate) fn local_addresses(config: &Config) -> BTreeSet<IpAddr> {
    config.services.iter().flat_map(|service| &service.local_addresses).copied().collect()
}

/// Those of the addresses that are neither this host's own, nor is there a local route to them.
pub(crate) async fn unanswered(
    mut wanted: BTreeSet<IpAddr>,
    is_own: impl Fn(IpAddr) -> bool,
) -> BTreeSet<IpAddr> {
    wanted.retain(|address| !is_own(*address));
    // Where the kernel cannot be asked, the addresses are what is known.
    let ways = net::ways_to(wanted.iter().copied().collect()).await.unwrap_or_default();
    for (address, _) in ways.iter().filter(|(_, way)| matches!(way, Ok(None))) {
        wanted.remove(address);
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_routed_here_is_answered_for() {
        // Of loopback's network only one is an address; the others have a local route on each host.
        let wanted = ["127.0.0.1", "127.9.9.9", "192.0.2.77"].map(|text| text.parse().unwrap());
        let [own, routed, strange]: [IpAddr; 3] = wanted;
        let left = unanswered(wanted.into(), |address| address == own).await;
        assert!(!left.contains(&own) && !left.contains(&routed), "{left:?}");
        assert!(left.contains(&strange), "{left:?}");
    }
}
