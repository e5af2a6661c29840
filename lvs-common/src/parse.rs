//! From frame to [`Segment`]: what the engine reads of a TCP segment or UDP datagram, and everything else
//! told apart, so that it can be passed on untouched.

use crate::{
    abi::{Counter, NextHop, Tuple},
    ip::{Ip, Layout, Part},
    packet::{Packet, Window},
    pipeline::Verdict,
    tcp, wire,
};

/// An Ethernet header with its tags.
#[expect(missing_debug_implementations, reason = "windows have none")]
pub struct Ethernet<P: Packet> {
    /// The header without tags.
    pub window: P::Window<{ wire::ETH_LEN }>,
    /// Type of what follows the last tag, as it lies in memory.
    pub kind: u16,
    /// Offset of what follows: 14, 18 or 22.
    pub end: usize,
}

/// Reads the Ethernet header and up to two VLAN tags.
#[inline(always)]
pub fn ethernet<P: Packet>(packet: &P) -> Result<Ethernet<P>, Verdict> {
    let window = packet.window::<{ wire::ETH_LEN }>(0).ok_or(Verdict::Pass(Counter::NotIp))?;
    let mut kind = window.u16::<{ wire::ETH_TYPE }>();
    let mut end = wire::ETH_LEN;
    if is_tag(kind) {
        let tag = packet.window::<{ wire::VLAN_LEN }>(end).ok_or(Verdict::Pass(Counter::NotIp))?;
        kind = tag.u16::<{ wire::VLAN_TYPE }>();
        end += wire::VLAN_LEN;
        if is_tag(kind) {
            let tag =
                packet.window::<{ wire::VLAN_LEN }>(end).ok_or(Verdict::Pass(Counter::NotIp))?;
            kind = tag.u16::<{ wire::VLAN_TYPE }>();
            end += wire::VLAN_LEN;
        }
    }
    Ok(Ethernet { window, kind, end })
}

/// Whether a VLAN tag follows.
#[inline(always)]
#[must_use]
pub const fn is_tag(kind: u16) -> bool {
    kind == wire::ETH_TYPE_VLAN || kind == wire::ETH_TYPE_QINQ
}

/// The transport header of a packet.
#[expect(missing_debug_implementations, reason = "windows have none")]
pub enum Transport<P: Packet> {
    /// Without options.
    Tcp(P::Window<{ wire::TCP_LEN }>),
    /// All of it.
    Udp(P::Window<{ wire::UDP_LEN }>),
    /// It is in an earlier fragment.
    Elsewhere,
}

/// A TCP segment or UDP datagram: its headers and what has been read from them.
#[expect(missing_debug_implementations, reason = "windows have none")]
pub struct Segment<P: Packet, A: Ip> {
    /// Ethernet header.
    pub ethernet: P::Window<{ wire::ETH_LEN }>,
    /// IP header, without options or extensions.
    pub ip: A::Header<P>,
    /// Transport header.
    pub transport: Transport<P>,
    /// Where the IP header starts in the frame.
    pub ip_offset: usize,
    /// Where the transport header starts in the frame.
    pub transport_offset: usize,
    /// The packet's 5-tuple.
    pub tuple: Tuple<A>,
    /// Length of the IP packet in bytes.
    pub length: u32,
    /// TCP flags, see [`tcp::flags`]; 0 for UDP.
    pub flags: u8,
}

impl<P: Packet, A: Ip> Segment<P, A> {
    /// The first segment of a connection: SYN alone, as `tcp_conn_schedule` of IPVS wants it (it
    /// looks at SYN only; with ACK, RST or FIN beside it no connection can come of it).
    #[inline(always)]
    pub fn opens(&self) -> bool {
        self.flags & (tcp::flags::SYN | tcp::flags::ACK | tcp::flags::RST | tcp::flags::FIN)
            == tcp::flags::SYN
    }

    /// Whether it is TCP.
    #[inline(always)]
    pub const fn is_tcp(&self) -> bool {
        self.tuple.protocol == wire::PROTOCOL_TCP as u32
    }

    /// Length of the IP and transport headers, options included.
    #[inline(always)]
    pub fn headers(&self) -> u32 {
        let before = (self.transport_offset - self.ip_offset) as u32;
        match &self.transport {
            Transport::Tcp(tcp) => before + u32::from(tcp.u8::<{ wire::TCP_OFFSET }>() >> 4) * 4,
            Transport::Udp(_) => before + wire::UDP_LEN as u32,
            Transport::Elsewhere => before,
        }
    }
}

/// Whether a frame is for this MAC address, or for the address that a VRRP master answers under
/// (00-00-5E-00-01-xx or, for IPv6, 00-00-5E-00-02-xx: RFC 5798 section 7.3).
#[inline(always)]
pub fn is_for<W: Window>(ethernet: &W, mac: [u8; 6]) -> bool {
    // Word by word: comparing arrays would call a loop over bytes.
    let [own_1, own_2, own_3]: [u16; 3] = zerocopy::transmute!(mac);
    let first = ethernet.u16::<{ wire::ETH_MACS }>();
    let second = ethernet.u16::<{ wire::ETH_MACS + 2 }>();
    let third = ethernet.u16::<{ wire::ETH_MACS + 4 }>();
    let own = first == own_1 && second == own_2 && third == own_3;
    let [family, _] = third.to_ne_bytes();
    let vrrp = first == 0 && second.to_ne_bytes() == [0x5e, 0] && (family == 1 || family == 2);
    own || vrrp
}

/// The way back to where a frame came from, over the interface that it came in on.
#[inline(always)]
pub fn way_back<W: Window>(ethernet: &W, ingress: u32) -> NextHop {
    let frame: [u8; 12] = zerocopy::transmute!([
        ethernet.u32::<{ wire::ETH_MACS }>(),
        ethernet.u32::<{ wire::ETH_MACS + 4 }>(),
        ethernet.u32::<{ wire::ETH_MACS + 8 }>(),
    ]);
    let [to, from]: [[u8; 6]; 2] = zerocopy::transmute!(frame);
    NextHop { interface: ingress, destination_mac: from, source_mac: to }
}

/// What a program takes of fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragments {
    /// They belong elsewhere.
    Elsewhere,
    /// A first one is as good as a whole packet.
    First,
}

/// Reads the headers behind the Ethernet header. `Err` tells where else the packet belongs.
#[inline(always)]
pub fn segment<P: Packet, A: Ip>(
    packet: &P,
    ethernet: Ethernet<P>,
    fragments: Fragments,
) -> Result<Segment<P, A>, Verdict> {
    let ip_offset = ethernet.end;
    let ip = A::header(packet, ip_offset).ok_or(Verdict::Pass(Counter::Malformed))?;
    let layout = A::layout(packet, &ip, ip_offset).ok_or(Verdict::Pass(Counter::Malformed))?;
    let Layout { protocol, part, .. } = layout;
    if part == Part::Later || (part == Part::First && fragments == Fragments::Elsewhere) {
        return Err(if protocol == wire::PROTOCOL_TCP || protocol == wire::PROTOCOL_UDP {
            Verdict::Next(A::FRAGMENT)
        } else {
            Verdict::Pass(Counter::OtherProtocol)
        });
    }
    transport(packet, ethernet.window, ip, ip_offset, layout)
}

/// Reads the transport header, which is there in a whole packet and in a first fragment.
#[inline(always)]
pub fn transport<P: Packet, A: Ip>(
    packet: &P,
    ethernet: P::Window<{ wire::ETH_LEN }>,
    ip: A::Header<P>,
    ip_offset: usize,
    layout: Layout,
) -> Result<Segment<P, A>, Verdict> {
    let Layout { payload, protocol, length, part: _, identification: _ } = layout;
    let (transport, source_port, destination_port, flags) = match protocol {
        wire::PROTOCOL_TCP => {
            let tcp = packet
                .window::<{ wire::TCP_LEN }>(payload)
                .ok_or(Verdict::Pass(Counter::Malformed))?;
            if length < (payload - ip_offset + wire::TCP_LEN) as u32 {
                return Err(Verdict::Pass(Counter::Malformed));
            }
            let source = tcp.u16::<{ wire::SOURCE_PORT }>();
            let destination = tcp.u16::<{ wire::DESTINATION_PORT }>();
            let flags = tcp.u8::<{ wire::TCP_FLAGS }>();
            (Transport::Tcp(tcp), source, destination, flags)
        }
        wire::PROTOCOL_UDP => {
            let udp = packet
                .window::<{ wire::UDP_LEN }>(payload)
                .ok_or(Verdict::Pass(Counter::Malformed))?;
            if length < (payload - ip_offset + wire::UDP_LEN) as u32 {
                return Err(Verdict::Pass(Counter::Malformed));
            }
            let source = udp.u16::<{ wire::SOURCE_PORT }>();
            let destination = udp.u16::<{ wire::DESTINATION_PORT }>();
            (Transport::Udp(udp), source, destination, 0)
        }
        protocol => return Err(other::<A>(protocol)),
    };
    let tuple = Tuple {
        source: A::source(&ip),
        destination: A::destination(&ip),
        source_port: u16::from_be(source_port),
        destination_port: u16::from_be(destination_port),
        protocol: u32::from(protocol),
    };
    Ok(Segment {
        ethernet,
        ip,
        transport,
        ip_offset,
        transport_offset: payload,
        tuple,
        length,
        flags,
    })
}

/// What becomes of a packet that is neither TCP nor UDP.
#[inline(always)]
fn other<A: Ip>(protocol: u8) -> Verdict {
    // Hop-by-hop options, routing, destination options, mobility and what came later (RFC 7045).
    let extension = A::VERSION == 6 && matches!(protocol, 0 | 43 | 60 | 135 | 139 | 140);
    if protocol == A::ICMP {
        Verdict::Next(A::ICMP_STAGE)
    } else if extension {
        Verdict::Pass(Counter::ExtensionHeader)
    } else {
        Verdict::Pass(Counter::OtherProtocol)
    }
}
