//! mh, Maglev hashing: a client's address chooses one of 4,093 buckets; when servers come or go, few buckets change hands
//! (`ip_vs_mh.c`, with the table size that distributions set). The controller fills the buckets.

use super::{Request, hash, sh};
use crate::{abi::Service, env::Env, ip::Ip};

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

struct Maglev;

impl sh::Buckets for Maglev {
    const COUNT: u32 = BUCKETS;

    #[inline(always)]
    fn bucket(mixed: u32, offset: u32) -> u32 {
        bucket(mixed, offset)
    }
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    sh::in_buckets::<A, E, Maglev>(env, service, request)
}
