//! Offloads that do not go with XDP, or with forwarding. Names are the kernel's, as `ethtool -k` has them below its own.

use crate::{
    bpf::Mode,
    doctor::{
        facts::{Facts, Interface},
        finding::Finding,
    },
};

/// Large receive offload: `NETIF_F_LRO`.
const LRO: &str = "rx-lro";
/// The same by the card, reversible: `NETIF_F_GRO_HW`.
const GRO_HW: &str = "rx-gro-hw";
/// Tags are taken out of frames: `NETIF_F_HW_VLAN_CTAG_RX`.
const RX_VLAN: &str = "rx-vlan-hw-parse";
/// Checksums are left to the card: `NETIF_F_HW_CSUM`.
const TX: &str = "tx-checksum-ip-generic";

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mode = facts.expected_mode();
    let mut findings = Vec::new();
    for interface in &facts.interfaces {
        findings.extend(lro(interface, mode));
        findings.extend(gro_hw(interface, mode));
        findings.extend(rx_vlan(interface, mode));
        findings.extend(open_checksums(interface, mode));
    }
    findings
}

fn lro(interface: &Interface, mode: Mode) -> Option<Finding> {
    if !interface.features.contains(LRO) {
        return None;
    }
    let name = &interface.name;
    let why = match mode {
        // generic_xdp_install() in net/core/dev.c.
        Mode::Generic => return None,
        Mode::Tc => {
            "Joined segments lose their sizes, and the kernel drops them when they are forwarded."
        }
        _ => {
            "Drivers refuse native XDP while segments are joined, or deliver frames that are too long."
        }
    };
    Some(
        Finding::problem("lro", "large receive offload is on")
            .about(name.clone())
            .why(why)
            .mend(format!("ethtool -K {name} lro off")),
    )
}

fn gro_hw(interface: &Interface, mode: Mode) -> Option<Finding> {
    (mode == Mode::Native && interface.features.contains(GRO_HW)).then(|| {
        let name = &interface.name;
        Finding::warning("gro-hw", "the card joins segments (rx-gro-hw)")
            .about(name.clone())
            .why("Drivers refuse native XDP while it is on, or turn it off by themselves.")
            .mend(format!("ethtool -K {name} rx-gro-hw off"))
    })
}

fn rx_vlan(interface: &Interface, mode: Mode) -> Option<Finding> {
    let xdp = matches!(mode, Mode::Native | Mode::Generic);
    (xdp && !interface.vlans.is_empty() && interface.features.contains(RX_VLAN)).then(|| {
        let name = &interface.name;
        Finding::warning(
            "vlan-tags",
            "the card takes VLAN tags out of frames (rxvlan), and there are VLAN devices",
        )
        .about(name.clone())
        .why("XDP does not see such tags: a tagged frame looks like an untagged one.")
        .mend(format!("ethtool -K {name} rxvlan off"))
    })
}

/// Whoever sends on the other end of a veth may leave checksums and segmentation to a card that does not exist, which XDP
/// cannot make up for.
fn open_checksums(interface: &Interface, mode: Mode) -> Option<Finding> {
    if !interface.is("veth") || !matches!(mode, Mode::Native | Mode::Generic) {
        return None;
    }
    let why = "XDP cannot finish checksums or cut segments: what a sender on this host leaves open is lost on its way.";
    match &interface.peer {
        Some(peer) if peer.features.contains(TX) => Some(
            Finding::problem(
                "open-checksums",
                format!("the other end, `{}`, leaves checksums open", peer.name),
            )
            .about(interface.name.clone())
            .why(why)
            .mend(format!("ethtool -K {} tx off", peer.name)),
        ),
        Some(_) => None,
        None => Some(
            Finding::notice(
                "open-checksums",
                "the other end of this veth is in another namespace, and may leave checksums open",
            )
            .about(interface.name.clone())
            .why(why)
            .mend_on("the other end", "ethtool -K IF tx off"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        facts::Peer,
        finding::Severity,
        rules::{one, said},
    };

    fn with(mode: Mode, feature: &'static str) -> impl FnOnce(&mut Facts) {
        move |facts| {
            facts.mode = mode;
            facts.interfaces[1].features.insert(feature.to_owned());
        }
    }

    #[test]
    fn lro_must_be_off_but_where_the_kernel_does_that() {
        for mode in [Mode::Auto, Mode::Native, Mode::Tc] {
            let found = one(check, with(mode, LRO));
            let command = "ethtool -K in lro off".to_owned();
            assert_eq!(found, ("lro", Severity::Problem, command), "{mode}");
        }
        assert!(said(check, with(Mode::Generic, LRO)).is_empty());
    }

    #[test]
    fn joining_by_the_card_is_for_tc_only() {
        let (name, severity, command) = one(check, with(Mode::Native, GRO_HW));
        assert_eq!((name, severity), ("gro-hw", Severity::Warning));
        assert_eq!(command, "ethtool -K in rx-gro-hw off");
        assert!(said(check, with(Mode::Tc, GRO_HW)).is_empty());
    }

    #[test]
    fn tags_must_stay_where_there_are_vlans() {
        assert!(said(check, with(Mode::Native, RX_VLAN)).is_empty());
        let (name, _, command) = one(check, |facts| {
            with(Mode::Native, RX_VLAN)(facts);
            facts.interfaces[1].vlans = vec!["in.7".to_owned()];
        });
        assert_eq!((name, command.as_str()), ("vlan-tags", "ethtool -K in rxvlan off"));
    }

    #[test]
    fn who_sends_over_a_veth_must_finish_checksums() {
        let veth = |mode, peer| {
            move |facts: &mut Facts| {
                facts.mode = mode;
                facts.interfaces[0].kind = Some("veth".to_owned());
                facts.interfaces[0].peer = peer;
            }
        };
        let peer = |features: &[&str]| {
            let features = features.iter().map(ToString::to_string).collect();
            Some(Peer { name: "c0".to_owned(), features })
        };
        let (_, severity, command) = one(check, veth(Mode::Generic, peer(&[TX])));
        assert_eq!((severity, command.as_str()), (Severity::Problem, "ethtool -K c0 tx off"));
        assert!(said(check, veth(Mode::Generic, peer(&[]))).is_empty());
        assert!(said(check, veth(Mode::Tc, peer(&[TX]))).is_empty());
        let (_, severity, _) = one(check, veth(Mode::Native, None));
        assert_eq!(severity, Severity::Notice);
    }
}
