//! nq, never queue: the first idle server, whatever its weight; where none is idle, as sed (`ip_vs_nq.c`).

use super::{
    Candidate, NOBODY,
    walk::{Best, Judge},
};

pub(super) struct Idle {
    idle: u32,
    best: Best,
}

impl Default for Idle {
    #[inline(always)]
    fn default() -> Self {
        Self { idle: NOBODY, best: Best::default() }
    }
}

impl Judge for Idle {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        if candidate.active == 0 {
            self.idle = candidate.id;
            return false;
        }
        self.best.offer(candidate.id, candidate.delay(), candidate.share());
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        if self.idle == NOBODY { self.best.id() } else { self.idle }
    }
}
