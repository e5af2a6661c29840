//! A packet of a known connection that may change something: its state, its next hop, or its end.

use crate::{
    abi::{Counter, server_flags, settings_flags},
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
    let (head, server) = handle.get(|flow| (flow.head, flow.server));
    let ends = connection::reopens(env, segment, head, server)
        || connection::over(env, &segment.tuple, &handle, now);
    let gone = !ends && head.to_server() && is_gone(env, server);
    if gone && env.settings_flags() & settings_flags::EXPIRE_NODEST == 0 {
        // The next hop stays old, so that all packets come here, until the server comes back.
        return Verdict::Drop(Counter::ServerGone);
    }
    if ends || gone {
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

/// Whether a server was removed. IPVS drops its clients' packets, and lets its own pass (`ip_vs_in_hook`).
#[inline(always)]
fn is_gone<E: Env>(env: &E, server: u32) -> bool {
    env.server(server).is_none_or(|server| server.flags & server_flags::AVAILABLE == 0)
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
