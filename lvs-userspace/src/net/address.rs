//! The addresses of this host.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope},
};
use rtnetlink::Handle;

use super::{managed::is_managed, vlan_parents};

/// All addresses of the interfaces in this network namespace, and which of those have VLAN devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Addresses {
    vlan_parents: HashSet<u32>,
    all: HashSet<IpAddr>,
    /// Networks of interfaces: the address there, and the length of its prefix.
    networks: BTreeSet<(u32, IpAddr, u8)>,
    /// Those that xlvs has added itself, with their interfaces.
    managed: BTreeSet<(u32, IpAddr)>,
    /// By interface, whether it is IPv6: the first address that the host would speak under.
    own: HashMap<(u32, bool), IpAddr>,
}

impl Addresses {
    /// Reads them from the kernel.
    pub(crate) async fn read(netlink: &Handle) -> Result<Self, rtnetlink::Error> {
        let vlan_parents = vlan_parents(netlink).await?;
        let mut addresses = Self { vlan_parents, ..Self::default() };
        // Host addresses (/32, /128) are most often virtual ones; they come second.
        let mut second_choice = Vec::new();
        let mut messages = std::pin::pin!(netlink.address().get().execute());
        while let Some(message) = messages.try_next().await? {
            let Some(address) = local(&message) else { continue };
            addresses.all.insert(address);
            let index = message.header.index;
            if is_managed(&message) {
                addresses.managed.insert((index, address));
            } else {
                addresses.networks.insert((index, address, message.header.prefix_len));
            }
            if !speaks(&message) {
                continue;
            }
            let key = (message.header.index, address.is_ipv6());
            let whole = message.header.prefix_len == if address.is_ipv4() { 32 } else { 128 };
            if whole {
                second_choice.push((key, address));
            } else {
                addresses.own.entry(key).or_insert(address);
            }
        }
        for (key, address) in second_choice {
            addresses.own.entry(key).or_insert(address);
        }
        Ok(addresses)
    }

    /// Whether an address is this host's.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.all.contains(&address)
    }

    /// All of them.
    pub(crate) fn all(&self) -> BTreeSet<IpAddr> {
        self.all.iter().copied().collect()
    }

    /// Those that xlvs has added itself, with the indexes of their interfaces.
    pub(crate) const fn managed(&self) -> &BTreeSet<(u32, IpAddr)> {
        &self.managed
    }

    /// The length of the longest prefix of a network on an interface that an address belongs to, if there is one; the
    /// address alone is none.
    pub(crate) fn network_of(&self, interface: u32, address: IpAddr) -> Option<u8> {
        self.networks
            .iter()
            .filter(|(index, of, prefix)| *index == interface && same(*of, address, *prefix))
            .map(|(_, _, prefix)| *prefix)
            .filter(|prefix| *prefix < if address.is_ipv4() { 32 } else { 128 })
            .max()
    }

    /// Whether there are VLAN devices on an interface.
    pub(crate) fn has_vlans(&self, index: u32) -> bool {
        self.vlan_parents.contains(&index)
    }

    /// The IPv4 and the IPv6 address that this host speaks under on an interface.
    pub(crate) fn of_interface(&self, index: u32) -> ([u8; 4], [u8; 16]) {
        let four = match self.own.get(&(index, false)) {
            Some(IpAddr::V4(address)) => address.octets(),
            _ => [0; 4],
        };
        let six = match self.own.get(&(index, true)) {
            Some(IpAddr::V6(address)) => address.octets(),
            _ => [0; 16],
        };
        (four, six)
    }
}

/// Whether two addresses have the same prefix.
fn same(one: IpAddr, other: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= prefix
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            (one.to_bits() ^ other.to_bits()).leading_zeros() >= prefix
        }
        _ => false,
    }
}

/// The address in a message. On a point-to-point link `Address` is the other end and `Local` this one; IPv6 has
/// `Address` only, on other links.
pub(crate) fn local(message: &AddressMessage) -> Option<IpAddr> {
    let mut found = None;
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(address) => return Some(*address),
            AddressAttribute::Address(address) if message.header.family == AddressFamily::Inet6 => {
                found = Some(*address);
            }
            _ => {}
        }
    }
    found
}

/// Whether it is an address to speak under: global, primary, and not on its way in or out.
fn speaks(message: &AddressMessage) -> bool {
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let unfit = AddressFlags::Secondary
        | AddressFlags::Deprecated
        | AddressFlags::Tentative
        | AddressFlags::Dadfailed;
    message.header.scope == AddressScope::Universe
        && !flags.is_some_and(|flags| flags.intersects(unfit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_network_of_the_interface_counts() {
        let networks = [
            (1, "10.0.0.1", 8),
            (1, "10.64.1.1", 24),
            (2, "10.64.1.2", 32),
            (2, "fd00::1", 64),
            (3, "0.0.0.0", 0),
        ];
        let addresses = Addresses {
            networks: networks
                .iter()
                .map(|(index, of, prefix)| (*index, of.parse().unwrap(), *prefix))
                .collect(),
            ..Addresses::default()
        };
        for (interface, address, expected) in [
            (1, "10.64.1.2", Some(24)),
            (1, "10.65.1.2", Some(8)),
            (1, "11.65.1.2", None),
            (2, "10.64.1.2", None),
            (2, "fd00::2", Some(64)),
            (2, "fd00:1::2", None),
            (3, "192.0.2.1", Some(0)),
        ] {
            let found = addresses.network_of(interface, address.parse().unwrap());
            assert_eq!(found, expected, "{address} on {interface}");
        }
    }
}
