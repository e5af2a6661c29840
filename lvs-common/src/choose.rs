//! New connections, the second part: the real server, by persistence or by the scheduler, and the entry of the client's
//! packets.

use crate::{
    abi::{Counter, Direction, Head, Limits, NO_SLOT, flow_flags, forwarding, service_flags},
    checksum::Sum,
    connection::ticks,
    env::{Draft, Env, Tables},
    ip::Ip,
    open::{self, Stop},
    persistence::{self, Choice},
    pipeline::Verdict,
    scheduler::{self, Request},
};

/// The stage. It does not look at the packet: all that counts is in the draft, and schedulers need the stack.
#[inline(always)]
pub fn choose<A: Ip, E: Env + Tables<A>>(env: &E) -> Verdict {
    Tables::<A>::draft(env, |draft| match decide(env, draft) {
        Ok(()) => Verdict::Next(A::PLAN),
        Err(counter) => open::stopped(env, &draft.key, Stop::from(counter)),
    })
    .unwrap_or(Verdict::Drop(Counter::Internal))
}

/// Chooses the real server and begins the entry.
#[inline(always)]
fn decide<A: Ip, E: Env + Tables<A>>(env: &E, draft: &mut Draft<A>) -> Result<(), Counter> {
    let now = env.now();
    let request = Request {
        source: draft.key.source,
        source_port: draft.key.source_port,
        destination: draft.key.destination,
        second: (now / 1_000_000_000) as u32,
    };
    let service = &draft.service;
    let choice = if service.persistence == 0 {
        Choice { id: scheduler::choose(env, service, &request), template: 0 }
    } else {
        persistence::choose(env, service, &request, now)?
    };
    to_server(env, &choice, now, draft)
}

/// Fills in the entry of the client's packets: their destination is replaced by the real server's. With full NAT the
/// source is replaced too, as soon as it is known.
#[inline(always)]
fn to_server<A: Ip, E: Env>(
    env: &E,
    choice: &Choice,
    now: u64,
    draft: &mut Draft<A>,
) -> Result<(), Counter> {
    let Draft { forth: flow, key: tuple, service, .. } = draft;
    let state = flow.head.state;
    let mut flags = 0;
    if service.persistence != 0 {
        flags |= flow_flags::CONTROLLED;
    }
    if service.flags & service_flags::ONE_PACKET != 0 {
        flags |= flow_flags::ONE_PACKET;
    }
    if service.forwarding == forwarding::FULL_NAT {
        flags |= flow_flags::FULL_NAT;
    }
    let Choice { id, template } = *choice;
    // There is none with the id of nobody.
    let server = env.server(id).ok_or(Counter::NoServer)?;
    let address = A::narrow(server.address);
    let port = if server.port == 0 { tuple.destination_port } else { server.port };
    let addresses = tuple.destination.replaced_by(address, Sum::default());
    let ports = Sum::default().replace(tuple.destination_port.to_be(), port.to_be());
    // Field by field: what the next part finds out stays as it is, and a whole one would be built on the stack.
    flow.source = tuple.source;
    flow.destination = address;
    flow.source_port = tuple.source_port;
    flow.destination_port = port;
    flow.address_difference = addresses.fold();
    flow.port_difference = ports.fold();
    flow.seen = ticks(now);
    flow.server = id;
    flow.limits = Limits::new(env.timeout(state), NO_SLOT);
    flow.head = Head { state, direction: Direction::ToServer as u8, flags, template };
    Ok(())
}
