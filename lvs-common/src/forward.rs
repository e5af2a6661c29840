//! Where a packet of a connection goes next, and the rewrite that it gets.

use crate::{
    abi::{Counter, Direction, Flow, NextHop, flow_flags},
    connection,
    env::{Env, FlowHandle, Route, Tables},
    fault::{self, Fault},
    ip::Ip,
    packet::{Change, Packet, Window},
    parse::{Segment, Transport},
    pipeline::Verdict,
    wire,
};

/// Where to send a packet.
#[derive(Clone, Copy, Debug)]
pub enum Way {
    /// Out of an attached interface.
    Via {
        /// Interface and MAC addresses.
        hop: NextHop,
        /// The largest IP packet that it takes.
        mtu: u16,
        /// Whether this is what the kernel says now, or only the best that is known.
        sure: bool,
    },
    /// Rewritten, to the stack of this host, which resolves the neighbour and forwards.
    Stack,
    /// Nowhere.
    Stop(Counter),
}

/// Looks up where packets of this flow go.
#[inline(always)]
pub fn look_up<A: Ip, E: Env + Tables<A>>(
    env: &E,
    flow: &Flow<A>,
    protocol: u32,
    class: u8,
) -> Way {
    match env.route(flow.source, flow.destination, protocol, class) {
        Route::Via { hop, neighbour, mtu } if env.interface(hop.interface, |_| ()).is_some() => {
            env.use_neighbour(hop.interface, neighbour, true);
            Way::Via { hop, mtu, sure: true }
        }
        // The stack knows the way, and it resolves neighbours.
        Route::Via { .. } | Route::Unresolved { .. } if stack_can_send(flow) => Way::Stack,
        Route::Via { .. } => Way::Stop(Counter::NotAttached),
        // The last next hop will do until the neighbour is resolved.
        Route::Unresolved { interface, neighbour, mtu } => {
            env.use_neighbour(interface, neighbour, false);
            if flow.hop.interface == interface {
                Way::Via { hop: flow.hop, mtu, sure: false }
            } else {
                Way::Stop(Counter::Unresolved)
            }
        }
        Route::ForwardingDisabled => Way::Stop(Counter::ForwardingDisabled),
        Route::None => Way::Stop(Counter::NoRoute),
    }
}

/// Whether the stack of this host would forward a packet of this flow once it is rewritten. It drops what comes in
/// under one of the host's own addresses: replies, whose new source is the virtual address, and with full NAT
/// everything.
#[inline(always)]
const fn stack_can_send<A: Ip>(flow: &Flow<A>) -> bool {
    flow.to_server() && flow.head.flags & flow_flags::FULL_NAT == 0
}

/// Sends a packet of an existing connection, with its next hop looked up again if that is due.
#[inline(always)]
pub fn existing<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    packet: &P,
    segment: &mut Segment<P, A>,
    handle: &<E as Tables<A>>::Flow,
    flow: &Flow<A>,
    now: u64,
) -> Verdict {
    let way = current::<A, E>(env, handle, segment.tuple.protocol, A::class(&segment.ip), now);
    send(env, packet, segment, flow, &way)
}

/// The way of a known flow.
#[inline(always)]
pub fn current<A: Ip, E: Env + Tables<A>>(
    env: &E,
    handle: &<E as Tables<A>>::Flow,
    protocol: u32,
    class: u8,
    now: u64,
) -> Way {
    if connection::is_fresh(handle.get(|flow| flow.hop_checked), now) {
        let (hop, mtu) = handle.get(|flow| (flow.hop, flow.mtu));
        return Way::Via { hop, mtu, sure: true };
    }
    let way = handle.get(|flow| look_up(env, flow, protocol, class));
    if let Way::Via { hop, mtu, sure: true } = way {
        handle.set_hop(hop, mtu, connection::ticks(now));
    }
    way
}

/// Rewrites a packet and sends it on its way, and counts it for its server.
#[inline(always)]
pub fn send<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    packet: &P,
    segment: &mut Segment<P, A>,
    flow: &Flow<A>,
    way: &Way,
) -> Verdict {
    let ttl = A::ttl(&segment.ip);
    if ttl <= 1 {
        return fault::raise(env, Fault::TTL_EXPIRED, segment);
    }
    let verdict = match *way {
        Way::Via { hop, mtu, .. } => {
            if segment.length > u32::from(mtu)
                && packet.wire_length(segment.length, segment.headers()) > u32::from(mtu)
            {
                if !(A::may_be_cut(&segment.ip) && stack_can_send(flow)) {
                    return fault::raise(env, Fault::too_big(mtu), segment);
                }
                rewrite(packet, segment, &Rewrite::of(flow), 0);
                Verdict::Pass(Counter::HandedToStack)
            } else {
                let difference = A::lower_ttl(packet, &mut segment.ip, ttl);
                set_macs(&mut segment.ethernet, &hop);
                rewrite(packet, segment, &Rewrite::of(flow), difference);
                Verdict::Redirect(hop.interface)
            }
        }
        Way::Stack => {
            rewrite(packet, segment, &Rewrite::of(flow), 0);
            Verdict::Pass(Counter::HandedToStack)
        }
        Way::Stop(counter) => return Verdict::Drop(counter),
    };
    env.count_packet(flow.server.into(), direction(flow.head.direction), segment.length);
    verdict
}

/// The direction with this number.
#[inline(always)]
pub const fn direction(number: u8) -> Direction {
    if number == Direction::ToServer as u8 { Direction::ToServer } else { Direction::ToClient }
}

/// Writes the MAC addresses of a next hop.
#[inline(always)]
pub fn set_macs<W: Window>(ethernet: &mut W, hop: &NextHop) {
    let [_, first, second, third]: [u32; 4] = zerocopy::transmute!(*hop);
    ethernet.set_u32::<{ wire::ETH_MACS }>(first);
    ethernet.set_u32::<{ wire::ETH_MACS + 4 }>(second);
    ethernet.set_u32::<{ wire::ETH_MACS + 8 }>(third);
}

/// What a flow writes into its packets.
#[derive(Clone, Copy, Debug)]
pub struct Rewrite<A> {
    source: A,
    destination: A,
    source_port: u16,
    destination_port: u16,
    address_difference: u16,
    port_difference: u16,
}

impl<A: Ip> Rewrite<A> {
    /// Of this flow.
    #[inline(always)]
    pub const fn of(flow: &Flow<A>) -> Self {
        Self {
            source: flow.source,
            destination: flow.destination,
            source_port: flow.source_port,
            destination_port: flow.destination_port,
            address_difference: flow.address_difference,
            port_difference: flow.port_difference,
        }
    }
}

/// Writes the flow's addresses, ports and checksums into the packet; `ttl_difference` is what a changed
/// TTL adds to the header's sum.
#[inline(always)]
pub fn rewrite<P: Packet, A: Ip>(
    packet: &P,
    segment: &mut Segment<P, A>,
    new: &Rewrite<A>,
    ttl_difference: u16,
) {
    let differences = [new.address_difference, ttl_difference];
    A::readdress(&mut segment.ip, new.source, new.destination, differences);
    let change = Change {
        addresses: new.address_difference,
        ports: new.port_difference,
        zero_is_none: matches!(segment.transport, Transport::Udp(_)),
        ipv6: A::VERSION == 6,
    };
    match &mut segment.transport {
        Transport::Tcp(tcp) => {
            tcp.set_u16::<{ wire::SOURCE_PORT }>(new.source_port.to_be());
            tcp.set_u16::<{ wire::DESTINATION_PORT }>(new.destination_port.to_be());
            packet.update_checksum::<{ wire::TCP_LEN }, { wire::TCP_CHECKSUM }>(
                tcp,
                segment.transport_offset,
                change,
            );
        }
        Transport::Udp(udp) => {
            udp.set_u16::<{ wire::SOURCE_PORT }>(new.source_port.to_be());
            udp.set_u16::<{ wire::DESTINATION_PORT }>(new.destination_port.to_be());
            packet.update_checksum::<{ wire::UDP_LEN }, { wire::UDP_CHECKSUM }>(
                udp,
                segment.transport_offset,
                change,
            );
        }
        // A later fragment: its transport header passed with the first one, and the addresses alone change.
        Transport::Elsewhere => {
            if A::VERSION == 6 {
                packet.note_change(new.address_difference);
            }
        }
    }
}
