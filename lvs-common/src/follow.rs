//! A packet of a known connection that may change something: its state, its next hop, or its end.

use crate::{
    abi::Counter,
    connection,
    env::{Env, FlowHandle, Tables},
    forward,
    ip::Ip,
    packet::Packet,
    parse::{self, Fragments, Segment},
    pipeline::Verdict,
};

/// The stage.
#[inline(always)]
pub fn follow<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    match parse::ethernet(packet)
        .and_then(|ethernet| parse::segment(packet, ethernet, Fragments::First))
    {
        Ok(mut segment) => walk::<P, A, E>(packet, env, &mut segment),
        Err(verdict) => verdict,
    }
}

#[inline(always)]
fn walk<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    segment: &mut Segment<P, A>,
) -> Verdict {
    let Some(handle) = env.flow(&segment.tuple) else { return Verdict::Next(A::OPEN) };
    let now = env.now();
    if connection::reopens(segment, handle.get(|flow| flow.head))
        || connection::over(env, &segment.tuple, &handle, now)
    {
        return match connection::end(env, &segment.tuple, &handle) {
            Ok(()) => Verdict::Next(A::OPEN),
            Err(connection::InUse) => Verdict::Drop(Counter::TupleInUse),
        };
    }
    if !connection::track(env, segment, &handle, now) {
        return Verdict::Drop(Counter::TupleInUse);
    }
    forward::existing(env, packet, segment, &handle, now)
}
