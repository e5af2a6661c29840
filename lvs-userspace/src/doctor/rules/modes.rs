//! Whether the interfaces can do what the mode asks of them.

use super::drivers::{native, takes_pieces, transmits};
use crate::{
    bpf::Mode,
    doctor::{
        facts::{Facts, Interface},
        finding::{Finding, some},
    },
};

/// The largest MTU of which a frame fits into a page of 4,096 bytes beside the headroom (256) and the kernel's note
/// about it (320), with Ethernet header and two VLAN tags: what most drivers bound XDP by.
const LARGEST_WHOLE: u32 = 3498;

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    if facts.interfaces.is_empty() {
        return Vec::new();
    }
    let mode = facts.expected_mode();
    let mut findings = vec![which(facts, mode)];
    for interface in &facts.interfaces {
        if mode == Mode::Native {
            findings.extend(mtu(interface));
            findings.extend(other_end(interface));
        }
        findings.extend(vlans(facts, interface));
    }
    findings
}

fn which(facts: &Facts, mode: Mode) -> Finding {
    let not_native: Vec<&Interface> =
        facts.interfaces.iter().filter(|one| native(one) == Some(false)).collect();
    let names = some(not_native.iter().map(|interface| format!("`{}`", interface.name)));
    if mode == Mode::Native && !not_native.is_empty() {
        return Finding::problem("xdp-mode", format!("native XDP cannot be done on {names}"))
            .why("`xlvs run --mode native` does not start.")
            .mend(facts.run_command(Mode::Auto, None));
    }
    if facts.mode == Mode::Auto && mode != Mode::Native {
        let veths: Vec<&Interface> =
            facts.interfaces.iter().filter(|interface| interface.is("veth")).collect();
        let reason = if veths.is_empty() {
            format!("native XDP cannot be done on {names}")
        } else {
            let names = some(veths.iter().map(|one| format!("`{}`", one.name)));
            format!("native XDP needs the other end of a veth prepared ({names})")
        };
        return Finding::notice("xdp-mode", format!("mode auto takes tc: {reason}"))
            .why("It does the same one step later, and takes more of the CPU for each packet.");
    }
    Finding::ok("xdp-mode", mode.to_string())
}

fn mtu(interface: &Interface) -> Option<Finding> {
    let Interface { name, mtu, .. } = interface;
    let whole = takes_pieces(interface) == Some(true) || interface.is("veth");
    (*mtu > LARGEST_WHOLE && !whole).then(|| {
        Finding::warning("mtu", format!("MTU {mtu}, and its driver does not take frames in pieces"))
            .about(name.clone())
            .why("Most drivers then refuse native XDP with an MTU above 3498, where a frame has a page for itself.")
            .mend(format!("ip link set dev {name} mtu {LARGEST_WHOLE}"))
    })
}

/// A veth takes frames that were redirected to it only if its other end has GRO on or an XDP program. The kernel tells by
/// a flag of this end: `veth_set_xdp_features()` in `drivers/net/veth.c`.
fn other_end(interface: &Interface) -> Option<Finding> {
    if !interface.is("veth") || transmits(interface) != Some(false) {
        return None;
    }
    let name = &interface.name;
    let finding =
        Finding::problem("veth-peer", "the other end of this veth is not prepared for native XDP")
            .about(name.clone())
            .why("Frames that are redirected out of this end are lost without a word.");
    Some(match &interface.peer {
        Some(peer) => finding.mend(format!("ethtool -K {} gro on", peer.name)),
        None => finding.mend_on("the other end", "ethtool -K IF gro on"),
    })
}

fn vlans(facts: &Facts, interface: &Interface) -> Option<Finding> {
    let devices = super::interfaces::vlans(interface)?;
    let name = &interface.name;
    let options: Vec<String> =
        interface.vlans.iter().map(|device| format!(" --interface {device}")).collect();
    let found = format!("it has the VLAN devices {devices}");
    Some(
        Finding::notice("vlan-devices", found)
            .about(name.clone())
            .why("Tagged frames pass to those devices; to balance what comes in there, attach to them.")
            .look(facts.xlvs(&format!("doctor{}", options.concat()))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        facts::Peer,
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn native_must_be_possible() {
        let (name, severity, _) = one(check, |facts| {
            facts.mode = Mode::Native;
            facts.interfaces[0].xdp_features = Some(0);
        });
        assert_eq!((name, severity), ("xdp-mode", Severity::Problem));
        let findings = said(check, |facts| facts.interfaces[0].xdp_features = Some(0));
        assert_eq!(findings[0].severity, Severity::Notice);
        assert!(findings[0].found.contains("takes tc"), "{findings:?}");
    }

    #[test]
    fn jumbo_frames_must_come_in_pieces() {
        let found = one(check, |facts| {
            facts.interfaces[0].mtu = 9000;
            facts.interfaces[0].xdp_features = Some(3);
        });
        let command = "ip link set dev out mtu 3498".to_owned();
        assert_eq!(found, ("mtu", Severity::Warning, command));
        assert!(said(check, |facts| facts.interfaces[0].mtu = 9000).is_empty());
    }

    #[test]
    fn the_other_end_of_a_veth_must_be_prepared() {
        let veth = |facts: &mut Facts| {
            facts.mode = Mode::Native;
            let one = &mut facts.interfaces[0];
            (one.kind, one.driver) = (Some("veth".to_owned()), None);
            one.xdp_features = Some(3);
        };
        let findings = said(check, veth);
        let [finding] = findings.as_slice() else { panic!("{findings:?}") };
        assert_eq!((finding.name, finding.severity), ("veth-peer", Severity::Problem));
        assert_eq!(finding.commands[0].on.as_deref(), Some("the other end"));
        let (_, _, command) = one(check, |facts| {
            veth(facts);
            let peer = Peer { name: "veth1".to_owned(), ..Peer::default() };
            facts.interfaces[0].peer = Some(peer);
        });
        assert_eq!(command, "ethtool -K veth1 gro on");
    }

    #[test]
    fn vlan_devices_are_what_to_attach_to() {
        let (name, severity, command) =
            one(check, |facts| facts.interfaces[0].vlans = vec!["out.10".to_owned()]);
        assert_eq!((name, severity), ("vlan-devices", Severity::Notice));
        assert_eq!(command, "xlvs doctor --interface out.10");
    }
}
