//! lblc, locality-based least connections: a destination stays with its server while that is not overloaded
//! (`ip_vs_lblc.c`), which keeps the caches of caching servers warm.
//!
//! IPVS looks after its table every minute; here an entry that is too old counts as absent, and the kernel's LRU map
//! bounds their number.

use super::{Candidate, NOBODY, Request, walk, wlc};
use crate::{
    abi::{Destination, DestinationKey, REPLICAS, Service},
    env::{DestinationHandle as _, Env},
    ip::Ip,
};

/// How long a destination is remembered after it was last looked up, in seconds (sysctl `lblc_expiration`).
const EXPIRATION: u32 = 24 * 60 * 60;

/// The key of what is remembered of the request's destination.
#[inline(always)]
pub(super) fn key<A: Ip>(service: &Service, request: &Request<A>) -> DestinationKey {
    DestinationKey { address: request.destination.widen(), service: service.id }
}

/// Whether a server has more active connections than weight, while another has less than half as many
/// (`is_overloaded` in `ip_vs_lblc.c`).
#[inline(always)]
pub(super) fn has_too_many<E: Env>(env: &E, service: &Service, candidate: &Candidate) -> bool {
    candidate.active > candidate.weight && walk::over(env, service, AnyFree(false)).0
}

/// Whether a server has less than half as many active connections as weight. IPVS asks overloaded ones too; whoever
/// reaches a threshold with so few connections has a weight that says nothing.
struct AnyFree(bool);

impl walk::Judge for AnyFree {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.0 = u64::from(candidate.active) * 2 < u64::from(candidate.weight);
        !self.0
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        NOBODY
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    let key = key(service, request);
    let now = request.second;
    let mut known = NOBODY;
    if let Some(destination) = env.destination(&key) {
        if destination.get(|known| is_fresh(known, now)) {
            known = destination.get(|known| {
                let [server, ..] = known.server;
                server
            });
        }
        destination.change(|known| known.used = now);
    }
    if let Some(candidate) = Candidate::of(env, known)
        // The threshold does not count here.
        && candidate.service == service.id
        && candidate.available
        && candidate.weight != 0
        && !has_too_many(env, service, &candidate)
    {
        return candidate.id;
    }
    let chosen = wlc::choose(env, service);
    if chosen != NOBODY {
        remember(env, &key, chosen, now);
    }
    chosen
}

/// Whether it was looked up not too long ago.
#[inline(always)]
pub(super) const fn is_fresh(known: &Destination, now: u32) -> bool {
    now.wrapping_sub(known.used) <= EXPIRATION
}

/// Remembers a destination with one server.
#[inline(always)]
pub(super) fn remember<E: Env>(env: &E, key: &DestinationKey, id: u32, now: u32) {
    let mut server = [0; REPLICAS];
    let [first, ..] = &mut server;
    *first = id;
    env.add_destination(key, &Destination { used: now, modified: now, servers: 1, server });
}
