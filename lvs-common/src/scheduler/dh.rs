//! dh, destination hashing: as sh, by the destination's address and without regard to weights (`ip_vs_dh.c`).

use super::{Request, hash, usable};
use crate::{
    abi::{Address, Service},
    env::Env,
    ip::Ip,
};

const BITS: u32 = 8;

/// Buckets of a service.
pub const BUCKETS: u32 = 1 << BITS;

/// The bucket of a destination.
#[inline(always)]
pub fn bucket<A: Address>(destination: A) -> u32 {
    hash::hash_32(hash::folded(destination), BITS)
}

#[inline(always)]
pub(super) fn choose<A: Ip, E: Env>(env: &E, service: &Service, request: &Request<A>) -> u32 {
    usable(env, service.first_member.wrapping_add(bucket(request.destination)))
}
