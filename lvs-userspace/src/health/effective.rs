//! What the checks make of a configuration: which servers are in which service, with which weights.

use std::{collections::HashMap, sync::Arc};

use super::identity::{Endpoint, ServiceId};
use crate::config::{Config, RealServer, SorryServer, VirtualServer};

/// The servers of all services as they are now: a plain value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    /// One for each service.
    pub pools: HashMap<ServiceId, Pool>,
}

/// The servers of a service, in the order in which they came in: IPVS's schedulers walk by that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pool {
    /// Each server once.
    pub members: Vec<Member>,
}

/// A server in a service: a real server that is up, or one that is down with weight 0 (`inhibit_on_failure`), or the sorry
/// server. Who is down and not inhibited is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub server: Endpoint,
    /// Its weight now.
    pub weight: u32,
    /// Whether it is a real server that is up.
    pub up: bool,
}

impl Pool {
    /// Puts a server in; as in IPVS that changes nothing if it is there.
    pub(crate) fn add(&mut self, server: Endpoint, weight: u32, up: bool) {
        if self.members.iter().all(|member| member.server != server) {
            self.members.push(Member { server, weight, up });
        }
    }

    /// Changes the weight of a server that is there.
    pub(crate) fn edit(&mut self, server: Endpoint, weight: u32, up: bool) {
        if let Some(member) = self.members.iter_mut().find(|member| member.server == server) {
            (member.weight, member.up) = (weight, up);
        }
    }

    /// Has a server that is there be the one that came last.
    pub(crate) fn move_to_end(&mut self, server: Endpoint) {
        if let Some(at) = self.members.iter().position(|member| member.server == server) {
            let member = self.members.remove(at);
            self.members.push(member);
        }
    }

    /// Whether a server is there although it is down, with weight 0.
    pub(crate) fn inhibits(&self, server: Endpoint) -> bool {
        self.members.iter().any(|member| member.server == server && !member.up)
    }

    /// Takes a server out.
    pub(crate) fn remove(&mut self, server: Endpoint) {
        self.members.retain(|member| member.server != server);
    }
}

/// The configuration with the servers that services have now: what the data path should do. Services that the state does not
/// know stay as they are. A service can be left without servers, and its servers come in the order of the pool.
#[must_use]
pub fn apply(config: &Config, state: &State) -> Config {
    let mut config = config.clone();
    let ids = ServiceId::of_all(&config);
    for (service, id) in config.services.iter_mut().zip(ids) {
        if let Some(pool) = state.pools.get(&id)
            && !is_whole(service, pool)
        {
            service.real_servers = Arc::new(members(service, pool));
        }
    }
    config
}

/// Whether the servers that services have now are those of the configuration: [`apply`] would change nothing.
#[must_use]
pub fn all_serve(config: &Config, state: &State) -> bool {
    let mut services = config.services.iter().zip(ServiceId::of_all(config));
    services.all(|(service, id)| state.pools.get(&id).is_none_or(|pool| is_whole(service, pool)))
}

/// Whether a pool has the servers that the file names, in their order and with their weights.
fn is_whole(service: &VirtualServer, pool: &Pool) -> bool {
    let configured =
        service.real_servers.iter().map(|server| (Endpoint::of(server), server.weight));
    configured.eq(pool.members.iter().map(|member| (member.server, member.weight)))
}

fn members(service: &VirtualServer, pool: &Pool) -> Vec<RealServer> {
    let configured = &service.real_servers;
    // Most are in the order of the file: each is looked for behind the one before it first.
    let mut next = 0;
    let mut server_of = |server: Endpoint| {
        let there =
            |at: &usize| configured.get(*at).is_some_and(|real| Endpoint::of(real) == server);
        let at = (next..configured.len()).chain(0..next).find(there)?;
        next = at + 1;
        configured.get(at)
    };
    let member = |Member { server, weight, .. }: &Member| {
        let found = match server_of(*server) {
            Some(real) => as_served(real),
            None => sorry_as_real(service.sorry_server.as_ref()?),
        };
        Some(RealServer { weight: *weight, ..found })
    };
    pool.members.iter().filter_map(member).collect()
}

/// A real server as the data path sees it: without its checks and scripts.
fn as_served(server: &RealServer) -> RealServer {
    RealServer {
        weight: server.weight,
        upper_threshold: server.upper_threshold,
        lower_threshold: server.lower_threshold,
        inhibit_on_failure: server.inhibit_on_failure,
        smtp_alert: server.smtp_alert,
        line: server.line,
        ..RealServer::new(server.address, server.port, server.forwarding)
    }
}

/// The sorry server as the data path sees it: a real server like others.
fn sorry_as_real(sorry: &SorryServer) -> RealServer {
    RealServer {
        inhibit_on_failure: sorry.inhibit,
        line: sorry.line,
        ..RealServer::new(sorry.address, sorry.port, sorry.forwarding)
    }
}

impl Endpoint {
    /// Where a real server listens.
    #[must_use]
    pub const fn of(server: &RealServer) -> Self {
        Self { address: server.address, port: server.port }
    }

    /// Where a sorry server listens.
    #[must_use]
    pub const fn of_sorry(sorry: &SorryServer) -> Self {
        Self { address: sorry.address, port: sorry.port }
    }
}
