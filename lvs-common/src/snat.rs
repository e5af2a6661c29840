//! Full NAT: the source address and port towards the real server.
//!
//! A port is free if no live connection has the key of its replies: (server, port, local address, local port,
//! protocol). The ports are tried in turn, which finds those first that were given back the longest ago; if the next
//! one is taken, a few at random. The controller lists the ports, apart from those that the host itself uses.

use crate::{
    abi::{Counter, Tuple},
    checksum::Sum,
    connect::refused,
    connection,
    env::{Draft, Env, Tables},
    ip::Ip,
};

/// How many ports are tried. With 9 of 10 taken by long-lived connections, one in six finds none.
const TRIES: u32 = 16;

/// Finds a free source for a new connection, writes it into both entries, and inserts that of the replies.
#[inline(always)]
pub fn insert_reply<A: Ip, E: Env + Tables<A>>(
    env: &E,
    draft: &mut Draft<A>,
    now: u64,
) -> Result<(), Counter> {
    let Draft { forth: flow, back, key, reply_key, service, class: _, length: _ } = draft;
    let (first_local, locals) = (service.first_local, service.locals);
    let (client, client_port) = (flow.source, flow.source_port);
    let addresses = Sum::default().add(back.address_difference);
    let ports_difference = Sum::default().add(back.port_difference);
    let ports = env.ports();
    let own = if locals == 0 {
        env.interface(flow.hop.interface, A::of_interface).ok_or(Counter::NotAttached)?
    } else {
        A::UNSPECIFIED
    };
    if locals == 0 && own.is_unspecified() {
        return Err(Counter::NoLocalAddress);
    }
    if ports == 0 {
        return Err(Counter::NoPort);
    }
    let turn = env.take_port_turn(flow.server).ok_or(Counter::Internal)?;
    let count = if locals == 0 { 1 } else { locals };
    // Each turn is another pair of address and port; the addresses take turns first.
    let pairs = u64::from(ports) * u64::from(count);
    let mut index = turn.checked_rem(pairs).unwrap_or_default() as u32;
    let mut found = false;
    for _ in 0..TRIES {
        let local = if locals == 0 {
            own
        } else {
            let slot = first_local + index.checked_rem(count).unwrap_or_default();
            A::narrow(env.local(slot).ok_or(Counter::Internal)?)
        };
        let place = index.checked_div(count).unwrap_or_default();
        let place = place.checked_rem(ports).unwrap_or_default();
        *reply_key = Tuple {
            source: flow.destination,
            destination: local,
            source_port: flow.destination_port,
            destination_port: env.port(place).ok_or(Counter::Internal)?,
            protocol: key.protocol,
        };
        // All else waits until the search is over: the verifier walks every way through this loop.
        found = match env.flow(reply_key) {
            None => true,
            Some(holder) => connection::over(env, reply_key, &holder, now),
        };
        if found {
            break;
        }
        index = env.random();
    }
    if !found {
        return Err(Counter::NoPort);
    }
    if let Some(holder) = env.flow(reply_key) {
        connection::end(env, reply_key, &holder).map_err(|_| Counter::TupleInUse)?;
    }
    let (local, port) = (reply_key.destination, reply_key.destination_port);
    back.address_difference = local.replaced_by(client, addresses).fold();
    back.port_difference = ports_difference.replace(port.to_be(), client_port.to_be()).fold();
    env.insert_flow(reply_key, back).map_err(refused)?;
    let there = Sum::default().add(flow.address_difference);
    flow.address_difference = client.replaced_by(local, there).fold();
    let there = Sum::default().add(flow.port_difference);
    flow.port_difference = there.replace(client_port.to_be(), port.to_be()).fold();
    (flow.source, flow.source_port) = (local, port);
    Ok(())
}
