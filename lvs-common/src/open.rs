//! New connections, the first part: the virtual service. [`crate::choose`], [`crate::plan`] and [`crate::connect`] do the
//! rest; between the parts, what is known of the connection waits in [`Tables::draft`].

use crate::{
    abi::{Counter, NO_SLOT, Service, ServiceKey, Tuple, settings_flags},
    connection,
    env::{Decision, Draft, Env, Tables},
    fault::{self, Fault},
    ip::Ip,
    packet::Packet,
    parse::{self, Fragments, Segment},
    pipeline::Verdict,
    tcp,
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
        Err(stop) => stopped(env, &segment.tuple, stop),
    }
}

/// The verdict of the stages that follow: what they drop of a draft gives its slot back.
#[inline(always)]
pub(crate) fn finish<A: Ip, E: Env + Tables<A>>(
    env: &E,
    draft: &Draft<A>,
    result: Result<Verdict, Stop>,
) -> Verdict {
    match result {
        Ok(verdict) => verdict,
        Err(stop) => {
            if draft.forth.limits.half_open() != NO_SLOT {
                Tables::<A>::free_half_open(env, draft.forth.limits.half_open());
            }
            stopped(env, &draft.key, stop)
        }
    }
}

#[inline(always)]
pub(crate) fn stopped<A: Ip, E: Env + Tables<A>>(env: &E, tuple: &Tuple<A>, stop: Stop) -> Verdict {
    match stop {
        Stop::Count(counter) => {
            env.trace(tuple, Decision::Stopped(counter));
            counter.into()
        }
        Stop::Fault(fault) => {
            env.trace(tuple, Decision::Stopped(fault.counter()));
            fault::report::<A, E>(env, fault)
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

/// Finds the virtual service and notes what is known of the connection.
#[inline(always)]
fn decide<P: Packet, A: Ip, E: Env + Tables<A>>(
    env: &E,
    segment: &Segment<P, A>,
) -> Result<Verdict, Stop> {
    let service = service(env, segment)?;
    if A::ttl(&segment.ip) <= 1 {
        return Err(Stop::Fault(Fault::TTL_EXPIRED));
    }
    env.draft(|draft| {
        draft.key = segment.tuple;
        draft.service = service;
        draft.class = A::class(&segment.ip).into();
        draft.length = segment.length;
        draft.forth.head.state = connection::first_state(segment);
        draft.back.hop = parse::way_back(&segment.ethernet, env.ingress());
    })
    .ok_or(Counter::Internal)?;
    Ok(Verdict::Next(A::CHOOSE))
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
    let service = by_mark::<A, E>(env)
        .or_else(|| env.service(&key))
        .or_else(|| of_all_ports(env, &key))
        .ok_or(Counter::NoService)?;
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

/// The service of the packet's firewall mark, which comes before all others (`ip_vs_service_find` in `ip_vs_ctl.c`).
#[inline(always)]
fn by_mark<A: Ip, E: Env + Tables<A>>(env: &E) -> Option<Service> {
    match env.mark() {
        0 => None,
        mark => Tables::<A>::service(env, &ServiceKey::of_mark(mark)),
    }
}

/// The service of all ports of an address, which comes last.
#[inline(always)]
fn of_all_ports<A: Ip, E: Env + Tables<A>>(env: &E, key: &ServiceKey<A>) -> Option<Service> {
    if env.settings_flags() & settings_flags::ALL_PORTS == 0 {
        return None;
    }
    env.service(&ServiceKey { port: 0, ..*key })
}
