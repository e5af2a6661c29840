//! fo, weighted fail-over: the server with the highest weight (`ip_vs_fo.c`).

use super::{Candidate, NOBODY, walk::Judge};

#[derive(Default)]
pub(super) struct Heaviest {
    weight: u32,
    id: u32,
}

impl Judge for Heaviest {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        if candidate.weight > self.weight {
            (self.weight, self.id) = (candidate.weight, candidate.id);
        }
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        if self.weight == 0 { NOBODY } else { self.id }
    }
}
