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
            Err(connection::InUse) => after_the_end(env, segment),
        };
    }
    if !connection::track(env, segment, &handle, now) {
        return after_the_end(env, segment);
    }
    forward::existing(env, packet, segment, &handle, now)
}

/// How often the table is asked whether another CPU has removed a connection: for about a microsecond, more than it
/// takes.
const PATIENCE: u32 = 32;

/// A connection that another CPU, perhaps on the controller's behalf, has just ended and not yet removed.
#[inline(always)]
fn after_the_end<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
) -> Verdict {
    for _ in 0..PATIENCE {
        if env.flow(&segment.tuple).is_none() {
            return Verdict::Next(A::OPEN);
        }
    }
    Verdict::Drop(Counter::TupleInUse)
}
