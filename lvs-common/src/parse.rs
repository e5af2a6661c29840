//! From frame to [`Segment`]: what the engine reads of a TCP segment over IPv4, and everything else
//! told apart so that it can be passed on untouched.

use crate::{
    abi::{Counter, NextHop, Tuple4},
    packet::{Packet, Window},
    tcp, wire,
};

/// A TCP segment over IPv4: its headers and what has been read from them.
#[derive(Debug)]
pub struct Segment<P: Packet> {
    /// Ethernet and IPv4 header, without IP options.
    pub head: P::Window<{ wire::IPV4_END }>,
    /// TCP header, without options.
    pub tcp: P::Window<{ wire::TCP_LEN }>,
    /// Where the TCP header starts in the frame.
    pub tcp_offset: usize,
    /// The packet's 5-tuple.
    pub tuple: Tuple4,
    /// Length of the IP packet in bytes.
    pub length: u32,
    /// TCP flags, see [`tcp::flags`].
    pub flags: u8,
}

impl<P: Packet> Segment<P> {
    /// Whether the frame is for this MAC address, or for the address that a VRRP master answers under
    /// (00-00-5E-00-01-xx, RFC 5798 section 7.3).
    #[inline(always)]
    pub fn is_for(&self, mac: [u8; 6]) -> bool {
        // Word by word: comparing arrays would call a loop over bytes.
        let [own_1, own_2, own_3]: [u16; 3] = zerocopy::transmute!(mac);
        let first = self.head.u16::<{ wire::ETH_MACS }>();
        let second = self.head.u16::<{ wire::ETH_MACS + 2 }>();
        let third = self.head.u16::<{ wire::ETH_MACS + 4 }>();
        let own = first == own_1 && second == own_2 && third == own_3;
        let vrrp = first == 0 && second.to_ne_bytes() == [0x5e, 0] && third.to_ne_bytes()[0] == 1;
        own || vrrp
    }

    /// The way back to where the frame came from, over the interface that it came in on.
    #[inline(always)]
    pub fn way_back(&self, ingress: u32) -> NextHop {
        let frame: [u8; 12] = zerocopy::transmute!([
            self.head.u32::<{ wire::ETH_MACS }>(),
            self.head.u32::<{ wire::ETH_MACS + 4 }>(),
            self.head.u32::<{ wire::ETH_MACS + 8 }>(),
        ]);
        let [to, from]: [[u8; 6]; 2] = zerocopy::transmute!(frame);
        NextHop { interface: ingress, destination_mac: from, source_mac: to }
    }

    /// The first segment of a connection: SYN alone, as `tcp_conn_schedule` of IPVS wants it (it
    /// looks at SYN only; with ACK, RST or FIN beside it no connection can come of it).
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.flags & (tcp::flags::SYN | tcp::flags::ACK | tcp::flags::RST | tcp::flags::FIN)
            == tcp::flags::SYN
    }
}

/// Reads the headers. `Err` tells why the packet is not for this program.
#[inline(always)]
pub fn segment<P: Packet>(packet: &P) -> Result<Segment<P>, Counter> {
    let head = packet.window::<{ wire::IPV4_END }>(0).ok_or(Counter::NotIpv4)?;
    if head.u16::<{ wire::ETH_TYPE }>() != wire::ETH_TYPE_IPV4 {
        return Err(Counter::NotIpv4);
    }
    let version = head.u8::<{ wire::IPV4_VERSION }>();
    let header_length = usize::from(version & 0x0f) * 4;
    if version >> 4 != 4 || header_length < wire::IPV4_END - wire::IPV4 {
        return Err(Counter::Malformed);
    }
    if head.u8::<{ wire::IPV4_PROTOCOL }>() != wire::PROTOCOL_TCP {
        return Err(Counter::NotTcp);
    }
    if u16::from_be(head.u16::<{ wire::IPV4_FRAGMENT }>()) & wire::IPV4_FRAGMENT_BITS != 0 {
        return Err(Counter::Fragment);
    }
    let length = packet.ip_length(u16::from_be(head.u16::<{ wire::IPV4_LENGTH }>()));
    if length < (header_length + wire::TCP_LEN) as u32 {
        return Err(Counter::Malformed);
    }
    let tcp_offset = wire::IPV4 + header_length;
    let tcp = packet.window::<{ wire::TCP_LEN }>(tcp_offset).ok_or(Counter::Malformed)?;
    let tuple = Tuple4 {
        source: head.u32::<{ wire::IPV4_SOURCE }>().to_ne_bytes(),
        destination: head.u32::<{ wire::IPV4_DESTINATION }>().to_ne_bytes(),
        source_port: u16::from_be(tcp.u16::<{ wire::TCP_SOURCE }>()),
        destination_port: u16::from_be(tcp.u16::<{ wire::TCP_DESTINATION }>()),
        protocol: u32::from(wire::PROTOCOL_TCP),
    };
    let flags = tcp.u8::<{ wire::TCP_FLAGS }>();
    Ok(Segment { head, tcp, tcp_offset, tuple, length, flags })
}
