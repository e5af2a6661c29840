//! Where the fields of the headers lie: offsets from the start of each header, taken from the layouts in
//! `network-types`.

use core::mem::offset_of;

use network_types::{
    eth::{EthHdr, EtherType},
    ip::{Ipv4Hdr, Ipv6Hdr},
    tcp::TcpHdr,
    udp::UdpHdr,
};

/// Length of an Ethernet header without tags.
pub const ETH_LEN: usize = EthHdr::LEN;
/// Destination MAC, followed by the source MAC.
pub const ETH_MACS: usize = offset_of!(EthHdr, dst_addr);
/// Protocol of the frame's payload.
pub const ETH_TYPE: usize = offset_of!(EthHdr, ether_type);
/// `ETH_TYPE` of IPv4 as it lies in memory.
pub const ETH_TYPE_IPV4: u16 = EtherType::Ipv4 as u16;
/// `ETH_TYPE` of IPv6 as it lies in memory.
pub const ETH_TYPE_IPV6: u16 = EtherType::Ipv6 as u16;
/// `ETH_TYPE` of a VLAN tag (802.1Q) as it lies in memory.
pub const ETH_TYPE_VLAN: u16 = 0x8100_u16.to_be();
/// `ETH_TYPE` of an outer VLAN tag (802.1ad) as it lies in memory.
pub const ETH_TYPE_QINQ: u16 = 0x88a8_u16.to_be();
/// Length of a VLAN tag: priority and VLAN id, then the type of what follows.
pub const VLAN_LEN: usize = 4;
/// Type of what follows a VLAN tag.
pub const VLAN_TYPE: usize = 2;

/// Length of an IPv4 header without options.
pub const IPV4_LEN: usize = Ipv4Hdr::LEN;
/// Version and header length.
pub const IPV4_VERSION: usize = offset_of!(Ipv4Hdr, vihl);
/// Type of service.
pub const IPV4_TOS: usize = offset_of!(Ipv4Hdr, tos);
/// Total length.
pub const IPV4_LENGTH: usize = offset_of!(Ipv4Hdr, tot_len);
/// Identification.
pub const IPV4_ID: usize = offset_of!(Ipv4Hdr, id);
/// Fragment flags and offset.
pub const IPV4_FRAGMENT: usize = offset_of!(Ipv4Hdr, frags);
/// Time to live.
pub const IPV4_TTL: usize = offset_of!(Ipv4Hdr, ttl);
/// Protocol of the payload.
pub const IPV4_PROTOCOL: usize = offset_of!(Ipv4Hdr, proto);
/// Header checksum.
pub const IPV4_CHECKSUM: usize = offset_of!(Ipv4Hdr, check);
/// Source address.
pub const IPV4_SOURCE: usize = offset_of!(Ipv4Hdr, src_addr);
/// Destination address.
pub const IPV4_DESTINATION: usize = offset_of!(Ipv4Hdr, dst_addr);
/// "More fragments" and the 13 bits of the fragment offset, in host order.
pub const IPV4_FRAGMENT_BITS: u16 = 0x3fff;
/// The 13 bits of the fragment offset, in host order.
pub const IPV4_OFFSET_BITS: u16 = 0x1fff;
/// "Don't fragment", in host order.
pub const IPV4_DONT_FRAGMENT: u16 = 0x4000;

/// Length of an IPv6 header.
pub const IPV6_LEN: usize = Ipv6Hdr::LEN;
/// Version, traffic class and flow label.
pub const IPV6_VERSION: usize = 0;
/// Length of all behind the header.
pub const IPV6_LENGTH: usize = 4;
/// Type of the next header.
pub const IPV6_NEXT: usize = 6;
/// Hop limit.
pub const IPV6_HOP_LIMIT: usize = 7;
/// Source address.
pub const IPV6_SOURCE: usize = offset_of!(Ipv6Hdr, src_addr);
/// Destination address.
pub const IPV6_DESTINATION: usize = offset_of!(Ipv6Hdr, dst_addr);
/// Length of a fragment header (RFC 8200 section 4.5).
pub const IPV6_FRAGMENT_LEN: usize = 8;
/// In it: offset in the upper 13 bits, "more fragments" in the lowest.
pub const IPV6_FRAGMENT_OFFSET: usize = 2;
/// In it: identification.
pub const IPV6_FRAGMENT_ID: usize = 4;
/// The 13 bits of the fragment offset, in host order.
pub const IPV6_OFFSET_BITS: u16 = 0xfff8;

/// Length of a TCP header without options.
pub const TCP_LEN: usize = TcpHdr::LEN;
/// Length of a UDP header.
pub const UDP_LEN: usize = UdpHdr::LEN;
/// Source port, in TCP and UDP.
pub const SOURCE_PORT: usize = offset_of!(TcpHdr, source);
/// Destination port, in TCP and UDP.
pub const DESTINATION_PORT: usize = offset_of!(TcpHdr, dest);
/// Length of the header in words, in the upper four bits.
pub const TCP_OFFSET: usize = 12;
/// The byte with the flags FIN (bit 0), SYN, RST, PSH, ACK, URG, ECE, CWR.
pub const TCP_FLAGS: usize = 13;
/// Checksum of TCP.
pub const TCP_CHECKSUM: usize = offset_of!(TcpHdr, check);
/// Checksum of UDP.
pub const UDP_CHECKSUM: usize = 6;

/// Length of the header of an ICMP error, over IPv4 and IPv6.
pub const ICMP_LEN: usize = 8;
/// Type.
pub const ICMP_TYPE: usize = 0;
/// Code.
pub const ICMP_CODE: usize = 1;
/// Checksum.
pub const ICMP_CHECKSUM: usize = 2;
/// For some types, the MTU of the next hop: 32 bits, of which IPv4 uses the lower 16.
pub const ICMP_MTU: usize = 4;

/// IP protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;
/// Header number of IPv6 fragments.
pub const PROTOCOL_FRAGMENT: u8 = 44;
/// IP protocol number of `ICMPv6`.
pub const PROTOCOL_ICMPV6: u8 = 58;
