//! New connections, the third part: the ways in both directions. They are looked up before anything is inserted: no
//! connection is made to or for somebody that cannot be reached.

use crate::{
    abi::{Counter, Direction, Flow, Head, Limits, NO_SLOT, NextHop, Tuple, flow_flags},
    checksum::Sum,
    connection,
    env::{Draft, Env, Tables},
    fault::Fault,
    forward::{self, Fate, Heading, Way},
    half_open,
    ip::Ip,
    open::{self, Stop},
    packet::Packet,
    parse::{self, Fragments},
    pipeline::Verdict,
    recent, tcp,
};

/// How long a reply to a one-packet connection is expected, in seconds. IPVS has no such time, for it does not
/// translate these replies at all.
pub const ONE_PACKET_TIMEOUT: u32 = 10;

/// The stage. It looks at the packet only if that may be too long: what else counts is in the draft, and the verifier would
/// walk all of this once for each form that headers can have.
#[inline(always)]
pub fn plan<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    Tables::<A>::draft(env, |draft| {
        if tcp::is_half_open(draft.forth.head.state) {
            let slot = half_open::take_slot(env, &draft.key);
            draft.forth.limits = Limits::new(draft.forth.limits.timeout(), slot);
        }
        let result = ways(packet, env, draft);
        open::finish(env, draft, result)
    })
    .unwrap_or(Verdict::Drop(Counter::Internal))
}

/// Looks up both ways and completes both entries.
#[inline(always)]
fn ways<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    draft: &mut Draft<A>,
) -> Result<Verdict, Stop> {
    let now = env.now();
    let protocol = draft.key.protocol;
    let class = draft.class as u8;
    let heading = Heading::of_new(&draft.forth);
    let (Way { fate, hop, mtu, why }, checked) =
        recent::to_server(env, &heading, protocol, class, now);
    match fate {
        Fate::Out | Fate::Guess => {
            if draft.length > u32::from(mtu) && !fits::<P, A>(packet, &draft.forth, mtu) {
                return Err(Stop::Fault(Fault::too_big(mtu)));
            }
            draft.forth.hop = hop;
            draft.forth.mtu = mtu;
            draft.forth.hop_checked = checked;
        }
        Fate::Stack => {
            draft.forth.hop = NextHop::NONE;
            draft.forth.mtu = 0;
            draft.forth.hop_checked = 0;
        }
        Fate::Stop => return Err(Stop::Count(why)),
    }

    to_client(&draft.key, &draft.forth, &mut draft.back);
    let Way { fate, hop, mtu, why } =
        forward::look_up(env, &Heading::of(&draft.back), protocol, class);
    match fate {
        Fate::Out => {
            draft.back.hop = hop;
            draft.back.mtu = mtu;
            draft.back.hop_checked = connection::ticks(now);
        }
        // A neighbour that the kernel has not resolved is asked for again with the first reply.
        Fate::Guess | Fate::Stack => {}
        Fate::Stop if why == Counter::Unresolved => {}
        Fate::Stop => return Err(Stop::Count(why)),
    }
    Ok(Verdict::Next(A::CONNECT))
}

/// Whether a packet that is longer than the MTU goes on all the same: the stack cuts it, or it is made of segments that are
/// short enough.
#[inline(always)]
fn fits<P: Packet, A: Ip>(packet: &P, flow: &Flow<A>, mtu: u16) -> bool {
    // The stage before has read the same headers.
    let Ok(segment) = parse::ethernet(packet)
        .and_then(|ethernet| parse::segment::<P, A>(packet, ethernet, Fragments::First))
    else {
        return false;
    };
    let full_nat = flow.head.flags & flow_flags::FULL_NAT != 0;
    !full_nat && A::may_be_cut(&segment.ip)
        || packet.wire_length(segment.length, segment.headers()) <= u32::from(mtu)
}

/// Fills in the entry of the replies: their source is replaced by the virtual service's. With full NAT the destination
/// is too, which is the client's in any case.
#[inline(always)]
fn to_client<A: Ip>(key: &Tuple<A>, forth: &Flow<A>, back: &mut Flow<A>) {
    let addresses = forth.destination.replaced_by(key.destination, Sum::default());
    let ports =
        Sum::default().replace(forth.destination_port.to_be(), key.destination_port.to_be());
    let one_packet = forth.head.flags & flow_flags::ONE_PACKET != 0;
    let timeout = if one_packet { ONE_PACKET_TIMEOUT } else { forth.limits.timeout() };
    *back = Flow {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        address_difference: addresses.fold(),
        port_difference: ports.fold(),
        // Where the first packet came from.
        hop: back.hop,
        seen: forth.seen,
        hop_checked: 0,
        server: forth.server,
        limits: Limits::new(timeout, NO_SLOT),
        mtu: 0,
        head: Head { direction: Direction::ToClient as u8, ..forth.head },
    };
}
