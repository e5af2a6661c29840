//! Which real server gets a new connection: one module for each of IPVS's schedulers, and each decision that of the
//! kernel file that it names.
//!
//! The controller prepares the lists (newest server first, as IPVS walks) and the tables of buckets; what a decision
//! needs beside them is what all CPUs share: turns in `SCHEDULERS`, connections in `LOADS`.

pub mod dh;
mod fo;
pub mod hash;
mod lblc;
mod lblcr;
mod lc;
pub mod mh;
mod nq;
mod ovf;
mod rr;
mod sed;
pub mod sh;
mod twos;
mod walk;
mod wlc;
mod wrr;

use crate::{
    abi::{Load, Server, Service, scheduler, server_flags},
    env::Env,
    ip::Ip,
};

/// What a scheduler may go by.
#[derive(Clone, Copy, Debug)]
pub struct Request<A> {
    /// The client.
    pub source: A,
    /// Its port, host order.
    pub source_port: u16,
    /// Where it wants to go.
    pub destination: A,
    /// When, in seconds of the data path's clock.
    pub second: u32,
}

/// Chooses a server for a new connection of `service`: its id, or [`NOBODY`].
#[inline(always)]
pub fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    if service.members == 0 {
        return NOBODY;
    }
    match service.scheduler {
        scheduler::ROUND_ROBIN => rr::choose(env, service),
        scheduler::WEIGHTED_ROUND_ROBIN => wrr::choose(env, service),
        scheduler::LEAST_CONNECTION => walk::best(env, service, lc::Least::default()),
        scheduler::WEIGHTED_LEAST_CONNECTION => wlc::choose(env, service),
        scheduler::SOURCE_HASHING => sh::choose(env, service, request),
        scheduler::DESTINATION_HASHING => dh::choose(env, service, request),
        scheduler::LOCALITY => lblc::choose(env, service, request),
        scheduler::LOCALITY_REPLICATED => lblcr::choose(env, service, request),
        scheduler::SHORTEST_EXPECTED_DELAY => walk::best(env, service, sed::Shortest::default()),
        scheduler::NEVER_QUEUE => walk::best(env, service, nq::Idle::default()),
        scheduler::MAGLEV => mh::choose(env, service, request),
        scheduler::FAIL_OVER => walk::best(env, service, fo::Heaviest::default()),
        scheduler::OVERFLOW => walk::best(env, service, ovf::HeaviestFree::default()),
        scheduler::TWO_RANDOM_CHOICES => twos::choose(env, service),
        _ => NOBODY,
    }
}

/// No server. (Not `None`: of a value that only some variants have, the compiler makes registers without a value, which
/// the verifier refuses.)
pub const NOBODY: u32 = u32::MAX;

/// The server in this place of `MEMBERS` if it takes new connections.
#[inline(always)]
fn usable<E: Env>(env: &E, place: u32) -> u32 {
    match env.member(place).and_then(|id| Candidate::of(env, id)) {
        Some(candidate) if candidate.usable() => candidate.id,
        _ => NOBODY,
    }
}

/// A server as schedulers see it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its weight.
    pub weight: u32,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Whether it has reached its upper threshold, and has not come below the lower one since.
    pub overloaded: bool,
    /// Whether it belongs to a service.
    pub available: bool,
    /// Which one: [`Service::id`].
    pub service: u32,
}

impl Candidate {
    /// The server with this id.
    #[inline(always)]
    pub fn of<E: Env>(env: &E, id: u32) -> Option<Self> {
        let server = env.server(id)?;
        let load = env.load(id)?;
        Some(Self {
            id,
            weight: server.weight,
            active: load.active,
            inactive: load.inactive,
            overloaded: is_overloaded(&server, &load),
            available: server.flags & server_flags::AVAILABLE != 0,
            service: server.service,
        })
    }

    /// Whether it takes new connections.
    #[inline(always)]
    #[must_use]
    pub const fn usable(&self) -> bool {
        self.available && self.weight != 0 && !self.overloaded
    }

    /// Its connections, of which an active one counts as much as 256 inactive ones (`ip_vs_dest_conn_overhead` in
    /// `ip_vs.h`, an `int`).
    #[inline(always)]
    #[must_use]
    pub const fn overhead(&self) -> i64 {
        (self.active << 8).wrapping_add(self.inactive).cast_signed() as i64
    }

    /// The same where only active connections count, the new one included (`ip_vs_sed.c`, `ip_vs_nq.c`).
    #[inline(always)]
    #[must_use]
    pub const fn delay(&self) -> i64 {
        self.active.wrapping_add(1).cast_signed() as i64
    }

    /// The weight for products with one of these.
    #[inline(always)]
    #[must_use]
    pub const fn share(&self) -> i64 {
        self.weight as i64
    }
}

/// Whether a server is overloaded: it has as many connections as its threshold, or has had them and not yet few enough
/// since. Raising its threshold ends that (`__ip_vs_update_dest` in
/// `ip_vs_ctl.c`).
#[inline(always)]
#[must_use]
pub const fn is_overloaded(server: &Server, load: &Load) -> bool {
    if server.upper == 0 {
        return false;
    }
    let total = load.active.wrapping_add(load.inactive);
    total >= server.upper || server.upper <= load.overload && total >= server.lower
}
