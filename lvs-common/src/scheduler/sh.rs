//! sh, source hashing: a client's address chooses one of 256 buckets, each of which belongs to a server
//! (`ip_vs_sh.c`). The controller fills them.

use core::marker::PhantomData;

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
const fn port<A>(service: &Service, request: &Request<A>) -> u16 {
    if service.flags & service_flags::SOURCE_PORT != 0 { request.source_port } else { 0 }
}

/// How a scheduler that hashes clients finds their buckets.
pub(super) trait Buckets {
    /// How many a service has.
    const COUNT: u32;
    /// The bucket of a client whose first `offset` choices were not usable; see [`mixed`].
    fn bucket(mixed: u32, offset: u32) -> u32;
}

struct Source;

impl Buckets for Source {
    const COUNT: u32 = BUCKETS;

    #[inline(always)]
    fn bucket(mixed: u32, offset: u32) -> u32 {
        bucket(mixed, offset)
    }
}

struct Fallback<B> {
    first_member: u32,
    mixed: u32,
    first: u32,
    chosen: u32,
    buckets: PhantomData<B>,
}

impl<E: Env, B: Buckets> Step<E> for Fallback<B> {
    #[inline(always)]
    fn step(&mut self, env: &E, index: u32) -> bool {
        let offset = index.wrapping_add(self.first) % B::COUNT;
        let bucket = B::bucket(self.mixed, offset);
        self.chosen = usable(env, self.first_member.wrapping_add(bucket));
        self.chosen == NOBODY
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    in_buckets::<A, E, Source>(env, service, request)
}

/// The server in the client's bucket; if it is not usable and the service falls back, that in the next one of the client's.
#[inline(always)]
pub(super) fn in_buckets<A: Ip, E: Env, B: Buckets>(
    env: &E,
    service: &Service,
    request: &Request<A>,
) -> u32 {
    let mixed = mixed(request.source, port(service, request));
    let first = B::bucket(mixed, 0);
    let first_member = service.first_member;
    let chosen = usable(env, first_member.wrapping_add(first));
    if chosen != NOBODY || service.flags & service_flags::FALLBACK == 0 {
        return chosen;
    }
    let mut fallback =
        Fallback { first_member, mixed, first, chosen: NOBODY, buckets: PhantomData::<B> };
    env.repeat(B::COUNT, &mut fallback);
    fallback.chosen
}
