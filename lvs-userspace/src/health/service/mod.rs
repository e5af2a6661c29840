//! A service's health without any I/O: which of its servers are up, whether it has its quorum, who is in the pool, and whom to
//! tell in which order. The rules, quirks included, are those of keepalived's `ipwrapper.c`, named function by function;
//! what it does to the kernel's table is done to the [`Pool`] here.

use std::sync::{Arc, OnceLock};

pub(crate) use self::{
    notice::Notice,
    standing::{Line, Standing},
};
use super::{
    effective::Pool,
    identity::{Endpoint, ServiceId},
};
use crate::config::{
    Check, Checker, Protocol, Quorum, RealServer, Script, SorryServer, VirtualServer,
};

mod migrate;
mod notice;
mod quorum;
#[cfg(test)]
mod random;
mod recall;
#[cfg(test)]
mod replay;
mod standing;
#[cfg(test)]
pub(in crate::health) mod tests;

/// The greatest weight: `IPVS_WEIGHT_LIMIT`.
const WEIGHT_LIMIT: i64 = i32::MAX as i64;

/// A service and its servers.
#[derive(Debug, Clone)]
pub(crate) struct Service {
    pub(crate) id: ServiceId,
    pub(crate) pool: Pool,
    pub(crate) servers: Vec<Server>,
    protocol: Option<Protocol>,
    quorum: Quorum,
    /// `quorum_state_up`.
    pub(crate) has_quorum: bool,
    sorry: Option<Sorry>,
    omega: bool,
}

/// A real server.
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of keepalived's by itself")]
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) endpoint: Endpoint,
    pub(crate) alive: bool,
    pub(crate) checkers: Vec<CheckerState>,
    /// What the file says.
    configured: i64,
    /// That and what its checkers add: of any sign.
    effective: i64,
    inhibit: bool,
    /// Whether it is in the pool, as far as keepalived would know.
    set: bool,
    /// How many checkers are down.
    failed: usize,
    notify_up: Option<Arc<Script>>,
    notify_down: Option<Arc<Script>>,
    /// Comes from before the reload.
    reloaded: bool,
    /// Since when it has been down, if that was seen, in seconds since 1970.
    since: Option<u64>,
}

/// A checker as its server sees it.
#[derive(Debug, Clone)]
pub(crate) struct CheckerState {
    checker: Arc<Checker>,
    /// Worked out for a server that is down.
    mark: OnceLock<Box<str>>,
    alpha: bool,
    pub(crate) up: bool,
    pub(crate) has_run: bool,
    /// What it adds to the server's weight.
    weight: i64,
    /// Why it is down, if it has said so.
    reason: Option<Box<str>>,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a flag of keepalived's by itself")]
#[derive(Debug, Clone)]
struct Sorry {
    endpoint: Endpoint,
    inhibit: bool,
    set: bool,
    /// Whether it serves.
    alive: bool,
    /// It is a real server as well.
    duplicate: bool,
}

impl Service {
    /// As the file has it, before anything was checked. `weight` tells what a checker adds at the start; absent for a
    /// checker that is down, as track files can be. Without [`start`](Self::start) it is in no pool yet.
    pub(crate) fn new(
        id: ServiceId,
        config: &VirtualServer,
        weight: impl Fn(&Checker) -> Option<i64>,
    ) -> Self {
        let servers: Vec<Server> =
            config.real_servers.iter().map(|server| Server::new(server, &weight)).collect();
        let sorry = config.sorry_server.as_ref().map(|sorry| Sorry::new(sorry, &servers));
        let mut service = Self {
            id,
            pool: Pool::default(),
            servers,
            protocol: config.protocol,
            quorum: config.quorum.clone(),
            has_quorum: false,
            sorry,
            omega: config.omega,
        };
        // `set_quorum_states()`: nobody is up yet.
        service.has_quorum =
            i64::from(service.quorum.weight) + i64::from(service.quorum.hysteresis) <= 0;
        service
    }

    /// Puts the servers into the pool: `init_service_vs()`.
    pub(crate) fn start(&mut self, init_notifies: bool, notices: &mut Vec<Notice>) {
        for at in 0..self.servers.len() {
            let Some(server) = self.servers.get(at) else { break };
            if server.reloaded {
                continue;
            }
            let well = server.failed == 0;
            if (well && !server.alive) || (server.inhibit && !server.set) {
                self.add(at);
                if let Some(server) = self.servers.get_mut(at).filter(|_| well) {
                    server.alive = true;
                    if init_notifies {
                        self.tell_server(at, notices);
                    }
                }
            }
        }
        self.update_quorum(true, notices);
        if let Some(sorry) = &mut self.sorry
            && sorry.inhibit
            && !sorry.set
        {
            sorry.set = true;
            if !sorry.duplicate {
                self.pool.add(sorry.endpoint, 0, false);
            }
        }
    }

    /// Takes what a checker tells: whether it is up, and what it adds to the weight. `update_svr_checker_state()`.
    pub(crate) fn judge(
        &mut self,
        server: usize,
        checker: usize,
        up: bool,
        weight: i64,
        notices: &mut Vec<Notice>,
    ) {
        let Some(state) = self.checker_mut(server, checker) else { return };
        let (was_up, first, alpha) = (state.up, !state.has_run, state.alpha);
        let added = if up { weight - state.weight } else { -state.weight };
        state.weight += added;
        state.has_run = true;
        self.add_weight(server, added, up && was_up, notices);
        if was_up == up {
            if first && (alpha || !up) {
                self.tell_server(server, notices);
            }
            return;
        }
        let failed = self.servers.get(server).map_or(0, |server| server.failed);
        if (up && failed <= 1) || (!up && failed == 0) {
            self.turn(server, up, notices);
        }
        self.set_checker(server, checker, up);
    }

    /// `perform_svr_state()`.
    fn turn(&mut self, at: usize, up: bool, notices: &mut Vec<Notice>) {
        if self.servers.get(at).is_none_or(|server| server.alive == up) {
            return;
        }
        if self.serves_itself() {
            if up {
                self.add(at);
            } else {
                self.remove(at);
            }
        }
        if let Some(server) = self.servers.get_mut(at) {
            server.alive = up;
        }
        self.tell_server(at, notices);
        self.update_quorum(false, notices);
    }

    /// `update_svr_wgt()`; a change of the weight of a server that is up counts at once if `now`.
    fn add_weight(&mut self, at: usize, added: i64, now: bool, notices: &mut Vec<Notice>) {
        let real_ones = self.serves_itself();
        let Some(server) = self.servers.get_mut(at) else { return };
        let old = server.weight();
        server.effective += added;
        let new = server.weight();
        if now && old != new {
            if server.set && server.alive && real_ones {
                self.pool.edit(server.endpoint, new, true);
            }
            self.update_quorum(false, notices);
        }
    }

    /// The end: who has been told that it is up is told that it is not any more, with `omega`. `clear_service_vs()`.
    /// `servers` is whether that is done for each server (not with `lvs_flush_on_stop`).
    pub(crate) fn stop(&mut self, servers: bool, notices: &mut Vec<Notice>) {
        for at in (0..self.servers.len()).filter(|_| servers) {
            self.clear(at, self.omega, notices);
        }
        self.has_quorum = false;
        if self.omega {
            self.tell_quorum(notices);
        }
    }

    /// A service that is in the configuration no more: its servers and its quorum are gone.
    pub(crate) fn vanish(mut self, notices: &mut Vec<Notice>) {
        for at in 0..self.servers.len() {
            self.clear(at, true, notices);
        }
        if self.has_quorum {
            self.has_quorum = false;
            self.tell_quorum(notices);
        }
    }

    /// `clear_service_rs()`.
    fn clear(&mut self, at: usize, tell: bool, notices: &mut Vec<Notice>) {
        let Some(server) = self.servers.get_mut(at).filter(|server| server.set) else { return };
        server.set = false;
        self.pool.remove(server.endpoint);
        if std::mem::take(&mut server.alive) && tell {
            self.tell_server(at, notices);
        }
    }

    /// `set_checker_state()`.
    fn set_checker(&mut self, server: usize, checker: usize, up: bool) {
        let Some(state) = self.checker_mut(server, checker) else { return };
        if std::mem::replace(&mut state.up, up) == up {
            return;
        }
        if let Some(server) = self.servers.get_mut(server) {
            server.failed = if up { server.failed.saturating_sub(1) } else { server.failed + 1 };
        }
    }

    fn checker_mut(&mut self, server: usize, checker: usize) -> Option<&mut CheckerState> {
        self.servers.get_mut(server)?.checkers.get_mut(checker)
    }
}

impl Server {
    fn new(config: &RealServer, weight: impl Fn(&Checker) -> Option<i64>) -> Self {
        let checkers: Vec<CheckerState> = config
            .checkers
            .iter()
            .map(|checker| {
                let told = matches!(checker.check, Check::File(_));
                let alpha =
                    checker.schedule.alpha && !told && !matches!(checker.check, Check::Bfd(_));
                let weight = weight(checker);
                CheckerState {
                    checker: Arc::clone(checker),
                    mark: OnceLock::new(),
                    alpha,
                    up: !alpha && weight.is_some(),
                    has_run: told,
                    weight: weight.unwrap_or(0),
                    reason: None,
                }
            })
            .collect();
        let configured = i64::from(config.weight);
        Self {
            endpoint: Endpoint::of(config),
            alive: false,
            configured,
            effective: configured + checkers.iter().map(|checker| checker.weight).sum::<i64>(),
            inhibit: config.inhibit_on_failure,
            set: false,
            failed: checkers.iter().filter(|checker| !checker.up).count(),
            checkers,
            notify_up: config.notify_up.clone(),
            notify_down: config.notify_down.clone(),
            reloaded: false,
            since: None,
        }
    }

    /// Its weight in the kernel: `real_weight()`.
    pub(crate) fn weight(&self) -> u32 {
        u32::try_from(self.effective.clamp(0, WEIGHT_LIMIT)).unwrap_or(0)
    }

    /// What the file says.
    pub(crate) const fn configured(&self) -> i64 {
        self.configured
    }
}

impl Sorry {
    fn new(config: &SorryServer, servers: &[Server]) -> Self {
        let endpoint = Endpoint::of_sorry(config);
        Self {
            endpoint,
            inhibit: config.inhibit,
            set: false,
            alive: false,
            duplicate: servers.iter().any(|server| server.endpoint == endpoint),
        }
    }
}
