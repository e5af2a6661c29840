//! Where the fields of the headers lie: offsets from the start of the frame (Ethernet, IPv4) and from
//! the start of the TCP header, taken from the layouts in `network-types`.

use core::mem::offset_of;

use network_types::{
    eth::{EthHdr, EtherType},
    ip::Ipv4Hdr,
    tcp::TcpHdr,
};

/// Start of the IPv4 header of an untagged frame.
pub const IPV4: usize = EthHdr::LEN;
/// End of an IPv4 header without options.
pub const IPV4_END: usize = IPV4 + Ipv4Hdr::LEN;
/// Length of a TCP header without options.
pub const TCP_LEN: usize = TcpHdr::LEN;

/// Destination MAC, followed by the source MAC.
pub const ETH_MACS: usize = offset_of!(EthHdr, dst_addr);
/// Protocol of the frame's payload.
pub const ETH_TYPE: usize = offset_of!(EthHdr, ether_type);
/// `ETH_TYPE` of IPv4 as it lies in memory.
pub const ETH_TYPE_IPV4: u16 = EtherType::Ipv4 as u16;

/// Version and header length.
pub const IPV4_VERSION: usize = IPV4 + offset_of!(Ipv4Hdr, vihl);
/// Type of service.
pub const IPV4_TOS: usize = IPV4 + offset_of!(Ipv4Hdr, tos);
/// Total length.
pub const IPV4_LENGTH: usize = IPV4 + offset_of!(Ipv4Hdr, tot_len);
/// Fragment flags and offset.
pub const IPV4_FRAGMENT: usize = IPV4 + offset_of!(Ipv4Hdr, frags);
/// Time to live.
pub const IPV4_TTL: usize = IPV4 + offset_of!(Ipv4Hdr, ttl);
/// Protocol of the payload.
pub const IPV4_PROTOCOL: usize = IPV4 + offset_of!(Ipv4Hdr, proto);
/// Header checksum.
pub const IPV4_CHECKSUM: usize = IPV4 + offset_of!(Ipv4Hdr, check);
/// Source address.
pub const IPV4_SOURCE: usize = IPV4 + offset_of!(Ipv4Hdr, src_addr);
/// Destination address.
pub const IPV4_DESTINATION: usize = IPV4 + offset_of!(Ipv4Hdr, dst_addr);
/// "More fragments" and the 13 bits of the fragment offset, in host order.
pub const IPV4_FRAGMENT_BITS: u16 = 0x3fff;

/// Source port.
pub const TCP_SOURCE: usize = offset_of!(TcpHdr, source);
/// Destination port.
pub const TCP_DESTINATION: usize = offset_of!(TcpHdr, dest);
/// The byte with the flags FIN (bit 0), SYN, RST, PSH, ACK, URG, ECE, CWR.
pub const TCP_FLAGS: usize = 13;
/// Checksum.
pub const TCP_CHECKSUM: usize = offset_of!(TcpHdr, check);

/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
