//! twos, the power of two choices: of two servers drawn at random by weight, the one with fewer connections for its
//! weight (`ip_vs_twos.c`).

use super::{
    Candidate, NOBODY,
    walk::{self, Judge},
};
use crate::{abi::Service, env::Env};

/// The weights' sum.
struct Sum {
    total: u64,
    last: u32,
}

impl Judge for Sum {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.total += u64::from(candidate.weight);
        self.last = candidate.id;
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.last
    }
}

/// Both draws at once.
struct Draws {
    /// The weights so far.
    passed: u64,
    /// The sum of weights at which each is drawn.
    at: [u64; 2],
    drawn: [u32; 2],
    load: [i64; 2],
    share: [i64; 2],
}

impl Judge for Draws {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        let Self { passed, at, drawn, load, share } = self;
        *passed += u64::from(candidate.weight);
        for (((at, drawn), load), share) in at.iter().zip(drawn).zip(load).zip(share) {
            if *passed >= *at && *drawn == NOBODY {
                *drawn = candidate.id;
                (*load, *share) = (candidate.overhead(), candidate.share());
            }
        }
        self.drawn.contains(&NOBODY)
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        let [first, second] = self.drawn;
        let ([load, other_load], [share, other_share]) = (self.load, self.share);
        if second != NOBODY && other_share.wrapping_mul(load) > share.wrapping_mul(other_load) {
            return second;
        }
        first
    }
}

/// A number from 0 to `most`.
#[inline(always)]
fn random<E: Env>(env: &E, most: u64) -> u64 {
    let (random, range) = (u64::from(env.random()), most.wrapping_add(1));
    let low = (random * (range & u64::from(u32::MAX))) >> 32;
    random.wrapping_mul(range >> 32).wrapping_add(low)
}

#[inline(always)]
pub(super) fn choose<E: Env>(env: &E, service: &Service) -> u32 {
    let sum = walk::over(env, service, Sum { total: 0, last: NOBODY });
    // Counted from anywhere: from nothing, the verifier would find out what is drawn without servers, and follow the
    // sums from there without end.
    let passed = u64::from(env.random());
    let at = [0; 2].map(|_: u64| passed.wrapping_add(random(env, sum.total)));
    let draws = Draws { passed, at, drawn: [NOBODY; 2], load: [0; 2], share: [0; 2] };
    let chosen = walk::best(env, service, draws);
    // The weights may have changed meanwhile.
    if chosen == NOBODY { sum.last } else { chosen }
}
