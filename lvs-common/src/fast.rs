//! The fast path: one more packet of a known connection, which nearly all are. Everything else goes on to another
//! stage, which may take its time and sees the packet untouched.

use crate::{
    abi::{Counter, Stage, V4, V6},
    connection,
    env::{Env, FlowHandle, Tables},
    filter, forward,
    ip::Ip,
    packet::{Packet, Window},
    parse::{self, Ethernet, Fragments, Segment},
    pipeline::Verdict,
    tcp, wire,
};

/// The first stage of every packet.
#[inline(always)]
pub fn enter<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    let Some(window) = packet.window::<{ wire::ETH_LEN }>(0) else {
        return Verdict::Pass(Counter::NotIp);
    };
    let kind = window.u16::<{ wire::ETH_TYPE }>();
    if parse::is_tag(kind) {
        return Verdict::Next(Stage::Tagged);
    }
    by_family(packet, env, Ethernet { window, kind, end: wire::ETH_LEN })
}

/// The same for a frame with VLAN tags, which stay as they are.
#[inline(always)]
pub fn tagged<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    match parse::ethernet(packet) {
        Ok(ethernet) => by_family(packet, env, ethernet),
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn by_family<P: Packet, E: Env>(packet: &P, env: &E, ethernet: Ethernet<P>) -> Verdict {
    match ethernet.kind {
        wire::ETH_TYPE_IPV4 => walk::<P, V4, E>(packet, env, ethernet),
        wire::ETH_TYPE_IPV6 => walk::<P, V6, E>(packet, env, ethernet),
        _ => Verdict::Pass(Counter::NotIp),
    }
}

#[inline(always)]
fn walk<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    ethernet: Ethernet<P>,
) -> Verdict {
    let mut segment: Segment<P, A> = match parse::segment(packet, ethernet, Fragments::Elsewhere) {
        Ok(segment) => segment,
        Err(verdict) => return verdict,
    };
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
    let server = handle.get(|flow| u32::from(flow.server));
    env.count_packet(server, forward::direction(head.direction), segment.length);
    let hop = handle.get(|flow| flow.hop);
    forward::set_macs(&mut segment.ethernet, &hop);
    let difference = A::lower_ttl(packet, &mut segment.ip, ttl);
    let new = handle.get(forward::Rewrite::of);
    forward::rewrite(packet, &mut segment, &new, difference);
    Verdict::Redirect(hop.interface)
}
