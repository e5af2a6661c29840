//! New connections, the last part: for full NAT the source port, and both entries.

use crate::{
    abi::{Counter, Flow, Head, Tuple, flow_flags},
    connection,
    env::{Decision, Draft, Env, FlowHandle, InsertError, Tables},
    forward::{self, Passage, Way},
    ip::Ip,
    open::{self, Stop},
    packet::Packet,
    parse::{self, Fragments, Segment},
    persistence,
    pipeline::Verdict,
    snat, tcp,
};

/// The stage. The entries come before a look at the packet, of which they need nothing: the verifier would walk all
/// tries for a port once for each form that headers can have.
#[inline(always)]
pub fn connect<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    env.draft(|draft| {
        let inserted = insert(env, draft);
        // The stages before have read the same headers.
        let mut segment = match parse::ethernet(packet)
            .and_then(|ethernet| parse::segment::<P, A>(packet, ethernet, Fragments::First))
        {
            Ok(segment) => segment,
            Err(verdict) => return verdict,
        };
        let result = match inserted {
            Ok(()) => Ok(depart(packet, env, &mut segment, draft)),
            Err(counter) => Err(Stop::from(counter)),
        };
        open::finish(env, draft, result)
    })
    .unwrap_or(Verdict::Drop(Counter::Internal))
}

/// Inserts both entries.
#[inline(always)]
fn insert<A: Ip, E: Env + Tables<A>>(env: &E, draft: &mut Draft<A>) -> Result<(), Counter> {
    let now = env.now();
    // The entry of the replies first: once the client's packet is out, the reply must find it.
    if draft.forth.head.flags & flow_flags::FULL_NAT != 0 {
        snat::insert_reply(env, draft, now)?;
    } else {
        draft.reply_key = draft.forth.reverse_key(draft.key.protocol);
        insert_reply(env, &draft.reply_key, &draft.back, now)?;
    }
    if draft.forth.head.flags & flow_flags::ONE_PACKET == 0 {
        insert_forth(env, draft)?;
    }
    Ok(())
}

/// Counts the connection and sends its first segment on.
#[inline(always)]
fn depart<P: Packet, A: Ip, E: Env + Tables<A>>(
    packet: &P,
    env: &E,
    segment: &mut Segment<P, A>,
    draft: &Draft<A>,
) -> Verdict {
    env.count_connection(draft.forth.server);
    let decision = Decision::Opened { server: draft.forth.server, reply: draft.reply_key };
    env.trace(&draft.key, decision);
    let (hop, mtu) = (draft.forth.hop, draft.forth.mtu);
    let way = if hop.interface == 0 { Way::STACK } else { Way::out(hop, mtu) };
    forward::send(env, packet, segment, &Passage::of(&draft.forth), &way)
}

/// Inserts the entry of the client's packets and counts the connection; takes the replies' back if that fails.
#[inline(always)]
fn insert_forth<A: Ip, E: Env + Tables<A>>(env: &E, draft: &mut Draft<A>) -> Result<(), Counter> {
    let Draft { forth, key, reply_key, .. } = draft;
    let Head { state, flags, template, direction: _ } = forth.head;
    let server = forth.server;
    connection::bind(env, server, state);
    let Err(error) = env.insert_flow(key, forth) else {
        if flags & flow_flags::CONTROLLED != 0 {
            persistence::enter(env, key.source, server, template);
        }
        return Ok(());
    };
    env.remove_flow(reply_key);
    connection::unbind(env, server, state);
    Err(refused(error))
}

#[inline(always)]
pub(crate) const fn refused(error: InsertError) -> Counter {
    match error {
        InsertError::Full => Counter::TableFull,
        InsertError::Exists => Counter::TupleInUse,
    }
}

/// Inserts the entry of the replies. Another connection may hold the key: the same client port, to
/// another virtual service with the same real server. It gives way once it is over. That is rare, and not looked for
/// before the key has been found to be in use.
#[inline(always)]
fn insert_reply<A: Ip, E: Env + Tables<A>>(
    env: &E,
    key: &Tuple<A>,
    flow: &Flow<A>,
    now: u64,
) -> Result<(), Counter> {
    match env.insert_flow(key, flow) {
        Ok(()) => return Ok(()),
        Err(InsertError::Full) => return Err(Counter::TableFull),
        Err(InsertError::Exists) => {}
    }
    if let Some(handle) = env.flow(key) {
        let (head, server) = handle.get(|holder| (holder.head, holder.server));
        let one_packet = flow.head.flags & head.flags & flow_flags::ONE_PACKET != 0;
        if one_packet && server == flow.server {
            connection::touch::<A, E>(&handle, now);
            return Ok(());
        }
        if !tcp::is_closed(head.state) && !connection::over(env, key, &handle, now) {
            return Err(Counter::TupleInUse);
        }
        connection::end(env, key, &handle).map_err(|_| Counter::TupleInUse)?;
    }
    env.insert_flow(key, flow).map_err(refused)
}
