//! The walk over the servers of a service, newest first, that most schedulers make.

use super::{Candidate, NOBODY};
use crate::{
    abi::Service,
    env::{Env, Step},
};

/// What a scheduler makes of the servers that take new connections, one after the other.
pub(super) trait Judge {
    /// Looks at one; `false` ends the walk.
    fn judge(&mut self, candidate: &Candidate) -> bool;
    /// The one that it has chosen.
    fn chosen(&self) -> u32;
}

struct Walk<J> {
    first: u32,
    judge: J,
}

impl<E: Env, J: Judge> Step<E> for Walk<J> {
    #[inline(always)]
    fn step(&mut self, env: &E, index: u32) -> bool {
        let id = env.member(self.first.wrapping_add(index));
        let Some(candidate) = id.and_then(|id| Candidate::of(env, id)) else { return true };
        !candidate.usable() || self.judge.judge(&candidate)
    }
}

/// Shows the judge all servers that take new connections; gives the one that it has chosen.
#[inline(always)]
pub(super) fn best<E: Env, J: Judge>(env: &E, service: &Service, judge: J) -> u32 {
    over(env, service, judge).chosen()
}

/// The same; gives the judge back.
#[inline(always)]
pub(super) fn over<E: Env, J: Judge>(env: &E, service: &Service, judge: J) -> J {
    let mut walk = Walk { first: service.first_member, judge };
    env.repeat(service.members, &mut walk);
    walk.judge
}

/// The best server so far, by quotients that are compared as products.
#[derive(Clone, Copy, Debug)]
pub(super) struct Best {
    id: u32,
    load: i64,
    share: i64,
}

impl Default for Best {
    #[inline(always)]
    fn default() -> Self {
        Self { id: NOBODY, load: 0, share: 0 }
    }
}

impl Best {
    /// Takes the server in the place of the best so far if its load for its share is less; tells whether it is.
    #[inline(always)]
    pub(super) fn offer(&mut self, id: u32, load: i64, share: i64) -> bool {
        let better =
            self.id == NOBODY || self.load.wrapping_mul(share) > load.wrapping_mul(self.share);
        if better {
            *self = Self { id, load, share };
        }
        better
    }

    #[inline(always)]
    pub(super) const fn id(&self) -> u32 {
        self.id
    }
}
