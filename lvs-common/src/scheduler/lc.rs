//! lc, least connections: the server with the fewest, whatever its weight (`ip_vs_lc.c`).

use super::{
    Candidate,
    walk::{Best, Judge},
};

#[derive(Default)]
pub(super) struct Least(Best);

impl Judge for Least {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.0.offer(candidate.id, candidate.overhead(), 1);
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.0.id()
    }
}
