//! Fragments follow their first one, which alone holds the ports. A fragment that comes before the first one, or
//! whose first one never passed here, goes to the stack and is counted: it cannot be told whose it is.

use crate::{
    abi::{Counter, Fragment, FragmentKey, Tuple},
    connection,
    env::{Env, Tables},
    filter, forward,
    ip::{Ip, Part},
    packet::{Packet, Window},
    parse::{self, Segment, Transport},
    pipeline::Verdict,
    wire,
};

/// How long the fragments of a datagram may come after the first one, in ns: as long as Linux waits for them
/// (`net.ipv4.ipfrag_time`).
const LIFETIME: u64 = 30_000_000_000;

/// The stage.
#[inline(always)]
pub fn fragment<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    walk::<P, A, E>(packet, env).unwrap_or_else(Into::into)
}

#[inline(always)]
fn walk<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Result<Verdict, Counter> {
    let Ok(ethernet) = parse::ethernet(packet) else { return Err(Counter::NotIp) };
    let ip_offset = ethernet.end;
    let ip = A::header(packet, ip_offset).ok_or(Counter::Malformed)?;
    let layout = A::layout(packet, &ip, ip_offset).ok_or(Counter::Malformed)?;
    let key = FragmentKey {
        source: A::source(&ip),
        destination: A::destination(&ip),
        identification: layout.identification,
        protocol: layout.protocol.into(),
    };
    let mut tuple = Tuple {
        source: key.source,
        destination: key.destination,
        source_port: 0,
        destination_port: 0,
        protocol: key.protocol,
    };
    let now = env.now();
    if layout.part == Part::First {
        // Both TCP and UDP begin with the ports; the next stage reads the rest.
        let ports = packet.window::<4>(layout.payload).ok_or(Counter::Malformed)?;
        tuple.source_port = u16::from_be(ports.u16::<{ wire::SOURCE_PORT }>());
        tuple.destination_port = u16::from_be(ports.u16::<{ wire::DESTINATION_PORT }>());
        if !filter::may_be_ours(env, &tuple) {
            return Err(Counter::NoService);
        }
        let fragment = Fragment {
            seen: now,
            source_port: tuple.source_port,
            destination_port: tuple.destination_port,
            reserved: 0,
        };
        env.set_fragment(&key, &fragment);
        return Ok(Verdict::Next(A::FOLLOW));
    }
    let known = env.fragment(&key).ok_or(Counter::Fragment)?;
    if now.saturating_sub(known.seen) > LIFETIME {
        return Err(Counter::Fragment);
    }
    tuple.source_port = known.source_port;
    tuple.destination_port = known.destination_port;
    let handle = env.flow(&tuple).ok_or(Counter::Fragment)?;
    if connection::over(env, &tuple, &handle, now) {
        return Err(Counter::Fragment);
    }
    connection::touch::<A, E>(&handle, now);
    let mut segment: Segment<P, A> = Segment {
        ethernet: ethernet.window,
        ip,
        transport: Transport::Elsewhere,
        ip_offset,
        transport_offset: layout.payload,
        tuple,
        length: layout.length,
        flags: 0,
    };
    Ok(forward::existing(env, packet, &mut segment, &handle, now))
}
