//! Which real server gets a new connection. One function per scheduler; state that has to be shared by
//! all CPUs lies in `SCHEDULERS`.

use crate::{
    abi::{Server, Service},
    env::Env,
};

/// Chooses a server for a new connection of `service`: its id and the server.
#[inline(always)]
pub fn choose<E: Env>(env: &E, service: &Service) -> Option<(u32, Server)> {
    let id = round_robin(env, service)?;
    Some((id, env.server(id)?))
}

/// rr: one after the other. The controller lists the servers with a weight above 0 only, the newest
/// first, which is the order in which IPVS walks (`ip_vs_rr.c`; `list_add_rcu` puts a new server at the
/// head), so a turn and a remainder are all that is left to do.
#[inline(always)]
fn round_robin<E: Env>(env: &E, service: &Service) -> Option<u32> {
    if service.members == 0 {
        return None;
    }
    let turn = env.take_turn(service.id)?;
    env.member(service.first_member + (turn % u64::from(service.members)) as u32)
}
