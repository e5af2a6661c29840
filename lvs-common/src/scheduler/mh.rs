//! mh, Maglev hashing: a client's address chooses one of 4,093 buckets; when servers come or go, few buckets change hands
//! (`ip_vs_mh.c`, with the table size that distributions set). The controller fills the buckets.

use super::{NOBODY, Request, hash, sh, usable};
use crate::{
    abi::{Service, service_flags},
    env::{Env, Step},
    ip::Ip,
};

/// Buckets of a service: `CONFIG_IP_VS_MH_TAB_INDEX` 12.
pub const BUCKETS: u32 = 4093;

/// The key of the hash for clients, and for where a server's order of buckets begins.
pub const FIRST_KEY: u64 = 2_654_435_761;

/// The key of the hash for the steps of that order.
pub const SECOND_KEY: u64 = 2_654_446_892;

/// The bucket of a client whose first `offset` choices were not usable (`ip_vs_mh_hashkey`); see [`sh::mixed`].
#[inline(always)]
#[must_use]
pub const fn bucket(mixed: u32, offset: u32) -> u32 {
    hash::hsiphash(mixed.wrapping_add(offset), FIRST_KEY) % BUCKETS
}

struct Fallback {
    first_member: u32,
    mixed: u32,
    first: u32,
    chosen: u32,
}

impl<E: Env> Step<E> for Fallback {
    #[inline(always)]
    fn step(&mut self, env: &E, index: u32) -> bool {
        let offset = index.wrapping_add(self.first) % BUCKETS;
        let bucket = bucket(self.mixed, offset);
        self.chosen = usable(env, self.first_member.wrapping_add(bucket));
        self.chosen == NOBODY
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    let mixed = sh::mixed(request.source, sh::port(service, request));
    let first = bucket(mixed, 0);
    let chosen = usable(env, service.first_member.wrapping_add(first));
    if chosen != NOBODY || service.flags & service_flags::FALLBACK == 0 {
        return chosen;
    }
    let mut fallback =
        Fallback { first_member: service.first_member, mixed, first, chosen: NOBODY };
    env.repeat(BUCKETS, &mut fallback);
    fallback.chosen
}
