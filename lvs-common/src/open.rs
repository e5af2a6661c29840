//! New connections, the first part: the virtual service and the real server. [`crate::plan`] and [`crate::connect`] do
//! the rest; between the parts, the draft of the entries waits in [`Tables::draft`].

use crate::{
    abi::{
        Counter, Direction, Flow, Head, NO_SLOT, NextHop, Server, Service, ServiceKey, Tuple,
        flow_flags, forwarding, service_flags, settings_flags,
    },
    checksum::Sum,
    connection,
    connection::ticks,
    env::{Decision, Draft, Env, Tables},
    fault::{self, Fault},
    half_open,
    ip::Ip,
    packet::Packet,
    parse::{self, Fragments, Segment},
    persistence,
    pipeline::Verdict,
    scheduler, tcp,
};

/// The stage.
#[inline(always)]
pub fn open<P: Packet, A: Ip, E: Env + Tables<A>>(packet: &P, env: &E) -> Verdict {
    let segment = match parse::ethernet(packet)
        .and_then(|ethernet| parse::segment::<P, A>(packet, ethernet, Fragments::First))
    {
        Ok(segment) => segment,
        Err(verdict) => return verdict,
    };
    match decide(env, &segment) {
        Ok(verdict) => verdict,
        Err(stop) => stopped(env, &segment, &segment.tuple, stop),
    }
}

/// The verdict of the stages that follow: what they drop of a draft gives its slot back.
#[inline(always)]
pub(crate) fn finish<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
    draft: &Draft<A>,
    result: Result<Verdict, Stop>,
) -> Verdict {
    match result {
        Ok(verdict) => verdict,
        Err(stop) => {
            if draft.forth.half_open != NO_SLOT {
                Tables::<A>::free_half_open(env, draft.forth.half_open);
            }
            stopped(env, segment, &draft.key, stop)
        }
    }
}

#[inline(always)]
fn stopped<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
    tuple: &Tuple<A>,
    stop: Stop,
) -> Verdict {
    match stop {
        Stop::Count(counter) => {
            env.trace(tuple, Decision::Stopped(counter));
            counter.into()
        }
        Stop::Fault(fault) => {
            env.trace(tuple, Decision::Stopped(fault.counter()));
            fault::raise(env, fault, segment)
        }
    }
}

/// Why no connection is made.
#[derive(Clone, Copy, Debug)]
pub enum Stop {
    /// The packet passes or is dropped.
    Count(Counter),
    /// It is dropped, and its sender is told.
    Fault(Fault),
}

impl From<Counter> for Stop {
    #[inline(always)]
    fn from(counter: Counter) -> Self {
        if matches!(counter, Counter::NoServer) {
            Self::Fault(Fault::NO_SERVER)
        } else {
            Self::Count(counter)
        }
    }
}

/// Chooses the real server and begins both entries.
#[inline(always)]
fn decide<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
) -> Result<Verdict, Stop> {
    let service = service(env, segment)?;
    if A::ttl(&segment.ip) <= 1 {
        return Err(Stop::Fault(Fault::TTL_EXPIRED));
    }
    let now = env.now();
    let (id, server) = if service.persistence == 0 {
        scheduler::choose(env, &service).ok_or(Counter::NoServer)?
    } else {
        persistence::choose(env, &service, segment.tuple.source, now)?
    };
    env.draft(|draft| {
        draft.key = segment.tuple;
        (draft.first_local, draft.locals) = (service.first_local, service.locals);
        to_server(env, segment, &service, (id, &server), now, &mut draft.forth);
        if tcp::is_half_open(draft.forth.head.state) {
            draft.forth.half_open = half_open::take_slot(env, &draft.key);
        }
    })
    .ok_or(Counter::Internal)?;
    Ok(Verdict::Next(A::PLAN))
}

/// The virtual service that this segment asks for a connection to.
#[inline(always)]
fn service<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
) -> Result<Service, Counter> {
    let tuple = &segment.tuple;
    let key = ServiceKey {
        address: tuple.destination,
        port: tuple.destination_port,
        protocol: tuple.protocol as u16,
    };
    let service = env.service(&key).ok_or(Counter::NoService)?;
    if segment.is_tcp() && !segment.opens() {
        let sloppy = env.settings_flags() & settings_flags::SLOPPY_TCP != 0;
        if !sloppy || segment.flags & tcp::flags::RST != 0 {
            return Err(Counter::NotSyn);
        }
    }
    let ours = env.interface(env.ingress(), |at| parse::is_for(&segment.ethernet, at.mac));
    if ours != Some(true) {
        return Err(Counter::OtherHost);
    }
    // What the stack would not take either; it sees the addresses of this host, we those that cannot be
    // routed back to.
    if !tuple.source.is_of_a_client() {
        return Err(Counter::MartianSource);
    }
    Ok(service)
}

/// Fills in the entry of the client's packets: their destination is replaced by the real server's. With full NAT the
/// source is replaced too, as soon as it is known.
#[inline(always)]
fn to_server<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
    service: &Service,
    (id, server): (u32, &Server),
    now: u64,
    flow: &mut Flow<A>,
) {
    let tuple = &segment.tuple;
    let state = connection::first_state(segment);
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
    let address = A::narrow(server.address);
    let addresses = tuple.destination.replaced_by(address, Sum::default());
    let ports = Sum::default().replace(tuple.destination_port.to_be(), server.port.to_be());
    *flow = Flow {
        source: tuple.source,
        destination: address,
        source_port: tuple.source_port,
        destination_port: server.port,
        address_difference: addresses.fold(),
        port_difference: ports.fold(),
        hop: NextHop::NONE,
        seen: ticks(now),
        hop_checked: 0,
        timeout: env.timeout(state),
        server: id as u16,
        half_open: NO_SLOT,
        mtu: 0,
        head: Head { state, direction: Direction::ToServer as u8, flags, reserved: 0 },
    };
}
