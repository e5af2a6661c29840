//! The whole engine under any sequence of events: what libFuzzer calls (`cargo xtask fuzz`), and what the tests call
//! with the corpus in `tests/corpus/engine`.
//!
//! The input is a list of steps of eight bytes ([`step`]): a packet of a few clients and servers, right or damaged,
//! raw bytes, time that passes, a route that changes. After each step the tables must still be sound ([`checks`]).
#![expect(clippy::indexing_slicing, reason = "a wrong index is found by the fuzzer itself")]

mod checks;
mod step;

use std::{format, string::String, vec, vec::Vec};

use step::{Action, Step};

use super::{
    Frame, MemoryEnv, MemoryPacket, Protocol, Tag,
    sample::{self, CLIENT_SIDE, MTU, SERVER_SIDE, Sample, port, service_key, unresolved, via},
};
use crate::{
    abi::{Tuple, V4, V6, settings_flags},
    connection,
    env::{Reach, Route},
    pipeline,
};

/// More steps than an input needs to bring about anything.
const STEPS: usize = 64;

/// Runs the steps in `data`.
///
/// # Panics
///
/// If the engine panics, or leaves the tables or a packet in a state that must not be.
pub fn fuzz(data: &[u8]) {
    let mut env = sample::balancer();
    let mut rest = data;
    for _ in 0..STEPS {
        let Some((step, raw, next)) = Step::read(rest) else { return };
        rest = next;
        if step.over_ipv6() {
            run::<V6>(&mut env, step, raw);
        } else {
            run::<V4>(&mut env, step, raw);
        }
        checks::tables::<V4>(&env);
        checks::tables::<V6>(&env);
        checks::loads(&env);
    }
}

/// The steps in `data`, one a line, for a person who looks into a crash.
#[must_use]
pub fn describe(data: &[u8]) -> String {
    let mut lines = Vec::new();
    let mut rest = data;
    while let Some((step, raw, next)) = Step::read(rest) {
        lines.push(format!("{step:?} {raw:02x?}"));
        rest = next;
    }
    lines.join("\n")
}

fn run<A: Sample>(env: &mut MemoryEnv, step: Step, raw: &[u8]) {
    match step.action {
        Action::Request => send(env, step, request::<A>(step).bytes()),
        Action::Entry => send(env, step, entry::<A>(env, step).bytes()),
        Action::Error => send(env, step, error::<A>(env, step).and_then(|error| error.bytes())),
        Action::RequestFragment => send(env, step, fragment(request::<A>(step), step)),
        Action::EntryFragment => send(env, step, fragment(entry::<A>(env, step), step)),
        Action::DamagedRequest => send(env, step, request::<A>(step).bytes().map(damage(step))),
        Action::DamagedEntry => send(env, step, entry::<A>(env, step).bytes().map(damage(step))),
        Action::DamagedError => {
            let error = error::<A>(env, step).and_then(|error| error.bytes());
            send(env, step, error.map(damage(step)));
        }
        Action::Raw => send(env, step, Ok(raw.to_vec())),
        Action::Milliseconds => pass(env, u64::from(step.word()) * 1_000_000),
        Action::Seconds => pass(env, u64::from(step.word() % 2048) * 1_000_000_000),
        Action::Collect => {
            for key in keys::<A>(env) {
                connection::collect(env, &key, env.now.get());
            }
        }
        Action::Route => route::<A>(env, step),
        Action::Members => {
            let key = service_key(step.method(), step.kind());
            if let Some(service) = A::tables_mut(env).services.get_mut(&key) {
                service.members = u32::from(step.port % 3);
            }
        }
        Action::Capacity => A::tables(env).capacity.set(step.port.into()),
        Action::Settings => {
            env.settings.flags = if step.flags & 1 == 0 { 0 } else { settings_flags::SLOPPY_TCP };
            env.unfiltered = step.flags & 2 != 0;
            env.errors_per_second = step.length.into();
            if step.flags & 4 != 0 {
                env.settings.timeouts = [u32::from(step.port); 16];
            }
        }
    }
}

fn pass(env: &MemoryEnv, nanoseconds: u64) {
    env.now.set(env.now.get() + nanoseconds);
}

/// Sends a frame, if there is one, and looks at what became of it.
fn send(env: &MemoryEnv, step: Step, bytes: Result<Vec<u8>, String>) {
    let Ok(bytes) = bytes else { return };
    env.ingress.set(if step.on_server_side() { SERVER_SIDE } else { CLIENT_SIDE });
    let before = checks::Before::of(env);
    let mut packet = MemoryPacket::new(&bytes);
    let verdict = pipeline::process(&mut packet, env);
    before.check(env, verdict, &bytes, &packet.bytes());
}

/// From a client to a service.
fn request<A: Sample>(step: Step) -> Frame<A> {
    let client = A::CLIENTS[usize::from(step.second_client())];
    let from = (client, 40_000 + u16::from(step.port % 16));
    let to = (A::VIP, port(step.method(), step.kind()));
    let frame = Frame::new(from, to, step.flags);
    dress(frame, step, step.kind().protocol())
}

/// A packet that meets an entry of the connection table, if there is one.
fn entry<A: Sample>(env: &MemoryEnv, step: Step) -> Frame<A> {
    let keys = keys::<A>(env);
    let Some(key) = keys.get(usize::from(step.place) % keys.len().max(1)) else {
        return request(step);
    };
    let from = (key.source, key.source_port);
    let to = (key.destination, key.destination_port);
    dress(Frame::new(from, to, step.flags), step, u8::try_from(key.protocol).unwrap_or(0))
}

/// An ICMP error about a packet of a connection as it left.
fn error<A: Sample>(env: &MemoryEnv, step: Step) -> Result<Frame<A>, String> {
    const KINDS: [[[u8; 2]; 4]; 2] =
        [[[3, 4], [3, 3], [11, 0], [8, 0]], [[2, 0], [1, 4], [3, 0], [128, 0]]];
    let met = entry::<A>(env, step);
    let Some(flow) = A::tables(env).entry(&met.tuple()) else { return Ok(met) };
    let left = Frame {
        source: flow.source,
        destination: flow.destination,
        ports: [flow.source_port, flow.destination_port],
        tags: Vec::new(),
        ..met.clone()
    };
    let mut quote = left.packet()?;
    quote.truncate(20 + usize::from(step.length));
    let speaker = if step.second_client() { A::ROUTER } else { flow.destination };
    let kind = KINDS[usize::from(A::VERSION == 6)][usize::from(step.flags % 4)];
    let error = Frame::icmp(speaker, flow.source, kind, 1280, &quote);
    Ok(Frame { ttl: met.ttl, tags: met.tags, ..error })
}

/// One of the fragments of a frame.
fn fragment<A: Sample>(frame: Frame<A>, step: Step) -> Result<Vec<u8>, String> {
    let payload = (0..=u8::MAX).cycle().take(64 + usize::from(step.length)).collect();
    let whole = Frame { payload, identification: u32::from(step.port % 4), ..frame };
    let mut fragments = whole.fragments(32)?;
    let place = usize::from(step.variant >> 4) % fragments.len();
    Ok(fragments.swap_remove(place))
}

/// Gives a frame what varies.
fn dress<A: Sample>(frame: Frame<A>, step: Step, protocol: u8) -> Frame<A> {
    let udp = if step.variant & 4 == 0 { Protocol::Udp } else { Protocol::UnsummedUdp };
    let large = if step.variant & 8 == 0 { 0 } else { usize::from(MTU) - 300 };
    Frame {
        tags: (0..step.variant & 3).map(|id| Tag::vlan(id.into())).collect(),
        ttl: if step.ttl == 0 { 64 } else { step.ttl },
        dont_fragment: step.variant & 16 != 0,
        options: if A::VERSION == 4 && step.variant & 32 != 0 { vec![1; 8] } else { Vec::new() },
        protocol: if protocol == crate::wire::PROTOCOL_UDP { udp } else { Protocol::Tcp },
        payload: (0..=u8::MAX).cycle().take(large + usize::from(step.length)).collect(),
        ..frame
    }
}

/// Changes a byte of a frame, or cuts it there.
fn damage(step: Step) -> impl Fn(Vec<u8>) -> Vec<u8> {
    let (place, value) = (usize::from(step.place), step.variant);
    move |mut bytes| {
        if value == 0 {
            bytes.truncate(place);
        } else if let Some(byte) = bytes.get_mut(place) {
            *byte ^= value;
        }
        bytes
    }
}

/// Changes the way to a client or a server.
fn route<A: Sample>(env: &MemoryEnv, step: Step) {
    let place = usize::from(step.port % 5);
    let (side, destination) = match A::CLIENTS.get(place) {
        Some(client) => (CLIENT_SIDE, *client),
        None => (SERVER_SIDE, A::SERVERS[place - A::CLIENTS.len()]),
    };
    let route = match step.flags % 8 {
        0 => Route::nowhere(Reach::None),
        1 => Route::nowhere(Reach::ForwardingDisabled),
        2 => unresolved(side, destination),
        3 => unresolved(77, destination),
        4 => via(77, [7; 6]),
        5 => Route { mtu: 68 + u16::from(step.length) * 8, ..via(side, [7; 6]) },
        _ => via(side, [step.length; 6]),
    };
    A::tables(env).routes.borrow_mut().insert(destination, route);
}

/// The keys of the connection table, in an order that is the same in each run.
fn keys<A: Sample>(env: &MemoryEnv) -> Vec<Tuple<A>> {
    let mut keys: Vec<_> = A::tables(env).flows.borrow().keys().copied().collect();
    keys.sort_by_key(|key| {
        let [source, destination] = [key.source.widen(), key.destination.widen()];
        (source, destination, key.source_port, key.destination_port, key.protocol)
    });
    keys
}
