//! Connection tracking: finding a packet's connection, following its state, and making new ones.
//!
//! A connection is two entries, one per direction. Each packet needs one look-up; the other entry is
//! touched only when the state changes or when an entry's own time has ended.

use crate::{
    abi::{Counter, Direction, Flow4, NextHop, Server, Service, ServiceKey4, Tuple4, flow_flags},
    checksum::Sum,
    env::{Env, FlowHandle, InsertError},
    packet::Packet,
    parse::Segment,
    persistence, scheduler,
    tcp::{self, TcpState},
};

/// The live entry under `key`. An entry whose time has ended is treated as absent, and removed with
/// its other direction, unless that one is alive: traffic may well flow in one direction only.
#[inline(always)]
pub fn find<E: Env>(env: &E, key: &Tuple4, now: u64) -> Option<(E::Flow, Flow4)> {
    let handle = env.flow(key)?;
    let flow = handle.load();
    if flow.ended(now) && !other_direction_lives(env, key, &flow, now) {
        remove(env, key, &flow);
        return None;
    }
    Some((handle, flow))
}

#[inline(always)]
fn other_direction_lives<E: Env>(env: &E, key: &Tuple4, flow: &Flow4, now: u64) -> bool {
    env.flow(&flow.reverse_key(key.protocol)).is_some_and(|other| !other.load().ended(now))
}

/// Removes both entries of the connection that `flow` under `key` is one direction of.
#[inline(always)]
pub fn remove<E: Env>(env: &E, key: &Tuple4, flow: &Flow4) {
    env.remove_flow(&flow.reverse_key(key.protocol));
    env.remove_flow(key);
}

/// Whether this segment opens a new connection in the place of a closed one: a SYN from the client that
/// meets `TIME_WAIT` or `CLOSE`, unless persistence chose the server (`is_new_conn_expected` in
/// `ip_vs_core.c`).
#[inline(always)]
pub fn reopens<P: Packet>(segment: &Segment<P>, flow: &Flow4) -> bool {
    segment.opens() && flow.to_server() && closed(flow) && flow.flags & flow_flags::CONTROLLED == 0
}

#[inline(always)]
const fn closed(flow: &Flow4) -> bool {
    flow.state == TcpState::TimeWait as u8 || flow.state == TcpState::Close as u8
}

/// Follows the connection's state with this segment and notes the time.
#[inline(always)]
pub fn track<E: Env, P: Packet>(
    env: &E,
    segment: &Segment<P>,
    handle: &E::Flow,
    flow: &Flow4,
    now: u64,
) {
    if flow.seen != now {
        handle.set_seen(now);
    }
    if !tcp::can_move(flow.state, segment.flags) {
        return;
    }
    let direction = if flow.to_server() { Direction::ToServer } else { Direction::ToClient };
    if let Some((state, timeout)) = tcp::next(direction, flow.state, segment.flags)
        && state != flow.state
    {
        handle.set_state(state, timeout);
        if let Some(other) = env.flow(&flow.reverse_key(segment.tuple.protocol)) {
            other.set_state(state, timeout);
        }
    }
}

/// Both entries of a connection that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct New {
    /// Of the client's packets.
    pub to_server: Flow4,
    /// Of the replies.
    pub to_client: Flow4,
}

/// The virtual service that this segment asks for a connection to.
#[inline(always)]
pub fn service<E: Env, P: Packet>(env: &E, segment: &Segment<P>) -> Result<Service, Counter> {
    let tuple = &segment.tuple;
    let key = ServiceKey4 {
        address: tuple.destination,
        port: tuple.destination_port,
        protocol: tuple.protocol as u16,
    };
    let service = env.service(&key).ok_or(Counter::NoService)?;
    if !segment.opens() {
        return Err(Counter::NotSyn);
    }
    if !env.interface(env.ingress()).is_some_and(|interface| segment.is_for(interface.mac)) {
        return Err(Counter::OtherHost);
    }
    // What the stack would not take either; it sees the addresses of this host, we those that cannot be
    // routed back to.
    let [network, ..] = tuple.source;
    if network == 0 || network == 127 || network >= 224 {
        return Err(Counter::MartianSource);
    }
    Ok(service)
}

/// Decides on the connection that this segment asks for: its real server and both entries.
#[inline(always)]
pub fn schedule<E: Env, P: Packet>(
    env: &E,
    segment: &Segment<P>,
    service: &Service,
    now: u64,
) -> Result<New, Counter> {
    let (id, server) = if service.persistence == 0 {
        scheduler::choose(env, service).ok_or(Counter::NoServer)?
    } else {
        persistence::choose(env, service, segment.tuple.source, now)?
    };
    Ok(entries(segment, service, (id, &server), env.ingress(), now))
}

/// Puts a new connection into the table, under the key of the packet that opens it.
#[inline(always)]
pub fn insert<E: Env>(env: &E, key: &Tuple4, new: &New, now: u64) -> Result<(), Counter> {
    let reply_key = new.to_server.reverse_key(key.protocol);
    // The reverse entry first: once the client's packet is out, the reply must find it.
    insert_reverse(env, &reply_key, &new.to_client, now)?;
    if let Err(error) = env.insert_flow(key, &new.to_server) {
        env.remove_flow(&reply_key);
        return Err(refused(error));
    }
    env.count_connection(new.to_server.server);
    Ok(())
}

#[inline(always)]
const fn refused(error: InsertError) -> Counter {
    match error {
        InsertError::Full => Counter::TableFull,
        InsertError::Exists => Counter::TupleInUse,
    }
}

/// Inserts the entry of the replies. Another connection may hold the key: the same client port, to
/// another virtual service with the same real server. It gives way once it is over.
#[inline(always)]
fn insert_reverse<E: Env>(env: &E, key: &Tuple4, flow: &Flow4, now: u64) -> Result<(), Counter> {
    match env.insert_flow(key, flow) {
        Ok(()) => return Ok(()),
        Err(InsertError::Full) => return Err(Counter::TableFull),
        Err(InsertError::Exists) => {}
    }
    if let Some((_, holder)) = find(env, key, now) {
        if !closed(&holder) {
            return Err(Counter::TupleInUse);
        }
        remove(env, key, &holder);
    }
    env.insert_flow(key, flow).map_err(refused)
}

/// Both entries of a new connection with NAT: the client's direction has its destination replaced by
/// the real server's, the replies have their source replaced by the virtual service's.
#[inline(always)]
fn entries<P: Packet>(
    segment: &Segment<P>,
    service: &Service,
    (id, server): (u32, &Server),
    ingress: u32,
    now: u64,
) -> New {
    let tuple = &segment.tuple;
    let (state, timeout) = (TcpState::SynRecv as u8, TcpState::SynRecv.timeout());
    let flags = if service.persistence == 0 { 0 } else { flow_flags::CONTROLLED };
    let (virtual_port, server_port) = (tuple.destination_port.to_be(), server.port.to_be());
    let forth = Sum::default().replace_4(tuple.destination, server.address);
    let back = Sum::default().replace_4(server.address, tuple.destination);
    let to_server = Flow4 {
        source: tuple.source,
        destination: server.address,
        source_port: tuple.source_port,
        destination_port: server.port,
        address_difference: forth.fold(),
        port_difference: Sum::default().replace(virtual_port, server_port).fold(),
        hop: NextHop::NONE,
        hop_checked: 0,
        seen: now,
        timeout,
        server: id,
        service: service.id,
        state,
        direction: Direction::ToServer as u8,
        flags,
        reserved: 0,
    };
    // Replies to a neighbour that the kernel has not resolved go back where the SYN came from.
    let to_client = Flow4 {
        source: tuple.destination,
        destination: tuple.source,
        source_port: tuple.destination_port,
        destination_port: tuple.source_port,
        address_difference: back.fold(),
        port_difference: Sum::default().replace(server_port, virtual_port).fold(),
        hop: segment.way_back(ingress),
        direction: Direction::ToClient as u8,
        ..to_server
    };
    New { to_server, to_client }
}
