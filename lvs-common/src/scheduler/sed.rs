//! sed, shortest expected delay: the server with the fewest active connections for its weight, the new one included
//! (`ip_vs_sed.c`).

use super::{
    Candidate,
    walk::{Best, Judge},
};

#[derive(Default)]
pub(super) struct Shortest(Best);

impl Judge for Shortest {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.0.offer(candidate.id, candidate.delay(), candidate.share());
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.0.id()
    }
}
