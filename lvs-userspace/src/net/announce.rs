//! Telling the neighbours on a link that an address is here: a gratuitous ARP (an announcement of RFC 5227, section 3), or an
//! unsolicited neighbour advertisement (RFC 4861, section 7.2.6).

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use etherparse::{
    ArpHardwareId, ArpOperation, ArpPacket, EtherType, Icmpv6Type, PacketBuilder,
    icmpv6::NeighborAdvertisementHeader,
};

use super::Interface;
use crate::bpf::frame_socket;

/// All nodes on the link: the group, and the MAC address of its packets.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: [u8; 6] = [0x33, 0x33, 0, 0, 0, 1];
/// What a neighbour advertisement must have, or it is not believed.
const HOP_LIMIT: u8 = 255;
/// The option "target link-layer address" of a MAC address: type, and length in units of eight bytes.
const TARGET_ADDRESS: [u8; 2] = [2, 1];

/// Announces addresses once on the link of an interface. Needs `CAP_NET_RAW`. To close the socket takes the kernel some ten
/// milliseconds (`packet_release` waits for a grace period of RCU), so that all have one.
pub(crate) fn announce(interface: &Interface, addresses: &[IpAddr]) -> io::Result<()> {
    let socket = frame_socket(interface.index)?;
    let router = interface.forwards("ipv6") == Some(true);
    for address in addresses {
        let frame = match address {
            IpAddr::V4(address) => gratuitous_arp(interface.mac, *address)?,
            IpAddr::V6(address) => unsolicited_advertisement(interface.mac, *address, router)?,
        };
        socket.send(&frame)?;
    }
    Ok(())
}

fn gratuitous_arp(mac: [u8; 6], address: Ipv4Addr) -> io::Result<Vec<u8>> {
    let address = address.octets();
    let arp = ArpPacket::new(
        ArpHardwareId::ETHERNET,
        EtherType::IPV4,
        ArpOperation::REQUEST,
        &mac,
        &address,
        &[0; 6],
        &address,
    );
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac, [0xff; 6])
        .arp(arp.map_err(io::Error::other)?)
        .write(&mut frame)
        .map_err(io::Error::other)?;
    Ok(frame)
}

fn unsolicited_advertisement(mac: [u8; 6], address: Ipv6Addr, router: bool) -> io::Result<Vec<u8>> {
    let header = NeighborAdvertisementHeader { router, solicited: false, r#override: true };
    let body = [address.octets().as_slice(), &TARGET_ADDRESS, &mac].concat();
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(mac, ALL_NODES_MAC)
        .ipv6(address.octets(), ALL_NODES.octets(), HOP_LIMIT)
        .icmpv6(Icmpv6Type::NeighborAdvertisement(header))
        .write(&mut frame, &body)
        .map_err(io::Error::other)?;
    Ok(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

    #[test]
    fn a_gratuitous_arp_asks_everybody_for_the_address_itself() {
        let frame = gratuitous_arp(MAC, Ipv4Addr::new(10, 64, 1, 2)).unwrap();
        let expected = [
            [0xff; 6].as_slice(),
            &MAC,
            &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
            &MAC,
            &[10, 64, 1, 2],
            &[0; 6],
            &[10, 64, 1, 2],
        ]
        .concat();
        assert_eq!(frame, expected);
    }

    #[test]
    fn an_advertisement_overrides_and_is_unsolicited() {
        let address = "fd00:64::2".parse().unwrap();
        for (router, flags) in [(false, 0x20), (true, 0xa0)] {
            let frame = unsolicited_advertisement(MAC, address, router).unwrap();
            assert_eq!(frame.len(), 14 + 40 + 32);
            assert_eq!(frame[..14], [ALL_NODES_MAC.as_slice(), &MAC, &[0x86, 0xdd]].concat());
            // Payload length, next header, hop limit.
            assert_eq!(frame[18..22], [0, 32, 58, 255]);
            assert_eq!((frame[54], frame[55], frame[58]), (136, 0, flags));
            assert_eq!(frame[62..78], address.octets());
            assert_eq!(frame[78..], [TARGET_ADDRESS.as_slice(), &MAC].concat());
        }
    }
}
