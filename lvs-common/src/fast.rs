//! The fast path: one more packet of a known connection, which nearly all are. Everything else goes on to another
//! stage, which may take its time and sees the packet untouched.

use crate::{
    abi::{Counter, Stage, V4, V6, interface_flags},
    connection,
    env::{Env, FlowHandle, Tables},
    filter, forward,
    ip::{Ip, Layout},
    packet::{Packet, Window},
    parse::{self, Ethernet, Fragments, Segment},
    pipeline::Verdict,
    tcp, wire,
};

/// The first stage of every packet. It takes what is plain: Ethernet, IPv4 without options or IPv6 without extension
/// headers, TCP or UDP, no fragment. With nothing to tell apart, all offsets are constants.
#[inline(always)]
pub fn enter<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    let Some(window) = packet.window::<{ wire::ETH_LEN }>(0) else {
        return Verdict::Pass(Counter::NotIp);
    };
    match window.u16::<{ wire::ETH_TYPE }>() {
        wire::ETH_TYPE_IPV4 => plain::<P, V4, E>(packet, env, window),
        wire::ETH_TYPE_IPV6 => plain::<P, V6, E>(packet, env, window),
        kind if parse::is_tag(kind) => Verdict::Next(Stage::Sort),
        _ => Verdict::Pass(Counter::NotIp),
    }
}

#[inline(always)]
fn plain<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    ethernet: P::Window<{ wire::ETH_LEN }>,
) -> Verdict {
    let Some(ip) = A::header(packet, wire::ETH_LEN) else {
        return Verdict::Pass(Counter::Malformed);
    };
    let Some(layout) = A::plain_layout(packet, &ip, wire::ETH_LEN) else {
        return Verdict::Next(Stage::Sort);
    };
    // Each protocol has the walk for itself: where the two meet, the verifier would forget how long the header is.
    if layout.protocol == wire::PROTOCOL_TCP {
        let layout = Layout { protocol: wire::PROTOCOL_TCP, ..layout };
        match parse::transport::<P, A>(packet, ethernet, ip, wire::ETH_LEN, layout) {
            Ok(segment) => walk(packet, env, segment),
            Err(_) => Verdict::Next(Stage::Sort),
        }
    } else {
        let layout = Layout { protocol: wire::PROTOCOL_UDP, ..layout };
        match parse::transport::<P, A>(packet, ethernet, ip, wire::ETH_LEN, layout) {
            Ok(segment) => walk(packet, env, segment),
            Err(_) => Verdict::Next(Stage::Sort),
        }
    }
}

/// The same for everything else: VLAN tags, IP options, and all that belongs to other stages or to nobody. Tags stay as
/// they are, unless the host has VLAN devices on the interface: then it is routed by those, and the frames are theirs.
#[inline(always)]
pub fn sort<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    let ethernet = match parse::ethernet(packet) {
        Ok(ethernet) => ethernet,
        Err(verdict) => return verdict,
    };
    if ethernet.end > wire::ETH_LEN
        && env.interface(env.ingress(), |at| at.flags & interface_flags::VLAN_DEVICES != 0)
            == Some(true)
    {
        return Verdict::Pass(Counter::VlanDevice);
    }
    match ethernet.kind {
        wire::ETH_TYPE_IPV4 => sorted::<P, V4, E>(packet, env, ethernet),
        wire::ETH_TYPE_IPV6 => sorted::<P, V6, E>(packet, env, ethernet),
        _ => Verdict::Pass(Counter::NotIp),
    }
}

#[inline(always)]
fn sorted<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    ethernet: Ethernet<P>,
) -> Verdict {
    match parse::segment::<P, A>(packet, ethernet, Fragments::Elsewhere) {
        Ok(segment) => walk(packet, env, segment),
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn walk<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    mut segment: Segment<P, A>,
) -> Verdict {
    if !filter::may_be_ours(env, &segment.tuple) {
        return Verdict::Pass(Counter::NoService);
    }
    let Some(handle) = env.flow(&segment.tuple) else { return Verdict::Next(A::OPEN) };
    let now = env.now();
    let head = handle.get(|flow| flow.head);
    let steady = if segment.is_tcp() {
        !tcp::can_move(head.state, segment.flags)
    } else {
        head.state == connection::UDP
    };
    let checked = handle.get(|flow| flow.hop_checked);
    let mtu = handle.get(|flow| u32::from(flow.mtu));
    let ttl = A::ttl(&segment.ip);
    // A next hop is looked up with a packet of the flow, and no time-out is shorter than its second: while the next hop is
    // fresh, the flow has not ended.
    if !steady || !connection::is_fresh(checked, now) || segment.length > mtu || ttl <= 1 {
        return Verdict::Next(A::FOLLOW);
    }
    connection::touch::<A, E>(&handle, now);
    let server = handle.get(|flow| flow.server);
    env.count_packet(server, forward::direction(head.direction), segment.length);
    let hop = handle.get(|flow| flow.hop);
    forward::set_macs(&mut segment.ethernet, &hop);
    let difference = A::lower_ttl(packet, &mut segment.ip, ttl);
    let new = handle.get(forward::Rewrite::of);
    forward::rewrite(packet, &mut segment, &new, difference);
    Verdict::Redirect(hop.interface)
}
