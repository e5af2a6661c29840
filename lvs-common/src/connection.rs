//! Connection tracking: finding a packet's connection, following its state, ending it.
//!
//! A connection is two entries, one per direction. Each packet needs one look-up; the other entry is
//! touched only when the state changes or when an entry's own time has ended. The entry of the client's direction
//! decides: its head changes by compare-and-swap, and whoever succeeds counts the change, so that the numbers of
//! active and inactive connections are exact whatever CPUs the packets are on.

use crate::{
    abi::{Direction, Flow, Head, Load, NO_SLOT, Tuple, flow_flags, settings_flags},
    env::{Decision, Env, FlowHandle, Tables},
    ip::Ip,
    packet::Packet,
    parse::Segment,
    persistence, tcp, wire,
};

/// The one state of a UDP connection, behind those of TCP.
pub const UDP: u8 = 11;

/// The state of a connection that is being removed: whoever has set it removes both entries, and for all others
/// they are in use until they are gone.
pub const ENDED: u8 = 15;

/// How long a next hop is used before route and neighbour are looked up again, in ticks: a second. A changed route
/// or MAC address is followed within this time, at the price of one look-up per second and direction.
const HOP_LIFETIME: u32 = 954;

/// A time in ticks of 2^20 ns, about a millisecond; it wraps after seven weeks.
#[inline(always)]
#[must_use]
pub const fn ticks(now: u64) -> u32 {
    (now >> 20) as u32
}

/// Whether a next hop that was looked up at `checked` (ticks, 0 for never) is still good at `now` (ns).
#[inline(always)]
#[must_use]
pub const fn is_fresh(checked: u32, now: u64) -> bool {
    checked != 0 && ticks(now).wrapping_sub(checked) <= HOP_LIFETIME
}

/// Notes that a packet of this direction has passed. Most of the time another one has, in the same tick.
#[inline(always)]
pub fn touch<A: Ip, E: Tables<A>>(handle: &E::Flow, now: u64) {
    let now = ticks(now);
    if handle.get(|flow| flow.seen) != now {
        handle.set_seen(now);
    }
}

/// How often a state change is tried again because another CPU was faster.
const TRIES: usize = 4;

/// Whether the connection that this entry is one direction of has ended: its time is over, and that of the other
/// direction as well, for traffic may flow in one direction only.
#[inline(always)]
pub fn over<A: Ip, E: Tables<A>>(env: &E, key: &Tuple<A>, handle: &E::Flow, now: u64) -> bool {
    if !handle.get(|flow| flow.ended(now)) {
        return false;
    }
    let reverse = handle.get(|flow| flow.reverse_key(key.protocol));
    match env.flow(&reverse) {
        Some(other) => other.get(|flow| flow.ended(now)),
        None => true,
    }
}

/// Whether this segment opens a new connection in the place of an old one: a SYN from the client that
/// meets `TIME_WAIT` or `CLOSE`, unless persistence chose the server (`is_new_conn_expected` in `ip_vs_core.c`); or
/// that meets a server with weight 0, if [`EXPIRE_NODEST`](settings_flags::EXPIRE_NODEST) is set.
#[inline(always)]
pub fn reopens<P: Packet, A: Ip, E: Env>(
    env: &E,
    segment: &Segment<P, A>,
    head: Head,
    server: u32,
) -> bool {
    if !segment.opens() || !head.to_server() {
        return false;
    }
    if tcp::is_closed(head.state) && head.flags & flow_flags::CONTROLLED == 0 {
        return true;
    }
    env.settings_flags() & settings_flags::EXPIRE_NODEST != 0
        && env.server(server).is_some_and(|server| server.weight == 0)
}

/// What a connection in this state is in the count of its server.
#[inline(always)]
#[must_use]
pub const fn load(state: u8) -> u64 {
    if tcp::is_active(state) { Load::ACTIVE } else { Load::INACTIVE }
}

/// Follows the connection's state with this segment and notes the time. `false` if the connection ended in this
/// very moment.
#[inline(always)]
pub fn track<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
    handle: &<E as Tables<A>>::Flow,
    now: u64,
) -> bool {
    let head = handle.get(|flow| flow.head);
    touch::<A, E>(handle, now);
    if !segment.is_tcp() || !tcp::can_move(head.state, segment.flags) {
        return head.state != ENDED;
    }
    let reverse = handle.get(|flow| flow.reverse_key(segment.tuple.protocol));
    let other = env.flow(&reverse);
    if head.to_server() {
        advance(env, segment, (|| segment.tuple, handle), other.as_ref(), head.direction)
    } else {
        // The key once more, for the trace alone: kept since the look-up it would take much of the stack.
        let key = || handle.get(|flow| flow.reverse_key(segment.tuple.protocol));
        other
            .is_some_and(|first| advance(env, segment, (key, &first), Some(handle), head.direction))
    }
}

/// Moves the state. `first` is the entry of the client's direction under its key.
#[inline(always)]
fn advance<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
    (key, first): (impl Fn() -> Tuple<A>, &<E as Tables<A>>::Flow),
    second: Option<&<E as Tables<A>>::Flow>,
    direction: u8,
) -> bool {
    for _ in 0..TRIES {
        let head = first.get(|flow| flow.head);
        if head.state == ENDED {
            return false;
        }
        let Some(next) = tcp::next(direction, head.state, segment.flags) else { return true };
        if next != head.state {
            if !first.swap_state(head, next) {
                continue;
            }
            let (server, slot) = first.get(|flow| (flow.server, flow.limits.half_open()));
            let difference = load(next).wrapping_sub(load(head.state));
            if difference != 0 {
                env.add_load(server, difference);
            }
            if slot != NO_SLOT && tcp::is_half_open(head.state) && !tcp::is_half_open(next) {
                // Should it become half-open again, the slot is another one's.
                first.set_half_open(NO_SLOT);
                Tables::<A>::free_half_open(env, slot);
            }
            let timeout = env.timeout(next);
            first.set_timeout(timeout);
            if let Some(second) = second {
                second.set_state(next);
                second.set_timeout(timeout);
            }
            env.trace(&key(), Decision::State(next));
        } else if let Some(second) = second {
            // The copy may lag behind by what another CPU is about to write.
            second.set_state(next);
        }
        return true;
    }
    true
}

/// Why a connection was not ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InUse;

/// Ends the connection that the entry under `key` is one direction of: takes it out of its server's count and
/// removes both entries. Another CPU may be doing the same; then it is that one's.
#[inline(always)]
pub fn end<A: Ip, E: Env + Tables<A>>(
    env: &E,
    key: &Tuple<A>,
    handle: &<E as Tables<A>>::Flow,
) -> Result<(), InUse> {
    let reverse = handle.get(|flow| flow.reverse_key(key.protocol));
    let other = env.flow(&reverse);
    if handle.get(Flow::to_server) {
        leave_count(env, key.source, handle, other.as_ref())?;
    } else if handle.get(|flow| flow.head.flags) & flow_flags::ONE_PACKET == 0
        && let Some(first) = &other
    {
        leave_count(env, reverse.source, first, Some(handle))?;
    }
    env.remove_flow(&reverse);
    env.remove_flow(key);
    Ok(())
}

/// Marks a connection as ended and takes it out of its server's count and out of its template's.
#[inline(always)]
fn leave_count<A: Ip, E: Env + Tables<A>>(
    env: &E,
    client: A,
    first: &<E as Tables<A>>::Flow,
    second: Option<&<E as Tables<A>>::Flow>,
) -> Result<(), InUse> {
    for _ in 0..TRIES {
        let head: Head = first.get(|flow| flow.head);
        if head.state == ENDED {
            return Err(InUse);
        }
        if first.swap_state(head, ENDED) {
            let (server, slot) = first.get(|flow| (flow.server, flow.limits.half_open()));
            unbind(env, server, head.state);
            if slot != NO_SLOT && tcp::is_half_open(head.state) {
                Tables::<A>::free_half_open(env, slot);
            }
            if head.flags & flow_flags::CONTROLLED != 0 {
                let now = env.now();
                let ended = first.get(|flow| flow.end(now));
                let ended = second.map_or(ended, |flow| ended.max(flow.get(|flow| flow.end(now))));
                persistence::leave(env, client, server, head.template, ended);
            }
            return Ok(());
        }
    }
    Err(InUse)
}

/// Counts a new connection for its server; with as many as the upper threshold the server is overloaded
/// (`ip_vs_bind_dest` in `ip_vs_conn.c`).
#[inline(always)]
pub fn bind<E: Env>(env: &E, server: u32, state: u8) {
    let total = Load::total(env.add_load(server, load(state))).wrapping_add(1);
    if let Some(upper) = env.server(server).map(|server| server.upper)
        && upper != 0
        && total >= upper
    {
        env.set_overload(server, upper);
    }
}

/// Takes a connection out of its server's count; with fewer than the lower threshold, or than three quarters of the
/// upper one, the server is no longer overloaded (`ip_vs_unbind_dest`). One that a lowered threshold has overloaded is
/// so from then on.
#[inline(always)]
pub fn unbind<E: Env>(env: &E, server: u32, state: u8) {
    let before = Load::total(env.add_load(server, 0_u64.wrapping_sub(load(state))));
    let Some((upper, lower)) = env.server(server).map(|server| (server.upper, server.lower)) else {
        return;
    };
    if upper == 0 {
        return;
    }
    let Some(load) = env.load(server) else { return };
    let reached = if before >= upper { upper } else { load.overload };
    let overload = if before > lower { reached } else { 0 };
    if overload != load.overload {
        env.set_overload(server, overload);
    }
}

/// Collects the connection under `key` if it is over; tells whether it was. This is what the controller runs for
/// the entries whose time has ended: in the kernel, because only there an entry can be ended while packets come.
#[inline(always)]
pub fn collect<A: Ip, E: Env + Tables<A>>(env: &E, key: &Tuple<A>, now: u64) -> bool {
    let Some(handle) = env.flow(key) else { return false };
    over(env, key, &handle, now) && end(env, key, &handle).is_ok()
}

/// The state of a new connection that this segment opens.
#[inline(always)]
pub fn first_state<P: Packet, A: Ip>(segment: &Segment<P, A>) -> u8 {
    if segment.tuple.protocol == u32::from(wire::PROTOCOL_UDP) {
        return UDP;
    }
    let none = tcp::TcpState::None as u8;
    tcp::next(Direction::ToServer as u8, none, segment.flags).unwrap_or(none)
}
