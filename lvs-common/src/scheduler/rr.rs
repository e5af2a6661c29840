//! rr, round robin: one after the other, whatever their weights (`ip_vs_rr.c`).
//!
//! IPVS remembers the server that was last; here it is the number of turns taken, which many CPUs can raise at once
//! without a lock. A server that is overloaded lets its turn pass.

use super::{NOBODY, usable};
use crate::{
    abi::Service,
    env::{Env, Step},
};

struct Turns<'s> {
    service: &'s Service,
    chosen: u32,
}

impl<E: Env> Step<E> for Turns<'_> {
    #[inline(always)]
    fn step(&mut self, env: &E, _: u32) -> bool {
        let Some(turn) = env.take_turns(self.service.state, 1) else { return false };
        let place = turn.checked_rem(self.service.members.into()).unwrap_or_default() as u32;
        self.chosen = usable(env, self.service.first_member.wrapping_add(place));
        self.chosen == NOBODY
    }
}

#[inline(always)]
pub(super) fn choose<E: Env>(env: &E, service: &Service) -> u32 {
    let mut turns = Turns { service, chosen: NOBODY };
    env.repeat(service.members, &mut turns);
    turns.chosen
}
