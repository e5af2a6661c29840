//! What a driver can do with XDP: from the kernel where it says so (Linux 6.3 and newer), else from what is known of drivers.

use crate::doctor::facts::Interface;

/// Flags of `netdev_xdp_act` in `uapi/linux/netdev.h`: programs run, frames are redirected, frames redirected here are
/// sent, frames may be in pieces.
pub(crate) const BASIC: u64 = 1;
pub(crate) const REDIRECT: u64 = 1 << 1;
pub(crate) const NDO_XMIT: u64 = 1 << 2;
pub(crate) const RX_SG: u64 = 1 << 5;

/// Drivers with `XDP_SETUP_PROG` in Linux 6.1 that also redirect; by the names of their modules.
const NATIVE: [&str; 32] = [
    "atlantic",
    "bnxt_en",
    "cpsw",
    "dpaa2-eth",
    "dpaa-eth",
    "ena",
    "fsl_enetc",
    "fsl_enetc_vf",
    "hv_netvsc",
    "i40e",
    "ice",
    "igb",
    "igc",
    "ixgbe",
    "ixgbevf",
    "lan966x-switch",
    "mlx4_en",
    "mlx5_core",
    "mtk_soc_eth",
    "mvneta",
    "mvpp2",
    "mana",
    "nfp",
    "qede",
    "rvu_nicpf",
    "sfc",
    "stmmac",
    "thunder-nic",
    "tsnep",
    "tun",
    "virtio_net",
    "vif",
];

/// Whether native XDP can be attached there, and redirects; `None` where that is not known.
pub(crate) fn native(interface: &Interface) -> Option<bool> {
    if let Some(features) = interface.xdp_features {
        return Some(features & (BASIC | REDIRECT) == BASIC | REDIRECT);
    }
    if let Some(driver) = &interface.driver {
        return NATIVE.contains(&driver.as_str()).then_some(true);
    }
    match interface.kind.as_deref()? {
        "veth" | "bond" | "tun" => Some(true),
        "bridge" | "vlan" | "macvlan" | "ipvlan" | "dummy" | "vxlan" | "ifb" | "vrf" => Some(false),
        _ => None,
    }
}

/// Whether frames may come in pieces, as those of a large MTU do; `None` where that is not known.
pub(crate) fn takes_pieces(interface: &Interface) -> Option<bool> {
    interface.xdp_features.map(|features| features & RX_SG != 0)
}

/// Whether native XDP can send out of there at the moment; `None` where that is not known. On most devices this is so
/// only while a program is attached.
pub(crate) fn transmits(interface: &Interface) -> Option<bool> {
    interface.xdp_features.map(|features| features & NDO_XMIT != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_knows_better_than_the_table() {
        let mut interface = Interface { driver: Some("ice".to_owned()), ..Interface::default() };
        assert_eq!(native(&interface), Some(true));
        interface.xdp_features = Some(0);
        assert_eq!(native(&interface), Some(false));
        interface = Interface { driver: Some("e1000e".to_owned()), ..Interface::default() };
        assert_eq!(native(&interface), None);
        interface = Interface { kind: Some("vlan".to_owned()), ..Interface::default() };
        assert_eq!(native(&interface), Some(false));
    }
}
