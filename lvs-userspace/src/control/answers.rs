//! Which addresses of a configuration nobody on this host answers ARP requests or neighbour solicitations for: for the
//! controller, which says so, and for the doctor.

use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    config::{Config, MarkMatch, Target},
    net,
};

/// The virtual addresses of the services, and of those with a mark the single ones that carry it; not whole ranges, which are
/// rather routed here.
pub(crate) fn virtual_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let targets = config.services.iter().map(|service| service.target);
    let own = targets.filter_map(|target| match target {
        Target::Address { address, .. } => Some(address),
        Target::Mark(_) => None,
    });
    let single = marked(config).map(|line| line.addresses).filter(|range| range.count() == 1);
    own.chain(single.map(|range| range.first())).collect()
}

/// Those that clients use of services of a mark, as far as they are many: single ones are virtual addresses like others.
pub(crate) fn marked_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let single = virtual_addresses(config);
    let all = marked(config).flat_map(|line| line.addresses.iter());
    all.filter(|address| !single.contains(address)).collect()
}

/// The lines of `fwmark_match` whose mark a service has.
fn marked(config: &Config) -> impl Iterator<Item = &MarkMatch> {
    let targets = config.services.iter().map(|service| service.target);
    let used: BTreeSet<u32> = targets
        .filter_map(|target| match target {
            Target::Address { .. } => None,
            Target::Mark(mark) => Some(mark),
        })
        .collect();
    config.marks.iter().filter(move |line| used.contains(&line.mark))
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

    #[test]
    fn single_addresses_that_carry_a_mark_are_virtual_ones() {
        let text = "fwmark_match 7 {\n  192.0.2.7 80 TCP\n  192.0.2.16-23 80\n}\n\
             fwmark_match 8 {\n  192.0.2.8 80\n}\n\
             virtual_server fwmark 7 {\n  lb_algo rr\n  real_server 10.0.0.1 80 {\n  }\n}\n\
             virtual_server 192.0.2.1 80 {\n  lb_algo rr\n  protocol TCP\n  real_server 10.0.0.1 80 {\n  }\n}\n";
        let config =
            crate::config::parse("test", text, &crate::config::Policy::default()).unwrap().config;
        let expected = ["192.0.2.1", "192.0.2.7"].map(|address| address.parse().unwrap());
        assert_eq!(virtual_addresses(&config), expected.into());
    }
}
