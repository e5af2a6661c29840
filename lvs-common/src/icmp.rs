//! ICMP errors about the packets of a connection, translated in both directions so that path MTU discovery and
//! unreachables work through NAT (`ip_vs_nat_icmp` in `ip_vs_core.c`; RFC 5508).
//!
//! An error quotes the packet that it is about, and travels the other way. So the quoted tuple, turned round, is the
//! key of the flow that the error belongs to: it goes where that flow's packets go, and the quoted packet must look
//! as it did before it was rewritten, which is that flow's own result, turned round.

use crate::{
    abi::{Counter, Direction, Tuple, flow_flags},
    checksum::{self, Sum},
    connection,
    env::{Env, FlowHandle, Tables},
    filter,
    forward::{self, Fate, Way},
    ip::{Ip, Layout, Part},
    packet::{Packet, Window},
    parse::{self, Ethernet},
    pipeline::Verdict,
    wire,
};

/// The beginning of a TCP or UDP header that every error quotes.
const QUOTED: usize = 8;

/// The part of a TCP header that ends with the checksum, which an error may quote.
const WITH_CHECKSUM: usize = wire::TCP_CHECKSUM + 2;

/// The stage.
#[inline(always)]
pub fn translate<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    walk::<P, A, E>(packet, env).unwrap_or_else(Into::into)
}

/// Whether this type of ICMP message is an error that quotes a packet. Over IPv4 those that IPVS takes: destination
/// unreachable, source quench, time exceeded.
#[inline(always)]
const fn is_error<A: Ip>(kind: u8) -> bool {
    if A::VERSION == 6 { kind < 128 } else { matches!(kind, 3 | 4 | 11) }
}

#[inline(always)]
fn walk<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Result<Verdict, Counter> {
    let Ok(Ethernet { mut window, end, .. }) = parse::ethernet(packet) else {
        return Err(Counter::NotIp);
    };
    let mut outer = A::header(packet, end).ok_or(Counter::Malformed)?;
    let layout = A::layout(packet, &outer, end).ok_or(Counter::Malformed)?;
    let mut icmp =
        packet.window::<{ wire::ICMP_LEN }>(layout.payload).ok_or(Counter::OtherProtocol)?;
    if layout.part != Part::Whole || !is_error::<A>(icmp.u8::<{ wire::ICMP_TYPE }>()) {
        return Err(Counter::OtherProtocol);
    }
    let inner_offset = layout.payload + wire::ICMP_LEN;
    let mut inner = A::header(packet, inner_offset).ok_or(Counter::OtherProtocol)?;
    let packet_end = end + layout.length as usize;
    let quoted = quoted_layout::<P, A>(packet, &inner, inner_offset, packet_end)?;
    let mut transport = packet.window::<QUOTED>(quoted.payload).ok_or(Counter::OtherProtocol)?;
    let key = Tuple {
        source: A::destination(&inner),
        destination: A::source(&inner),
        source_port: u16::from_be(transport.u16::<{ wire::DESTINATION_PORT }>()),
        destination_port: u16::from_be(transport.u16::<{ wire::SOURCE_PORT }>()),
        protocol: quoted.protocol.into(),
    };
    if !filter::may_be_ours(env, &key) {
        return Err(Counter::OtherProtocol);
    }
    let handle = env.flow(&key).ok_or(Counter::OtherProtocol)?;
    let now = env.now();
    if connection::over(env, &key, &handle, now) {
        return Err(Counter::OtherProtocol);
    }

    let ttl = A::ttl(&outer);
    if ttl <= 1 {
        // No error about an error.
        return Err(Counter::TtlExpired);
    }
    let class = A::class(&outer);
    let way = forward::known::<A, E>(env, &handle, key.protocol, class, now);
    let (new_source, new_destination) = handle.get(|flow| (flow.source, flow.destination));
    let (new_source_port, new_destination_port) =
        handle.get(|flow| (flow.source_port, flow.destination_port));
    let (head, server) = handle.get(|flow| (flow.head, flow.server));

    // The quoted packet as its sender knows it.
    let (source_port, destination_port) = (key.destination_port, key.source_port);
    let addresses = A::source(&inner)
        .replaced_by(
            new_destination,
            A::destination(&inner).replaced_by(new_source, Sum::default()),
        )
        .fold();
    let ports = Sum::default()
        .replace(source_port.to_be(), new_destination_port.to_be())
        .replace(destination_port.to_be(), new_source_port.to_be())
        .fold();
    let old = A::checksum::<P>(&inner);
    A::readdress::<P>(&mut inner, new_destination, new_source, [addresses, 0]);
    let mut change =
        Sum::default().add(addresses).add(ports).replace(old, A::checksum::<P>(&inner));
    transport.set_u16::<{ wire::SOURCE_PORT }>(new_destination_port.to_be());
    transport.set_u16::<{ wire::DESTINATION_PORT }>(new_source_port.to_be());
    if quoted.protocol == wire::PROTOCOL_UDP {
        let old = transport.u16::<{ wire::UDP_CHECKSUM }>();
        if old != 0 {
            let new = checksum::apply_nonzero(old, addresses, ports);
            transport.set_u16::<{ wire::UDP_CHECKSUM }>(new);
            change = change.replace(old, new);
        }
    } else if quoted.payload + WITH_CHECKSUM <= packet_end
        && let Some(mut tcp) = packet.window::<WITH_CHECKSUM>(quoted.payload)
    {
        let old = tcp.u16::<{ wire::TCP_CHECKSUM }>();
        let new = checksum::apply(old, addresses, ports);
        tcp.set_u16::<{ wire::TCP_CHECKSUM }>(new);
        change = change.replace(old, new);
    }

    // The error itself: to the flow's destination, and under the flow's source unless that is the client's own,
    // which another router's error does not take on.
    let direction = forward::direction(head.direction);
    let keeps_source = direction == Direction::ToServer && head.flags & flow_flags::FULL_NAT == 0;
    let (old_source, old_destination) = (A::source(&outer), A::destination(&outer));
    let source = if keeps_source { old_source } else { new_source };
    let outer_change = old_source
        .replaced_by(source, old_destination.replaced_by(new_destination, Sum::default()))
        .fold();
    if A::VERSION == 6 {
        change = change.add(outer_change);
    }
    let sum = checksum::apply(icmp.u16::<{ wire::ICMP_CHECKSUM }>(), change.fold(), 0);
    icmp.set_u16::<{ wire::ICMP_CHECKSUM }>(sum);
    let Way { fate, hop, why, mtu: _ } = way;
    let verdict = match fate {
        Fate::Out | Fate::Guess => {
            let ttl_difference = A::lower_ttl(packet, &mut outer, ttl);
            A::readdress::<P>(&mut outer, source, new_destination, [outer_change, ttl_difference]);
            forward::set_macs(&mut window, &hop);
            Verdict::Redirect(hop.interface)
        }
        Fate::Stack => {
            A::readdress::<P>(&mut outer, source, new_destination, [outer_change, 0]);
            Verdict::Pass(Counter::HandedToStack)
        }
        Fate::Stop => return Err(why),
    };
    env.count_packet(server, direction, layout.length);
    Ok(verdict)
}

/// The headers of the quoted packet: TCP or UDP with its ports. What lies behind `end` in the frame is not quoted.
#[inline(always)]
fn quoted_layout<P: Packet, A: Ip>(
    packet: &P,
    inner: &A::Header<P>,
    offset: usize,
    end: usize,
) -> Result<Layout, Counter> {
    let layout = A::layout(packet, inner, offset).ok_or(Counter::OtherProtocol)?;
    let ours = layout.protocol == wire::PROTOCOL_TCP || layout.protocol == wire::PROTOCOL_UDP;
    if !ours || layout.part == Part::Later || layout.payload + QUOTED > end {
        return Err(Counter::OtherProtocol);
    }
    Ok(layout)
}
