//! lblcr, locality-based least connections with replication: a destination has a set of servers; while the best of them is
//! overloaded the set grows, and from time to time the most loaded one leaves it (`ip_vs_lblcr.c`).
//!
//! A set has room for [`REPLICAS`] servers. IPVS's has no bound; here a full one stays as it is.

use super::{Candidate, NOBODY, Request, lblc, walk::Best, wlc};
use crate::{
    abi::{Destination, REPLICAS, Service},
    env::{DestinationHandle as _, Env, Step},
    ip::Ip,
};

/// How long a set stays as it is before one server leaves it, in seconds (sysctl `lblcr_expiration`).
const EXPIRATION: u32 = 24 * 60 * 60;

/// The walk over a set, the server first that came last.
struct Set<'d, D> {
    service: u32,
    destination: &'d D,
    least: Best,
    most: Best,
    place_of_most: u32,
}

impl<E: Env> Step<E> for Set<'_, E::Destination> {
    #[inline(always)]
    fn step(&mut self, env: &E, index: u32) -> bool {
        if index >= self.destination.get(|known| known.servers) {
            return false;
        }
        let id = self.destination.get(|known| known.server.get(index as usize).copied());
        let Some(candidate) = id.and_then(|id| Candidate::of(env, id)) else { return true };
        let (load, share) = (candidate.overhead(), candidate.share());
        if candidate.usable() && candidate.service == self.service {
            self.least.offer(candidate.id, load, share);
        }
        // The greatest quotient is the least with the opposite sign.
        if share != 0 && self.most.offer(candidate.id, -load, share) {
            self.place_of_most = index;
        }
        true
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    let key = lblc::key(service, request);
    let now = request.second;
    let destination = env.destination(&key);
    if let Some(destination) = &destination
        && destination.get(|known| lblc::is_fresh(known, now))
    {
        destination.change(|known| known.used = now);
        let least = least(env, service, destination, now);
        if let Some(candidate) = Candidate::of(env, least)
            && !lblc::has_too_many(env, service, &candidate)
        {
            return candidate.id;
        }
        let chosen = wlc::choose(env, service);
        if chosen != NOBODY {
            destination.change(|known| add(known, chosen, now));
        }
        return chosen;
    }
    let chosen = wlc::choose(env, service);
    if chosen != NOBODY {
        lblc::remember(env, &key, chosen, now);
    }
    chosen
}

/// The least loaded server of a set. From time to time the most loaded one leaves it.
#[inline(always)]
fn least<E: Env>(env: &E, service: &Service, destination: &E::Destination, now: u32) -> u32 {
    let mut set = Set {
        service: service.id,
        destination,
        least: Best::default(),
        most: Best::default(),
        place_of_most: 0,
    };
    env.repeat(REPLICAS as u32, &mut set);
    let (least, most, place) = (set.least.id(), set.most.id(), set.place_of_most);
    let is_due =
        |known: &Destination| known.servers > 1 && now.wrapping_sub(known.modified) > EXPIRATION;
    if most != NOBODY && destination.get(is_due) {
        destination.change(|known| remove(known, place, now));
    }
    least
}

/// Puts a server at the head of a set, unless it is in there or there is no room.
#[inline(always)]
fn add(set: &mut Destination, id: u32, now: u32) {
    let there = (0..).zip(&set.server).any(|(place, server)| place < set.servers && *server == id);
    if there || set.servers as usize >= REPLICAS {
        return;
    }
    let mut carried = id;
    for server in &mut set.server {
        core::mem::swap(server, &mut carried);
    }
    set.servers += 1;
    set.modified = now;
}

/// Takes the server in this place out of a set.
#[inline(always)]
fn remove(set: &mut Destination, place: u32, now: u32) {
    for at in 0..REPLICAS {
        if at as u32 >= place
            && let Some(next) = set.server.get(at + 1).copied()
            && let Some(server) = set.server.get_mut(at)
        {
            *server = next;
        }
    }
    set.servers -= 1;
    set.modified = now;
}
