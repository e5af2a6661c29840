//! sh, source hashing: a client's address chooses one of 256 buckets, each of which belongs to a server
//! (`ip_vs_sh.c`). The controller fills them.

use super::{NOBODY, Request, hash, usable};
use crate::{
    abi::{Address, Service, service_flags},
    env::{Env, Step},
    ip::Ip,
};

const BITS: u32 = 8;

/// Buckets of a service.
pub const BUCKETS: u32 = 1 << BITS;

/// The bucket of a client whose first `offset` choices were not usable; see [`mixed`].
#[inline(always)]
#[must_use]
pub const fn bucket(mixed: u32, offset: u32) -> u32 {
    offset.wrapping_add(hash::hash_32(mixed, BITS)) & (BUCKETS - 1)
}

/// What sh and mh hash of a client. `port` is 0 unless the service hashes it.
#[inline(always)]
pub fn mixed<A: Address>(client: A, port: u16) -> u32 {
    u32::from(port).wrapping_add(hash::folded(client))
}

/// The port that is hashed.
#[inline(always)]
pub(super) const fn port<A>(service: &Service, request: &Request<A>) -> u16 {
    if service.flags & service_flags::SOURCE_PORT != 0 { request.source_port } else { 0 }
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
        let offset = index.wrapping_add(self.first) & (BUCKETS - 1);
        let bucket = bucket(self.mixed, offset);
        self.chosen = usable(env, self.first_member.wrapping_add(bucket));
        self.chosen == NOBODY
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    let mixed = mixed(request.source, port(service, request));
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
