//! The packet walk, from the first byte to the verdict.

use crate::{
    abi::{Counter, Direction, Flow4},
    connection,
    env::Env,
    forward::{self, Way},
    packet::{Packet, Window as _},
    parse::{self, Segment},
    wire,
};

/// What is to be done with the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Out of the interface with this index.
    Redirect(u32),
    /// To the stack of this host.
    Pass(Counter),
    /// Nowhere.
    Drop(Counter),
}

impl From<Counter> for Verdict {
    #[inline(always)]
    fn from(counter: Counter) -> Self {
        match counter {
            Counter::NotIpv4
            | Counter::NotTcp
            | Counter::Fragment
            | Counter::Malformed
            | Counter::NoService
            | Counter::NotSyn
            | Counter::HandedToStack
            | Counter::OtherHost => Self::Pass(counter),
            Counter::NoServer
            | Counter::TableFull
            | Counter::TupleInUse
            | Counter::TtlExpired
            | Counter::NoRoute
            | Counter::ForwardingDisabled
            | Counter::NotAttached
            | Counter::Unresolved
            | Counter::MartianSource => Self::Drop(counter),
        }
    }
}

/// Processes one packet: changes its bytes and the tables, and says where it goes.
#[inline(always)]
pub fn process<P: Packet, E: Env>(packet: &P, env: &E) -> Verdict {
    let verdict = match parse::segment(packet) {
        Ok(mut segment) => walk(packet, &mut segment, env),
        Err(counter) => counter.into(),
    };
    if let Verdict::Pass(counter) | Verdict::Drop(counter) = verdict {
        env.count(counter);
    }
    verdict
}

#[inline(always)]
fn walk<P: Packet, E: Env>(packet: &P, segment: &mut Segment<P>, env: &E) -> Verdict {
    let now = env.now();
    if let Some((handle, flow)) = connection::find(env, &segment.tuple, now) {
        if !connection::reopens(segment, &flow) {
            connection::track(env, segment, &handle, &flow, now);
            let verdict = forward::existing(env, packet, segment, &handle, &flow, now);
            account(env, &flow, segment.length, verdict);
            return verdict;
        }
        connection::remove(env, &segment.tuple, &flow);
    }
    match open(packet, segment, env, now) {
        Ok(verdict) => verdict,
        Err(counter) => counter.into(),
    }
}

/// Makes the connection that this segment asks for and sends the segment on. Both ways are looked up first:
/// no connection is made to or for somebody that cannot be reached.
#[inline(always)]
fn open<P: Packet, E: Env>(
    packet: &P,
    segment: &mut Segment<P>,
    env: &E,
    now: u64,
) -> Result<Verdict, Counter> {
    let service = connection::service(env, segment)?;
    let ttl = segment.head.u8::<{ wire::IPV4_TTL }>();
    if ttl <= 1 {
        return Err(Counter::TtlExpired);
    }
    let mut new = connection::schedule(env, segment, &service, now)?;
    let way = forward::look_up(env, segment, &new.to_server);
    match way {
        Way::Via(hop) => (new.to_server.hop, new.to_server.hop_checked) = (hop, now),
        Way::Stack => {}
        Way::Stop(counter) => return Err(counter),
    }
    match forward::look_up(env, segment, &new.to_client) {
        Way::Via(hop) => (new.to_client.hop, new.to_client.hop_checked) = (hop, now),
        // The reply may find the neighbour resolved.
        Way::Stack | Way::Stop(Counter::Unresolved) => {}
        Way::Stop(counter) => return Err(counter),
    }
    connection::insert(env, &segment.tuple, &new, now)?;
    let verdict = forward::send(packet, segment, &new.to_server, &way);
    account(env, &new.to_server, segment.length, verdict);
    Ok(verdict)
}

/// Counts a packet that has been sent on, whether by us or by the stack.
#[inline(always)]
fn account<E: Env>(env: &E, flow: &Flow4, length: u32, verdict: Verdict) {
    if matches!(verdict, Verdict::Drop(_)) {
        return;
    }
    let direction = if flow.to_server() { Direction::ToServer } else { Direction::ToClient };
    env.count_packet(flow.server, direction, length);
}
