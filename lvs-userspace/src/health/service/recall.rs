//! What of a service is worth to be remembered, and the service as it was: from there a restart goes on as a reload does.

use std::collections::HashMap;

use super::{CheckerState, Server, Service};
use crate::{
    config::{Check, Checker, RealServer, VirtualServer},
    health::{
        identity::{Endpoint, ServiceId},
        memory::{self, Name, Remembered, RememberedChecker, RememberedServer, RememberedSorry},
        progress::{Progress, Rule},
        runner::Status,
    },
};

impl Service {
    /// What is out of the ordinary; nothing if it has its quorum and all servers are up and in the pool.
    pub(crate) fn remember(&self) -> Option<Remembered> {
        let servers: Vec<RememberedServer> = self
            .servers
            .iter()
            .filter(|server| !server.is_ordinary())
            .map(Server::remember)
            .collect();
        let sorry = self.sorry.as_ref().filter(|sorry| sorry.alive || sorry.set != sorry.inhibit);
        if self.has_quorum && servers.is_empty() && sorry.is_none() {
            return None;
        }
        Some(Remembered {
            service: Name::of(&self.id),
            quorum: self.has_quorum,
            sorry: sorry.map(|sorry| RememberedSorry {
                address: sorry.endpoint.address,
                port: sorry.endpoint.port,
                serves: sorry.alive,
                set: sorry.set,
            }),
            servers,
            weight: self.weight_up(),
            needed: self.needed(),
            names: Vec::new(),
        })
    }

    /// The service as it was: with the servers that are remembered, or `serve`, of those that the file has now. What has left
    /// the file meanwhile is not told of: its scripts have left too.
    pub(crate) fn recall(
        id: ServiceId,
        config: &VirtualServer,
        weight: impl Fn(&Checker) -> Option<i64>,
        memory: Option<&Remembered>,
        serves: impl Fn(Endpoint) -> bool,
    ) -> Self {
        let mut service = Self::new(id, config, weight);
        service.has_quorum = memory.is_none_or(|memory| memory.quorum);
        let remembered = memory.map(|memory| memory.servers.as_slice()).unwrap_or_default();
        let remembered: HashMap<Endpoint, &RememberedServer> = remembered
            .iter()
            .map(|one| (Endpoint { address: one.address, port: one.port }, one))
            .collect();
        service.servers.retain_mut(|server| {
            if let Some(memory) = remembered.get(&server.endpoint) {
                server.recall(memory);
                return true;
            }
            let serves = serves(server.endpoint);
            if serves {
                server.recall_ordinary();
            }
            serves
        });
        if let Some(sorry) = &mut service.sorry {
            sorry.set = sorry.inhibit;
            let was = memory.and_then(|memory| memory.sorry).filter(|was| {
                (was.address, was.port) == (sorry.endpoint.address, sorry.endpoint.port)
            });
            if let Some(was) = was {
                (sorry.alive, sorry.set) = (was.serves, was.set);
            }
        }
        service.fill();
        service
    }

    /// Puts into the pool who was there.
    fn fill(&mut self) {
        let real_ones = self.serves_itself();
        for server in self.servers.iter().filter(|server| server.set) {
            let up = server.alive && real_ones;
            self.pool.add(server.endpoint, if up { server.weight() } else { 0 }, up);
        }
        if let Some(sorry) = self.sorry.as_ref().filter(|sorry| sorry.set) {
            let weight = if sorry.alive { RealServer::WEIGHT } else { 0 };
            self.pool.add(sorry.endpoint, weight, false);
            if sorry.alive {
                self.pool.edit(sorry.endpoint, weight, false);
            }
        }
    }
}

impl Server {
    /// Up, with nothing added to its weight, and in the pool.
    fn is_ordinary(&self) -> bool {
        let ordinary = |checker: &CheckerState| {
            checker.up && (checker.weight == 0 || is_watched(checker.check()))
        };
        self.alive && self.set && self.checkers.iter().all(ordinary)
    }

    fn remember(&self) -> RememberedServer {
        RememberedServer {
            address: self.endpoint.address,
            port: self.endpoint.port,
            up: self.alive,
            set: self.set,
            weight: self.configured,
            since: self.since.filter(|_| !self.alive),
            checkers: self
                .checkers
                .iter()
                .map(|checker| RememberedChecker {
                    check: checker.mark().to_owned(),
                    made: checker.has_run,
                    up: checker.up,
                    added: checker.weight,
                    reason: checker.reason.as_deref().filter(|_| !checker.up).map(str::to_owned),
                })
                .collect(),
        }
    }

    fn recall(&mut self, memory: &RememberedServer) {
        self.alive = memory.up;
        self.set = memory.set;
        self.configured = memory.weight;
        self.since = memory.since;
        for checker in self.checkers.iter_mut().filter(|checker| !is_watched(checker.check())) {
            let check = checker.mark();
            if let Some(was) = memory.checkers.iter().find(|was| was.check == check) {
                checker.has_run = was.made;
                checker.up = was.up;
                checker.weight = was.added;
                checker.reason = was.reason.as_deref().map(Box::from);
            }
        }
        self.add_up();
    }

    fn recall_ordinary(&mut self) {
        self.alive = true;
        self.set = true;
        for checker in self.checkers.iter_mut().filter(|checker| !is_watched(checker.check())) {
            checker.has_run = true;
            checker.up = true;
            checker.weight = 0;
        }
        self.add_up();
    }

    /// What follows from its checkers.
    fn add_up(&mut self) {
        let added: i64 = self.checkers.iter().map(|checker| checker.weight).sum();
        self.effective = self.configured.saturating_add(added);
        self.failed = self.checkers.iter().filter(|checker| !checker.up).count();
    }

    /// Where a check of this server goes on, if it was made before.
    pub(crate) fn status(&self, checker: &Checker) -> Option<Status> {
        let state = self.checkers.iter().find(|state| *state.check() == checker.check)?;
        if !state.has_run || is_watched(state.check()) {
            return None;
        }
        let exit = match state.weight {
            0 => 0,
            // `misc_dynamic`: the weight and 2.
            added => u8::try_from(added.saturating_add(self.configured + 2)).unwrap_or(0),
        };
        Some(Status { progress: Progress::recalled(Rule::of(&checker.check), state.up), exit })
    }
}

impl CheckerState {
    /// What it is known by after a restart.
    fn mark(&self) -> &str {
        self.mark.get_or_init(|| memory::mark(self.check()).into())
    }

    /// What is checked.
    pub(super) fn check(&self) -> &Check {
        &self.checker.check
    }
}

/// Whether it is not a check that is made again and again, but a file that is read at the start, or nobody's.
const fn is_watched(check: &Check) -> bool {
    matches!(check, Check::File(_) | Check::Bfd(_))
}
