//! ovf, weighted overflow: the server with the highest weight among those with no more active connections than weight;
//! none if all have more (`ip_vs_ovf.c`).

use super::{Candidate, fo::Heaviest, walk::Judge};

#[derive(Default)]
pub(super) struct HeaviestFree(Heaviest);

impl Judge for HeaviestFree {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        candidate.active > candidate.weight || self.0.judge(candidate)
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.0.chosen()
    }
}
