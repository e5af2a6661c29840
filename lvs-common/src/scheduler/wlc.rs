//! wlc, weighted least connections: the server with the fewest for its weight (`ip_vs_wlc.c`).

use super::{
    Candidate,
    walk::{self, Best, Judge},
};
use crate::{abi::Service, env::Env};

#[derive(Default)]
pub(super) struct Least(Best);

impl Judge for Least {
    #[inline(always)]
    fn judge(&mut self, candidate: &Candidate) -> bool {
        self.0.offer(candidate.id, candidate.overhead(), candidate.share());
        true
    }

    #[inline(always)]
    fn chosen(&self) -> u32 {
        self.0.id()
    }
}

#[inline(always)]
pub(super) fn choose<E: Env>(env: &E, service: &Service) -> u32 {
    walk::best(env, service, Least::default())
}
