//! What differs between IPv4 and IPv6 headers, for code that is written once for both.

use crate::{
    abi::{Address, Interface, Stage, V4, V6, words},
    checksum,
    packet::{Packet, Window},
    wire,
};

/// What a header says of the packet.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Offset of what follows the header(s) of this layer, from the start of the frame.
    pub payload: usize,
    /// Protocol of what follows.
    pub protocol: u8,
    /// Length of the IP packet in bytes.
    pub length: u32,
    /// Which part of a datagram this is.
    pub part: Part,
    /// Identification of the datagram as on the wire, if this is a fragment of it.
    pub identification: u32,
}

/// Which part of a datagram a packet is. (Not with the identification inside: of a field that only some variants have,
/// the compiler makes registers without a value, which the verifier refuses.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it.
    Whole,
    /// The first fragment, which holds the ports.
    First,
    /// A later fragment.
    Later,
}

/// The headers of one address family.
pub trait Ip: Address {
    /// Access to the fixed part of the header.
    type Header<P: Packet>;
    /// Length of the fixed part.
    const LEN: usize;
    /// `ETH_TYPE` as it lies in memory.
    const ETH_TYPE: u16;
    /// Protocol number of this family's ICMP.
    const ICMP: u8;
    /// Where the walk of a known connection's packet goes on.
    const FOLLOW: Stage;
    /// Where the walk of a packet without connection goes on.
    const OPEN: Stage;
    /// Where a new connection goes whose service is known.
    const CHOOSE: Stage;
    /// Where a new connection goes that has got its real server.
    const PLAN: Stage;
    /// Where a new connection goes whose ways are known.
    const CONNECT: Stage;
    /// Where ICMP goes.
    const ICMP_STAGE: Stage;
    /// Where fragments go.
    const FRAGMENT: Stage;
    /// Where a packet goes whose sender is to get an ICMP error.
    const FAULT: Stage;

    /// The header at `offset`.
    fn header<P: Packet>(packet: &P, offset: usize) -> Option<Self::Header<P>>;
    /// Reads the header at `offset`. `None` where it contradicts itself or the frame.
    fn layout<P: Packet>(packet: &P, header: &Self::Header<P>, offset: usize) -> Option<Layout>;
    /// The same for a header of constant length in front of TCP or UDP, in a whole packet; `None` for any other, to save
    /// telling them apart.
    fn plain_layout<P: Packet>(
        packet: &P,
        header: &Self::Header<P>,
        offset: usize,
    ) -> Option<Layout>;
    /// Source address.
    fn source<P: Packet>(header: &Self::Header<P>) -> Self;
    /// Destination address.
    fn destination<P: Packet>(header: &Self::Header<P>) -> Self;
    /// Time to live or hop limit.
    fn ttl<P: Packet>(header: &Self::Header<P>) -> u8;
    /// Lowers the time to live by one; gives what that adds to the header's own checksum, if it has one.
    fn lower_ttl<P: Packet>(packet: &P, header: &mut Self::Header<P>, ttl: u8) -> u16;
    /// Type of service, or traffic class.
    fn class<P: Packet>(header: &Self::Header<P>) -> u8;
    /// Whether the stack may cut the packet into fragments.
    fn may_be_cut<P: Packet>(header: &Self::Header<P>) -> bool;
    /// Writes both addresses. `difference` is what they and all else that has changed add to the header's own
    /// checksum, if it has one.
    fn readdress<P: Packet>(
        header: &mut Self::Header<P>,
        source: Self,
        destination: Self,
        difference: [u16; 2],
    );
    /// The header's own checksum; 0 where there is none.
    fn checksum<P: Packet>(header: &Self::Header<P>) -> u16;
    /// The address of this family that an interface has, or zeros.
    fn of_interface(interface: &Interface) -> Self;
}

impl Ip for V4 {
    type Header<P: Packet> = P::Window<{ wire::IPV4_LEN }>;
    const LEN: usize = wire::IPV4_LEN;
    const ETH_TYPE: u16 = wire::ETH_TYPE_IPV4;
    const ICMP: u8 = wire::PROTOCOL_ICMP;
    const FOLLOW: Stage = Stage::Follow4;
    const OPEN: Stage = Stage::Open4;
    const CHOOSE: Stage = Stage::Choose4;
    const PLAN: Stage = Stage::Plan4;
    const CONNECT: Stage = Stage::Connect4;
    const ICMP_STAGE: Stage = Stage::Icmp4;
    const FRAGMENT: Stage = Stage::Fragment4;
    const FAULT: Stage = Stage::Fault4;

    #[inline(always)]
    fn header<P: Packet>(packet: &P, offset: usize) -> Option<Self::Header<P>> {
        packet.window(offset)
    }

    #[inline(always)]
    fn layout<P: Packet>(packet: &P, header: &Self::Header<P>, offset: usize) -> Option<Layout> {
        let version = header.u8::<{ wire::IPV4_VERSION }>();
        let header_length = usize::from(version & 0x0f) * 4;
        let length = packet.ip_length(u16::from_be(header.u16::<{ wire::IPV4_LENGTH }>()), offset);
        if version >> 4 != 4 || header_length < wire::IPV4_LEN || length < header_length as u32 {
            return None;
        }
        let fragment = u16::from_be(header.u16::<{ wire::IPV4_FRAGMENT }>());
        let part = if fragment & wire::IPV4_FRAGMENT_BITS == 0 {
            Part::Whole
        } else if fragment & wire::IPV4_OFFSET_BITS == 0 {
            Part::First
        } else {
            Part::Later
        };
        let identification = header.u16::<{ wire::IPV4_ID }>().into();
        let protocol = header.u8::<{ wire::IPV4_PROTOCOL }>();
        Some(Layout { payload: offset + header_length, protocol, length, part, identification })
    }

    #[inline(always)]
    fn plain_layout<P: Packet>(
        packet: &P,
        header: &Self::Header<P>,
        offset: usize,
    ) -> Option<Layout> {
        /// Version 4 and five words.
        const PLAIN: u8 = 0x45;
        let fragment = header.u16::<{ wire::IPV4_FRAGMENT }>();
        let protocol = header.u8::<{ wire::IPV4_PROTOCOL }>();
        let plain = header.u8::<{ wire::IPV4_VERSION }>() == PLAIN
            && fragment & wire::IPV4_FRAGMENT_BITS.to_be() == 0
            && (protocol == wire::PROTOCOL_TCP || protocol == wire::PROTOCOL_UDP);
        let length = packet.ip_length(u16::from_be(header.u16::<{ wire::IPV4_LENGTH }>()), offset);
        plain.then_some(Layout {
            payload: offset + wire::IPV4_LEN,
            protocol,
            length,
            part: Part::Whole,
            identification: 0,
        })
    }

    #[inline(always)]
    fn source<P: Packet>(header: &Self::Header<P>) -> Self {
        header.u32::<{ wire::IPV4_SOURCE }>().to_ne_bytes()
    }

    #[inline(always)]
    fn destination<P: Packet>(header: &Self::Header<P>) -> Self {
        header.u32::<{ wire::IPV4_DESTINATION }>().to_ne_bytes()
    }

    #[inline(always)]
    fn ttl<P: Packet>(header: &Self::Header<P>) -> u8 {
        header.u8::<{ wire::IPV4_TTL }>()
    }

    #[inline(always)]
    fn lower_ttl<P: Packet>(_packet: &P, header: &mut Self::Header<P>, ttl: u8) -> u16 {
        header.set_u8::<{ wire::IPV4_TTL }>(ttl.wrapping_sub(1));
        checksum::TTL_DIFFERENCE
    }

    #[inline(always)]
    fn class<P: Packet>(header: &Self::Header<P>) -> u8 {
        header.u8::<{ wire::IPV4_TOS }>()
    }

    #[inline(always)]
    fn may_be_cut<P: Packet>(header: &Self::Header<P>) -> bool {
        u16::from_be(header.u16::<{ wire::IPV4_FRAGMENT }>()) & wire::IPV4_DONT_FRAGMENT == 0
    }

    #[inline(always)]
    fn readdress<P: Packet>(
        header: &mut Self::Header<P>,
        source: Self,
        destination: Self,
        difference: [u16; 2],
    ) {
        header.set_u32::<{ wire::IPV4_SOURCE }>(u32::from_ne_bytes(source));
        header.set_u32::<{ wire::IPV4_DESTINATION }>(u32::from_ne_bytes(destination));
        let [one, other] = difference;
        let sum = checksum::apply(header.u16::<{ wire::IPV4_CHECKSUM }>(), one, other);
        header.set_u16::<{ wire::IPV4_CHECKSUM }>(sum);
    }

    #[inline(always)]
    fn checksum<P: Packet>(header: &Self::Header<P>) -> u16 {
        header.u16::<{ wire::IPV4_CHECKSUM }>()
    }

    #[inline(always)]
    fn of_interface(interface: &Interface) -> Self {
        interface.address4
    }
}

impl Ip for V6 {
    type Header<P: Packet> = P::Window<{ wire::IPV6_LEN }>;
    const LEN: usize = wire::IPV6_LEN;
    const ETH_TYPE: u16 = wire::ETH_TYPE_IPV6;
    const ICMP: u8 = wire::PROTOCOL_ICMPV6;
    const FOLLOW: Stage = Stage::Follow6;
    const OPEN: Stage = Stage::Open6;
    const CHOOSE: Stage = Stage::Choose6;
    const PLAN: Stage = Stage::Plan6;
    const CONNECT: Stage = Stage::Connect6;
    const ICMP_STAGE: Stage = Stage::Icmp6;
    const FRAGMENT: Stage = Stage::Fragment6;
    const FAULT: Stage = Stage::Fault6;

    #[inline(always)]
    fn header<P: Packet>(packet: &P, offset: usize) -> Option<Self::Header<P>> {
        packet.window(offset)
    }

    #[inline(always)]
    fn layout<P: Packet>(packet: &P, header: &Self::Header<P>, offset: usize) -> Option<Layout> {
        let version = header.u8::<{ wire::IPV6_VERSION }>();
        let payload_length = u32::from(u16::from_be(header.u16::<{ wire::IPV6_LENGTH }>()));
        if version >> 4 != 6 {
            return None;
        }
        let length = payload_length + wire::IPV6_LEN as u32;
        let next = header.u8::<{ wire::IPV6_NEXT }>();
        let payload = offset + wire::IPV6_LEN;
        if next != wire::PROTOCOL_FRAGMENT {
            let (protocol, part) = (next, Part::Whole);
            return Some(Layout { payload, protocol, length, part, identification: 0 });
        }
        let fragment = packet.window::<{ wire::IPV6_FRAGMENT_LEN }>(payload)?;
        let offset = u16::from_be(fragment.u16::<{ wire::IPV6_FRAGMENT_OFFSET }>());
        Some(Layout {
            payload: payload + wire::IPV6_FRAGMENT_LEN,
            protocol: fragment.u8::<0>(),
            length,
            part: if offset & wire::IPV6_OFFSET_BITS == 0 { Part::First } else { Part::Later },
            identification: fragment.u32::<{ wire::IPV6_FRAGMENT_ID }>(),
        })
    }

    #[inline(always)]
    fn plain_layout<P: Packet>(
        _packet: &P,
        header: &Self::Header<P>,
        offset: usize,
    ) -> Option<Layout> {
        let protocol = header.u8::<{ wire::IPV6_NEXT }>();
        let plain = header.u8::<{ wire::IPV6_VERSION }>() >> 4 == 6
            && (protocol == wire::PROTOCOL_TCP || protocol == wire::PROTOCOL_UDP);
        let length = u32::from(u16::from_be(header.u16::<{ wire::IPV6_LENGTH }>()));
        plain.then_some(Layout {
            payload: offset + wire::IPV6_LEN,
            protocol,
            length: length + wire::IPV6_LEN as u32,
            part: Part::Whole,
            identification: 0,
        })
    }

    #[inline(always)]
    fn source<P: Packet>(header: &Self::Header<P>) -> Self {
        zerocopy::transmute!([
            header.u32::<{ wire::IPV6_SOURCE }>(),
            header.u32::<{ wire::IPV6_SOURCE + 4 }>(),
            header.u32::<{ wire::IPV6_SOURCE + 8 }>(),
            header.u32::<{ wire::IPV6_SOURCE + 12 }>(),
        ])
    }

    #[inline(always)]
    fn destination<P: Packet>(header: &Self::Header<P>) -> Self {
        zerocopy::transmute!([
            header.u32::<{ wire::IPV6_DESTINATION }>(),
            header.u32::<{ wire::IPV6_DESTINATION + 4 }>(),
            header.u32::<{ wire::IPV6_DESTINATION + 8 }>(),
            header.u32::<{ wire::IPV6_DESTINATION + 12 }>(),
        ])
    }

    #[inline(always)]
    fn ttl<P: Packet>(header: &Self::Header<P>) -> u8 {
        header.u8::<{ wire::IPV6_HOP_LIMIT }>()
    }

    #[inline(always)]
    fn lower_ttl<P: Packet>(packet: &P, header: &mut Self::Header<P>, ttl: u8) -> u16 {
        header.set_u8::<{ wire::IPV6_HOP_LIMIT }>(ttl.wrapping_sub(1));
        // The hop limit is the second byte of its word, and no checksum balances it.
        packet.note_change(checksum::HOP_LIMIT_DIFFERENCE);
        0
    }

    #[inline(always)]
    fn class<P: Packet>(header: &Self::Header<P>) -> u8 {
        (u16::from_be(header.u16::<{ wire::IPV6_VERSION }>()) >> 4) as u8
    }

    #[inline(always)]
    fn may_be_cut<P: Packet>(_header: &Self::Header<P>) -> bool {
        false
    }

    #[inline(always)]
    fn readdress<P: Packet>(
        header: &mut Self::Header<P>,
        source: Self,
        destination: Self,
        _difference: [u16; 2],
    ) {
        let [a, b, c, d] = words(source);
        header.set_u32::<{ wire::IPV6_SOURCE }>(a);
        header.set_u32::<{ wire::IPV6_SOURCE + 4 }>(b);
        header.set_u32::<{ wire::IPV6_SOURCE + 8 }>(c);
        header.set_u32::<{ wire::IPV6_SOURCE + 12 }>(d);
        let [a, b, c, d] = words(destination);
        header.set_u32::<{ wire::IPV6_DESTINATION }>(a);
        header.set_u32::<{ wire::IPV6_DESTINATION + 4 }>(b);
        header.set_u32::<{ wire::IPV6_DESTINATION + 8 }>(c);
        header.set_u32::<{ wire::IPV6_DESTINATION + 12 }>(d);
    }

    #[inline(always)]
    fn checksum<P: Packet>(_header: &Self::Header<P>) -> u16 {
        0
    }

    #[inline(always)]
    fn of_interface(interface: &Interface) -> Self {
        interface.address6
    }
}
