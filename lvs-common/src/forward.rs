//! Where a packet of a connection goes next, and the rewrite that it gets.

use crate::{
    abi::{Counter, Flow4, NextHop},
    checksum,
    env::{Env, FlowHandle, Route},
    packet::{Packet, Window},
    parse::Segment,
    pipeline::Verdict,
    wire,
};

/// How long a next hop is used before route and neighbour are looked up again, in ns. A changed route
/// or MAC address is followed within this time, at the price of one look-up per second and direction.
const HOP_LIFETIME: u64 = 1_000_000_000;

/// Where to send a packet.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Out of an attached interface.
    Via(NextHop),
    /// Rewritten, to the stack of this host, which resolves the neighbour and forwards.
    Stack,
    /// Nowhere.
    Stop(Counter),
}

/// Sends a packet of an existing connection.
#[inline(always)]
pub fn existing<E: Env, P: Packet>(
    env: &E,
    packet: &P,
    segment: &mut Segment<P>,
    handle: &E::Flow,
    flow: &Flow4,
    now: u64,
) -> Verdict {
    let way = if flow.hop_checked != 0 && now.saturating_sub(flow.hop_checked) <= HOP_LIFETIME {
        Way::Via(flow.hop)
    } else {
        let way = look_up(env, segment, flow);
        if let Way::Via(hop) = way {
            handle.set_hop(hop, now);
        }
        way
    };
    send(packet, segment, flow, &way)
}

/// Looks up where a packet of this flow goes.
#[inline(always)]
pub fn look_up<E: Env, P: Packet>(env: &E, segment: &Segment<P>, flow: &Flow4) -> Way {
    let tos = segment.head.u8::<{ wire::IPV4_TOS }>();
    match env.route(flow.source, flow.destination, tos) {
        Route::Via { hop, neighbour } if env.interface(hop.interface).is_some() => {
            env.use_neighbour(hop.interface, neighbour, true);
            Way::Via(hop)
        }
        // The stack knows the way, and it resolves neighbours.
        Route::Via { .. } | Route::Unresolved { .. } if flow.to_server() => Way::Stack,
        Route::Via { .. } => Way::Stop(Counter::NotAttached),
        // A reply cannot go through the stack: its new source is the virtual address, one of this
        // host's own, and the stack drops what comes in under that name. The last next hop will do
        // until the neighbour is resolved.
        Route::Unresolved { interface, neighbour } => {
            env.use_neighbour(interface, neighbour, false);
            if flow.hop.interface == interface {
                Way::Via(flow.hop)
            } else {
                Way::Stop(Counter::Unresolved)
            }
        }
        Route::ForwardingDisabled => Way::Stop(Counter::ForwardingDisabled),
        Route::None => Way::Stop(Counter::NoRoute),
    }
}

/// Rewrites a packet and sends it on its way.
#[inline(always)]
pub fn send<P: Packet>(packet: &P, segment: &mut Segment<P>, flow: &Flow4, way: &Way) -> Verdict {
    match *way {
        Way::Via(hop) => {
            let ttl = segment.head.u8::<{ wire::IPV4_TTL }>();
            if ttl <= 1 {
                return Verdict::Drop(Counter::TtlExpired);
            }
            segment.head.set_u8::<{ wire::IPV4_TTL }>(ttl - 1);
            set_macs::<P>(&mut segment.head, &hop);
            rewrite(packet, segment, flow, checksum::TTL_DIFFERENCE);
            Verdict::Redirect(hop.interface)
        }
        Way::Stack => {
            rewrite(packet, segment, flow, 0);
            Verdict::Pass(Counter::HandedToStack)
        }
        Way::Stop(counter) => Verdict::Drop(counter),
    }
}

#[inline(always)]
fn set_macs<P: Packet>(head: &mut P::Window<{ wire::IPV4_END }>, hop: &NextHop) {
    let [_, first, second, third]: [u32; 4] = zerocopy::transmute!(*hop);
    head.set_u32::<{ wire::ETH_MACS }>(first);
    head.set_u32::<{ wire::ETH_MACS + 4 }>(second);
    head.set_u32::<{ wire::ETH_MACS + 8 }>(third);
}

/// Writes the flow's addresses, ports and checksums into the packet; `ttl_difference` is what a changed
/// TTL adds to the header's sum.
#[inline(always)]
fn rewrite<P: Packet>(packet: &P, segment: &mut Segment<P>, flow: &Flow4, ttl_difference: u16) {
    let head = &mut segment.head;
    head.set_u32::<{ wire::IPV4_SOURCE }>(u32::from_ne_bytes(flow.source));
    head.set_u32::<{ wire::IPV4_DESTINATION }>(u32::from_ne_bytes(flow.destination));
    let sum = head.u16::<{ wire::IPV4_CHECKSUM }>();
    let sum = checksum::apply(sum, flow.address_difference, ttl_difference);
    head.set_u16::<{ wire::IPV4_CHECKSUM }>(sum);

    let tcp = &mut segment.tcp;
    tcp.set_u16::<{ wire::TCP_SOURCE }>(flow.source_port.to_be());
    tcp.set_u16::<{ wire::TCP_DESTINATION }>(flow.destination_port.to_be());
    packet.update_checksum::<{ wire::TCP_LEN }, { wire::TCP_CHECKSUM }>(
        tcp,
        segment.tcp_offset,
        flow.address_difference,
        flow.port_difference,
    );
}
