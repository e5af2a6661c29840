//! The bounded space of half-open connections: a ring of slots, each with the key of one. A new connection takes the
//! next free slot; where the next ones are all taken, the oldest half-open connection gives way. So a flood of SYNs
//! costs half-open connections only, and never more entries of the connection table than there are slots. (A connection
//! that was established and sees another SYN is half-open again without a slot: that takes a whole handshake each.)

use crate::{
    abi::{Counter, NO_SLOT, Tuple},
    connection,
    env::{Env, FlowHandle, Tables},
    ip::Ip,
    tcp,
};

/// How many slots are looked at for a free one. A power of two, and the number of slots is odd: while none is free,
/// each one is evicted once before any is again.
const TRIES: usize = 4;

/// Takes a slot for the connection that will be under `key`.
#[inline(always)]
pub fn take_slot<A: Ip, E: Env + Tables<A>>(env: &E, key: &Tuple<A>) -> u32 {
    let Some(mut slot) = Tables::<A>::next_half_open(env) else { return NO_SLOT };
    let mut taken = Tables::<A>::is_half_open_taken(env, slot);
    for _ in 1..TRIES {
        if !taken {
            break;
        }
        let Some(next) = Tables::<A>::next_half_open(env) else { break };
        slot = next;
        taken = Tables::<A>::is_half_open_taken(env, slot);
    }
    if taken && let Some(holder) = Tables::<A>::half_open(env, slot) {
        evict(env, &holder, slot);
    }
    env.set_half_open(slot, key);
    slot
}

#[inline(always)]
fn evict<A: Ip, E: Env + Tables<A>>(env: &E, holder: &Tuple<A>, slot: u32) {
    let Some(handle) = env.flow(holder) else { return };
    // Another connection may have come under the same key since, with a slot of its own.
    if handle.get(|flow| flow.limits.half_open() == slot && flow.to_server())
        && tcp::is_half_open(handle.get(|flow| flow.head.state))
        && connection::end(env, holder, &handle).is_ok()
    {
        env.count(Counter::HalfOpenEvicted);
    }
}
