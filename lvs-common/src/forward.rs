//! Where a packet of a connection goes next, and the rewrite that it gets.

use crate::{
    abi::{Counter, Direction, Flow, Head, NextHop, flow_flags},
    connection,
    env::{Env, FlowHandle, Reach, Route, Tables},
    fault::{self, Fault},
    ip::Ip,
    packet::{Change, Packet, Window},
    parse::{Segment, Transport},
    pipeline::Verdict,
    wire,
};

/// Where to send a packet. (Every field has a value in every case: see [`Part`](crate::ip::Part).)
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// What to do.
    pub fate: Fate,
    /// Interface and MAC addresses, to go [`Out`](Fate::Out).
    pub hop: NextHop,
    /// The largest IP packet that the interface takes.
    pub mtu: u16,
    /// Why not, to [`Stop`](Fate::Stop).
    pub why: Counter,
}

/// What to do with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Out of an attached interface.
    Out,
    /// The same by the best that is known, while the kernel knows nothing now.
    Guess,
    /// Rewritten, to the stack of this host, which resolves the neighbour and forwards.
    Stack,
    /// Nowhere.
    Stop,
}

impl Way {
    /// Out of an interface.
    #[inline(always)]
    #[must_use]
    pub const fn out(hop: NextHop, mtu: u16) -> Self {
        Self { fate: Fate::Out, hop, mtu, why: Counter::Internal }
    }

    /// To the stack.
    pub const STACK: Self =
        Self { fate: Fate::Stack, hop: NextHop::NONE, mtu: 0, why: Counter::Internal };

    /// Nowhere.
    #[inline(always)]
    const fn stop(why: Counter) -> Self {
        Self { fate: Fate::Stop, hop: NextHop::NONE, mtu: 0, why }
    }
}

/// What of a flow decides where its packets go.
#[derive(Clone, Copy, Debug)]
pub struct Heading<A> {
    source: A,
    destination: A,
    hop: NextHop,
    head: Head,
}

impl<A: Ip> Heading<A> {
    /// Of this flow.
    #[inline(always)]
    pub const fn of(flow: &Flow<A>) -> Self {
        Self { source: flow.source, destination: flow.destination, hop: flow.hop, head: flow.head }
    }

    /// Where the packets go.
    #[inline(always)]
    pub const fn destination(&self) -> A {
        self.destination
    }

    /// Of this flow, which has no next hop yet.
    #[inline(always)]
    pub const fn of_new(flow: &Flow<A>) -> Self {
        Self { hop: NextHop::NONE, ..Self::of(flow) }
    }
}

/// Looks up where packets of a flow go.
#[inline(always)]
pub fn look_up<A: Ip, E: Env + Tables<A>>(
    env: &E,
    flow: &Heading<A>,
    protocol: u32,
    class: u8,
) -> Way {
    let Route { reach, hop, neighbour, mtu } =
        env.route(flow.source, flow.destination, protocol, class);
    match reach {
        Reach::Resolved => {
            if env.interface(hop.interface, |_| ()).is_some() {
                env.use_neighbour(hop.interface, neighbour, true);
                Way::out(hop, mtu)
            } else if stack_can_send(flow.head) {
                Way::STACK
            } else {
                Way::stop(Counter::NotAttached)
            }
        }
        // The stack knows the way, and it resolves neighbours.
        Reach::Unresolved if stack_can_send(flow.head) => Way::STACK,
        Reach::Unresolved => {
            env.use_neighbour(hop.interface, neighbour, false);
            // The last next hop will do until the neighbour is resolved.
            if flow.hop.interface == hop.interface {
                Way { fate: Fate::Guess, ..Way::out(flow.hop, mtu) }
            } else {
                Way::stop(Counter::Unresolved)
            }
        }
        Reach::ForwardingDisabled => Way::stop(Counter::ForwardingDisabled),
        Reach::None => Way::stop(Counter::NoRoute),
    }
}

/// Whether the stack of this host would forward a packet of this flow once it is rewritten. It drops what comes in
/// under one of the host's own addresses: replies, whose new source is the virtual address, and with full NAT
/// everything.
#[inline(always)]
const fn stack_can_send(head: Head) -> bool {
    head.to_server() && head.flags & flow_flags::FULL_NAT == 0
}

/// Sends a packet of an existing connection, with its next hop looked up again if that is due.
#[inline(always)]
pub fn existing<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    packet: &P,
    segment: &mut Segment<P, A>,
    handle: &<E as Tables<A>>::Flow,
    now: u64,
) -> Verdict {
    let way = current::<A, E>(env, handle, segment.tuple.protocol, A::class(&segment.ip), now);
    send(env, packet, segment, &handle.get(Passage::of), &way)
}

/// The way of a known flow, which a packet of it has just been noted for.
#[inline(always)]
fn current<A: Ip, E: Env + Tables<A>>(
    env: &E,
    handle: &<E as Tables<A>>::Flow,
    protocol: u32,
    class: u8,
    now: u64,
) -> Way {
    if let Some(way) = fresh::<A, E>(handle, now) {
        return way;
    }
    let heading = handle.get(Heading::of);
    let way = look_up(env, &heading, protocol, class);
    if way.fate == Fate::Out {
        handle.set_hop(way.hop, way.mtu, connection::ticks(now));
    }
    way
}

/// The way of a known flow for something that is not a packet of it.
#[inline(always)]
pub fn known<A: Ip, E: Env + Tables<A>>(
    env: &E,
    handle: &<E as Tables<A>>::Flow,
    protocol: u32,
    class: u8,
    now: u64,
) -> Way {
    if let Some(way) = fresh::<A, E>(handle, now) {
        return way;
    }
    let heading = handle.get(Heading::of);
    look_up(env, &heading, protocol, class)
}

/// The next hop in the entry while it is good.
#[inline(always)]
fn fresh<A: Ip, E: Env + Tables<A>>(handle: &<E as Tables<A>>::Flow, now: u64) -> Option<Way> {
    let (checked, hop, mtu) = handle.get(|flow| (flow.hop_checked, flow.hop, flow.mtu));
    connection::is_fresh(checked, now).then(|| Way::out(hop, mtu))
}

/// Rewrites a packet and sends it on its way, and counts it for its server.
#[inline(always)]
pub fn send<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    packet: &P,
    segment: &mut Segment<P, A>,
    flow: &Passage<A>,
    way: &Way,
) -> Verdict {
    let ttl = A::ttl(&segment.ip);
    if ttl <= 1 {
        return fault::raise(env, Fault::TTL_EXPIRED, segment);
    }
    let Way { fate, hop, mtu, why } = *way;
    let verdict = match fate {
        Fate::Out | Fate::Guess => {
            if segment.length > u32::from(mtu)
                && packet.wire_length(segment.length, segment.headers()) > u32::from(mtu)
            {
                if !(A::may_be_cut(&segment.ip) && stack_can_send(flow.head)) {
                    return fault::raise(env, Fault::too_big(mtu), segment);
                }
                rewrite(packet, segment, &flow.new, 0);
                Verdict::Pass(Counter::HandedToStack)
            } else {
                let difference = A::lower_ttl(packet, &mut segment.ip, ttl);
                set_macs(&mut segment.ethernet, &hop);
                rewrite(packet, segment, &flow.new, difference);
                Verdict::Redirect(hop.interface)
            }
        }
        Fate::Stack => {
            rewrite(packet, segment, &flow.new, 0);
            Verdict::Pass(Counter::HandedToStack)
        }
        Fate::Stop => return Verdict::Drop(why),
    };
    env.count_packet(flow.server, direction(flow.head.direction), segment.length);
    verdict
}

/// The direction with this number.
#[inline(always)]
#[must_use]
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

/// What a packet needs of its flow to be sent.
#[derive(Clone, Copy, Debug)]
pub struct Passage<A> {
    new: Rewrite<A>,
    server: u32,
    head: Head,
}

impl<A: Ip> Passage<A> {
    /// Of this flow.
    #[inline(always)]
    pub const fn of(flow: &Flow<A>) -> Self {
        Self { new: Rewrite::of(flow), server: flow.server, head: flow.head }
    }
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
