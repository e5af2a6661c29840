//! New connections, the third part: the ways in both directions. They are looked up before anything is inserted: no
//! connection is made to or for somebody that cannot be reached.

use crate::{
    abi::{Counter, Direction, Flow, Head, NO_SLOT, NextHop, Tuple, flow_flags},
    checksum::Sum,
    connection,
    env::{Draft, Env, Tables},
    fault::Fault,
    forward::{self, Fate, Heading, Way},
    half_open,
    ip::Ip,
    open::{self, Stop},
    packet::Packet,
    parse::{self, Fragments, Segment},
    pipeline::Verdict,
    tcp,
};

/// How long a reply to a one-packet connection is expected, in seconds. IPVS has no such time, for it does not
/// translate these replies at all.
pub const ONE_PACKET_TIMEOUT: u32 = 10;

/// The stage.
#[inline(always)]
pub fn plan<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    let segment = match parse::ethernet(packet)
        .and_then(|ethernet| parse::segment::<P, A>(packet, ethernet, Fragments::First))
    {
        Ok(segment) => segment,
        Err(verdict) => return verdict,
    };
    env.draft(|draft| {
        if tcp::is_half_open(draft.forth.head.state) {
            draft.forth.half_open = half_open::take_slot(env, &draft.key);
        }
        let result = ways(packet, env, &segment, draft);
        open::finish(env, &segment, draft, result)
    })
    .unwrap_or(Verdict::Drop(Counter::Internal))
}

/// Looks up both ways and completes both entries.
#[inline(always)]
fn ways<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    segment: &Segment<P, A>,
    draft: &mut Draft<A>,
) -> Result<Verdict, Stop> {
    let full_nat = draft.forth.head.flags & flow_flags::FULL_NAT != 0;
    let now = env.now();
    let protocol = draft.key.protocol;
    let class = A::class(&segment.ip);
    let Way { fate, hop, mtu, why } =
        forward::look_up(env, &Heading::of(&draft.forth), protocol, class);
    match fate {
        Fate::Out | Fate::Guess => {
            if segment.length > u32::from(mtu)
                && (full_nat || !A::may_be_cut(&segment.ip))
                && packet.wire_length(segment.length, segment.headers()) > u32::from(mtu)
            {
                return Err(Stop::Fault(Fault::too_big(mtu)));
            }
            draft.forth.hop = hop;
            draft.forth.mtu = mtu;
            draft.forth.hop_checked = connection::ticks(now);
        }
        Fate::Stack => {}
        Fate::Stop => return Err(Stop::Count(why)),
    }

    to_client(&draft.key, &draft.forth, &mut draft.back);
    draft.back.hop = parse::way_back(&segment.ethernet, env.ingress());
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

/// Fills in the entry of the replies: their source is replaced by the virtual service's. With full NAT the destination
/// is too, which is the client's in any case.
#[inline(always)]
fn to_client<A: Ip>(key: &Tuple<A>, forth: &Flow<A>, back: &mut Flow<A>) {
    let addresses = forth.destination.replaced_by(key.destination, Sum::default());
    let ports =
        Sum::default().replace(forth.destination_port.to_be(), key.destination_port.to_be());
    let one_packet = forth.head.flags & flow_flags::ONE_PACKET != 0;
    *back = Flow {
        source: key.destination,
        destination: key.source,
        source_port: key.destination_port,
        destination_port: key.source_port,
        address_difference: addresses.fold(),
        port_difference: ports.fold(),
        hop: NextHop::NONE,
        seen: forth.seen,
        hop_checked: 0,
        timeout: if one_packet { ONE_PACKET_TIMEOUT } else { forth.timeout },
        server: forth.server,
        half_open: NO_SLOT,
        mtu: 0,
        head: Head { direction: Direction::ToClient as u8, ..forth.head },
    };
}
