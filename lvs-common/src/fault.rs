//! ICMP errors of our own: no server (port unreachable, as IPVS answers), TTL or hop limit at its end (time exceeded),
//! packet longer than the next link takes (fragmentation needed, packet too big). They go back where the packet came
//! from and quote it as its sender has sent it.
//!
//! RFC 792, RFC 1191, RFC 1812 section 4.3.2, RFC 4443.

use crate::{
    abi::{Counter, V4, V6},
    checksum::Sum,
    env::{Env, Tables},
    ip::Ip,
    packet::{Packet, Window},
    parse::{self, Ethernet, Segment, Transport},
    pipeline::Verdict,
    wire,
};

/// How much of the packet is quoted at most: more than the 28 and 48 bytes that the standards ask for at least, and
/// enough for all IP options and the TCP header.
const QUOTE: u32 = 128;

/// Time to live of an error.
const TTL: u8 = 64;

/// Internetwork control, as Linux marks its own errors.
const CLASS: u8 = 0xc0;

/// What is to be told to a sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// One of the `KIND_…`.
    kind: u16,
    /// The MTU of the next hop, for [`too_big`](Self::too_big).
    mtu: u16,
}

const KIND_NO_SERVER: u16 = 1;
const KIND_TTL_EXPIRED: u16 = 2;
const KIND_TOO_BIG: u16 = 3;

impl Fault {
    /// No real server is available.
    pub const NO_SERVER: Self = Self { kind: KIND_NO_SERVER, mtu: 0 };
    /// The time to live ends here.
    pub const TTL_EXPIRED: Self = Self { kind: KIND_TTL_EXPIRED, mtu: 0 };

    /// The next hop takes no packet of this length.
    #[inline(always)]
    #[must_use]
    pub const fn too_big(mtu: u16) -> Self {
        Self { kind: KIND_TOO_BIG, mtu }
    }

    /// In 32 bits, for a map.
    #[inline(always)]
    #[must_use]
    pub const fn to_bits(self) -> u32 {
        (self.kind as u32) << 16 | self.mtu as u32
    }

    /// From what [`to_bits`](Self::to_bits) gave; `None` for anything else.
    #[inline(always)]
    #[must_use]
    pub const fn from_bits(bits: u32) -> Option<Self> {
        let kind = (bits >> 16) as u16;
        match kind {
            KIND_NO_SERVER..=KIND_TOO_BIG => Some(Self { kind, mtu: bits as u16 }),
            _ => None,
        }
    }

    /// What is counted.
    #[inline(always)]
    #[must_use]
    pub const fn counter(self) -> Counter {
        match self.kind {
            KIND_NO_SERVER => Counter::NoServer,
            KIND_TTL_EXPIRED => Counter::TtlExpired,
            _ => Counter::TooBig,
        }
    }

    /// Type and code over IPv4 and IPv6.
    const fn kind_and_code(self, ipv6: bool) -> (u8, u8) {
        match (self.kind, ipv6) {
            (KIND_NO_SERVER, false) => (3, 3),
            (KIND_NO_SERVER, true) => (1, 4),
            (KIND_TTL_EXPIRED, false) => (11, 0),
            (KIND_TTL_EXPIRED, true) => (3, 0),
            (_, false) => (3, 4),
            (_, true) => (2, 0),
        }
    }
}

/// Hands a packet that goes no further to the stage that tells its sender. Later fragments are dropped without a
/// word (RFC 1812 section 4.3.2.7).
#[inline(always)]
pub fn raise<P: Packet, A: Ip, E: Env>(env: &E, fault: Fault, segment: &Segment<P, A>) -> Verdict {
    if matches!(segment.transport, Transport::Elsewhere) {
        return Verdict::Drop(fault.counter());
    }
    report::<A, E>(env, fault)
}

/// The same for a packet that has its ports.
#[inline(always)]
pub fn report<A: Ip, E: Env>(env: &E, fault: Fault) -> Verdict {
    env.count(fault.counter());
    env.set_fault(fault);
    Verdict::Next(A::FAULT)
}

/// The stage: the packet becomes the error.
#[inline(always)]
pub fn send<P: Packet, A: Report, E: Env + Tables<A>>(packet: &mut P, env: &E) -> Verdict {
    let Some(fault) = env.fault() else { return Verdict::Drop(Counter::Internal) };
    let Some(quote) = quote::<P, A>(packet) else { return Verdict::Pass(Counter::Malformed) };
    if !env.may_send_error(env.now()) {
        return Verdict::Drop(Counter::ErrorLimited);
    }
    match build::<P, A, E>(packet, env, fault, quote) {
        Some(()) => {
            env.count(Counter::ErrorSent);
            Verdict::Redirect(env.ingress())
        }
        None => Verdict::Drop(Counter::Internal),
    }
}

/// Room before the quoted packet: the headers of the error.
const fn room<A: Ip>() -> u32 {
    A::LEN as u32 + wire::ICMP_LEN as u32
}

/// How much of the packet is quoted. `None` if the frame has less of it than its header says: the stack drops such a
/// packet, and to make up what is missing could fail for want of room.
#[inline(always)]
fn quote<P: Packet, A: Report>(packet: &P) -> Option<u32> {
    let Ok(Ethernet { end, .. }) = parse::ethernet(packet) else { return None };
    let ip = A::header(packet, end)?;
    let length = A::layout(packet, &ip, end)?.length;
    // Whole words only: the checksum is added up by them.
    let quote = (if length < QUOTE { length } else { QUOTE }) & !1;
    packet.window::<0>(end + quote as usize)?;
    Some(quote)
}

#[inline(always)]
#[expect(clippy::many_single_char_names, reason = "the words of two MAC addresses")]
fn build<P: Packet, A: Report, E: Env + Tables<A>>(
    packet: &mut P,
    env: &E,
    fault: Fault,
    quote: u32,
) -> Option<()> {
    let Ok(Ethernet { window: ethernet, kind: _, end }) = parse::ethernet(packet) else {
        return None;
    };
    let ip = A::header(packet, end)?;
    let (source, destination) = (A::source(&ip), A::destination(&ip));
    // Both MAC addresses, exchanged, and all behind them up to the IP header: type and tags.
    let macs = [
        ethernet.u16::<6>(),
        ethernet.u16::<8>(),
        ethernet.u16::<10>(),
        ethernet.u16::<0>(),
        ethernet.u16::<2>(),
        ethernet.u16::<4>(),
    ];
    let kind = ethernet.u16::<{ wire::ETH_TYPE }>();
    let tags = if end == wire::ETH_LEN {
        [0; 2]
    } else {
        let first = packet.window::<{ wire::VLAN_LEN }>(wire::ETH_LEN)?.u32::<0>();
        let second = packet.window::<{ wire::VLAN_LEN }>(wire::ETH_LEN + wire::VLAN_LEN)?;
        [first, second.u32::<0>()]
    };
    if !packet.reshape(end as u32 + quote, room::<A>()) {
        return None;
    }
    let mut ethernet = packet.window::<{ wire::ETH_LEN }>(0)?;
    let [a, b, c, d, e, f] = macs;
    ethernet.set_u16::<0>(a);
    ethernet.set_u16::<2>(b);
    ethernet.set_u16::<4>(c);
    ethernet.set_u16::<6>(d);
    ethernet.set_u16::<8>(e);
    ethernet.set_u16::<10>(f);
    ethernet.set_u16::<{ wire::ETH_TYPE }>(kind);
    let [first, second] = tags;
    if end > wire::ETH_LEN {
        packet.window::<{ wire::VLAN_LEN }>(wire::ETH_LEN)?.set_u32::<0>(first);
    }
    if end > wire::ETH_LEN + wire::VLAN_LEN {
        packet.window::<{ wire::VLAN_LEN }>(wire::ETH_LEN + wire::VLAN_LEN)?.set_u32::<0>(second);
    }
    // A router speaks under the address that the packet came to; for a service that nobody serves, the service does.
    let own = env.interface(env.ingress(), A::of_interface).unwrap_or(A::UNSPECIFIED);
    let speaker =
        if fault.kind == KIND_NO_SERVER || own.is_unspecified() { destination } else { own };
    let payload = wire::ICMP_LEN as u32 + quote;
    A::write(packet, end, speaker, source, payload as u16)?;

    let mut icmp = packet.window::<{ wire::ICMP_LEN }>(end + A::LEN)?;
    let (kind, code) = fault.kind_and_code(A::VERSION == 6);
    icmp.set_u8::<{ wire::ICMP_TYPE }>(kind);
    icmp.set_u8::<{ wire::ICMP_CODE }>(code);
    icmp.set_u16::<{ wire::ICMP_CHECKSUM }>(0);
    icmp.set_u32::<{ wire::ICMP_MTU }>(u32::from(fault.mtu).to_be());
    let head = Sum::default()
        .add(icmp.u16::<{ wire::ICMP_TYPE }>())
        .add_word(icmp.u32::<{ wire::ICMP_MTU }>());
    let mut sum = A::pseudo_header(speaker, source, payload, head);
    let mut offset = end + A::LEN + wire::ICMP_LEN;
    for _ in 0..QUOTE / 2 {
        if offset >= end + A::LEN + wire::ICMP_LEN + quote as usize {
            break;
        }
        sum = sum.add(packet.window::<2>(offset)?.u16::<0>());
        offset += 2;
    }
    icmp.set_u16::<{ wire::ICMP_CHECKSUM }>(!sum.fold());
    Some(())
}

/// Writing the header of an error.
pub trait Report: Ip {
    /// Writes the IP header at `offset` in front of `payload` bytes of ICMP.
    fn write<P: Packet>(
        packet: &P,
        offset: usize,
        source: Self,
        destination: Self,
        payload: u16,
    ) -> Option<()>;
    /// Adds the pseudo header of ICMP, where there is one.
    fn pseudo_header(source: Self, destination: Self, payload: u32, sum: Sum) -> Sum;
}

impl Report for V4 {
    #[inline(always)]
    #[expect(clippy::many_single_char_names, reason = "the words of the header")]
    fn write<P: Packet>(
        packet: &P,
        offset: usize,
        source: Self,
        destination: Self,
        payload: u16,
    ) -> Option<()> {
        let mut ip = packet.window::<{ wire::IPV4_LEN }>(offset)?;
        let [a, b, c, d, e] = [
            (0x4500_0000 | u32::from(CLASS) << 16 | u32::from(payload + wire::IPV4_LEN as u16))
                .to_be(),
            u32::from(wire::IPV4_DONT_FRAGMENT).to_be(),
            (u32::from(TTL) << 24 | u32::from(wire::PROTOCOL_ICMP) << 16).to_be(),
            u32::from_ne_bytes(source),
            u32::from_ne_bytes(destination),
        ];
        let sum = Sum::default().add_word(a).add_word(b).add_word(c).add_word(d).add_word(e);
        ip.set_u32::<0>(a);
        ip.set_u32::<4>(b);
        ip.set_u32::<8>(c);
        ip.set_u32::<12>(d);
        ip.set_u32::<16>(e);
        ip.set_u16::<{ wire::IPV4_CHECKSUM }>(!sum.fold());
        Some(())
    }

    #[inline(always)]
    fn pseudo_header(_source: Self, _destination: Self, _payload: u32, sum: Sum) -> Sum {
        sum
    }
}

impl Report for V6 {
    #[inline(always)]
    fn write<P: Packet>(
        packet: &P,
        offset: usize,
        source: Self,
        destination: Self,
        payload: u16,
    ) -> Option<()> {
        let mut ip = packet.window::<{ wire::IPV6_LEN }>(offset)?;
        ip.set_u32::<0>((0x6000_0000 | u32::from(CLASS) << 20).to_be());
        ip.set_u16::<{ wire::IPV6_LENGTH }>(payload.to_be());
        ip.set_u8::<{ wire::IPV6_NEXT }>(wire::PROTOCOL_ICMPV6);
        ip.set_u8::<{ wire::IPV6_HOP_LIMIT }>(TTL);
        Self::readdress::<P>(&mut ip, source, destination, [0; 2]);
        Some(())
    }

    #[inline(always)]
    #[expect(clippy::many_single_char_names, reason = "the words of two addresses")]
    fn pseudo_header(source: Self, destination: Self, payload: u32, sum: Sum) -> Sum {
        let [a, b, c, d] = crate::abi::words(source);
        let [e, f, g, h] = crate::abi::words(destination);
        sum.add_word(a)
            .add_word(b)
            .add_word(c)
            .add_word(d)
            .add_word(e)
            .add_word(f)
            .add_word(g)
            .add_word(h)
            .add_word(payload.to_be())
            .add_word(u32::from(wire::PROTOCOL_ICMPV6).to_be())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_survives_its_bits() {
        for fault in [Fault::NO_SERVER, Fault::TTL_EXPIRED, Fault::too_big(1400)] {
            assert_eq!(Fault::from_bits(fault.to_bits()), Some(fault));
        }
        assert_eq!(Fault::from_bits(0), None);
        assert_eq!(Fault::from_bits(u32::MAX), None);
    }
}
