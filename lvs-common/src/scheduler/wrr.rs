//! wrr, weighted round robin: the walks over the servers with a falling weight limit, in which those have a turn that
//! weigh as much as the limit (`ip_vs_wrr.c`).
//!
//! IPVS remembers the server that was last and the limit; here it is the number of turns taken, as with rr. The controller
//! has laid out a round as runs ([`Run`]): walks in which the same servers have a turn. The run of a turn is
//! found by bisection, so that a decision takes as long with large weights as with small ones.

use super::{Candidate, NOBODY, usable, walk};
use crate::{
    abi::{Run, Service},
    env::{Env, Step},
};

/// Steps of the bisection: enough for as many runs as a service can have.
const BISECTIONS: u32 = 17;

/// How many turns may pass because their servers are overloaded, before the first server that is not is taken.
const TURNS: u32 = 4096;

struct Turns<'s> {
    service: &'s Service,
    chosen: u32,
    /// The turn after the last one that was taken.
    next: u64,
}

impl<E: Env> Step<E> for Turns<'_> {
    #[inline(always)]
    fn step(&mut self, env: &E, _: u32) -> bool {
        let Some(turn) = env.take_turns(self.service.state, 1) else { return false };
        self.next = turn.wrapping_add(1);
        let turn = turn.checked_rem(self.service.turns).unwrap_or_default();
        let Some(run) = run(env, self.service, turn) else { return false };
        let place = (turn - run.turn).checked_rem(run.members.into()).unwrap_or_default() as u32;
        self.chosen = usable(env, run.first_member.wrapping_add(place));
        self.chosen == NOBODY
    }
}

/// The last run that begins at this turn or before.
#[inline(always)]
fn run<E: Env>(env: &E, service: &Service, turn: u64) -> Option<Run> {
    let (mut low, mut high) = (0, service.members);
    for _ in 0..BISECTIONS {
        if high.wrapping_sub(low) <= 1 {
            break;
        }
        let middle = low.wrapping_add(high) / 2;
        if env.run(service.first_member.wrapping_add(middle))?.turn <= turn {
            low = middle;
        } else {
            high = middle;
        }
    }
    env.run(service.first_member.wrapping_add(low))
}

#[inline(always)]
pub(super) fn choose<E: Env>(env: &E, service: &Service) -> u32 {
    let mut turns = Turns { service, chosen: NOBODY, next: 0 };
    let tries = u64::from(TURNS).min(service.turns);
    env.repeat(tries as u32, &mut turns);
    if turns.chosen != NOBODY {
        return turns.chosen;
    }
    // The last run has all servers.
    let last = service.first_member.wrapping_add(service.members).wrapping_sub(1);
    let Some(last) = env.run(last) else { return NOBODY };
    if tries == service.turns {
        refused(env, service, &last, turns.next.wrapping_sub(tries), turns.next);
        return NOBODY;
    }
    // There are more turns, with which the next connection goes on.
    let all = Service { first_member: last.first_member, members: last.members, ..*service };
    walk::best(env, &all, First(NOBODY))
}

/// Nobody has taken one of the turns from `first` to `next`: the round begins anew, unless its last walk was under way,
/// which goes on where it was.
#[inline(always)]
fn refused<E: Env>(env: &E, service: &Service, last: &Run, first: u64, next: u64) {
    let place = |turn: u64| turn.checked_rem(service.turns).unwrap_or_default();
    let last_walk = service.turns.wrapping_sub(last.members.into());
    if place(first.wrapping_sub(1)) >= last_walk {
        let _ignored = env.take_turns(service.state, first.wrapping_sub(next));
    } else {
        let rest = service.turns.wrapping_sub(place(next));
        env.restart_turns(service.state, rest);
    }
}

/// The first server that takes new connections.
struct First(u32);

impl walk::Judge for First {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.0 = candidate.id;
        false
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.0
    }
}
