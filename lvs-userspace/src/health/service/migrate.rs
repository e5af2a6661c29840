//! A reload of the configuration: what a service takes over from its former self. `clear_diff_services()` in keepalived's `ipwrapper.c`.

use super::{Notice, Server, Service};

impl Service {
    /// Takes over from the service that it was before the reload, and is started. Servers that are new come into the pool,
    /// those that are gone leave it; a server that stays keeps the state of those of its checkers that stay.
    pub(crate) fn resume(&mut self, mut old: Self, init_notifies: bool, notices: &mut Vec<Notice>) {
        for at in 0..old.servers.len() {
            let stays = old.servers.get(at).is_some_and(|server| {
                self.servers.iter().any(|new| new.endpoint == server.endpoint)
            });
            if !stays {
                old.clear(at, true, notices);
            }
        }
        self.has_quorum = old.has_quorum;
        self.pool = std::mem::take(&mut old.pool);
        let mut weights = Vec::new();
        for at in 0..self.servers.len() {
            let Some(server) = self.servers.get_mut(at) else { break };
            let Some(was) = old.servers.iter().find(|was| was.endpoint == server.endpoint) else {
                continue;
            };
            server.take_over(was);
            let added: i64 = server.checkers.iter().map(|checker| checker.weight).sum();
            weights.push((at, server.configured + added));
        }
        self.resume_sorry(&old);
        for at in 0..self.servers.len() {
            self.settle(at, notices);
        }
        // `init_service_rs()`: the weights of the file count now.
        for (at, effective) in weights {
            let real_ones = self.serves_itself();
            let Some(server) = self.servers.get_mut(at) else { continue };
            let before = server.weight();
            server.effective = effective;
            if server.set && server.alive && real_ones && server.weight() != before {
                self.pool.edit(server.endpoint, server.weight(), true);
            }
        }
        self.start(init_notifies, notices);
        for server in &mut self.servers {
            server.reloaded = false;
        }
    }

    /// `clear_diff_s_srv()`.
    fn resume_sorry(&mut self, old: &Self) {
        let Some(was) = &old.sorry else { return };
        if let Some(sorry) = &mut self.sorry
            && sorry.endpoint == was.endpoint
        {
            sorry.alive = was.alive;
            sorry.set = was.set;
            if sorry.inhibit == was.inhibit || was.alive {
                return;
            }
            sorry.set = false;
        }
        if was.set && !was.duplicate || was.alive {
            self.pool.remove(was.endpoint);
        }
        if was.alive && self.sorry.is_none() {
            // Nobody stands in for the real servers that are up.
            for at in 0..self.servers.len() {
                if self.servers.get(at).is_some_and(|server| server.alive) {
                    self.add(at);
                }
            }
        }
    }

    /// The end of `migrate_checkers()`: a server whose failed checkers are gone is up, one with a file that says so is down,
    /// and who stays down is in the pool as `inhibit_on_failure` says now.
    fn settle(&mut self, at: usize, notices: &mut Vec<Notice>) {
        let Some(server) = self.servers.get(at).filter(|server| server.reloaded) else { return };
        if server.alive == (server.failed > 0) {
            self.turn(at, !server.alive, notices);
        } else if server.failed > 0 && server.set != server.inhibit {
            if server.inhibit {
                self.add(at);
            } else {
                self.remove(at);
            }
        }
    }
}

impl Server {
    fn take_over(&mut self, was: &Self) {
        self.alive = was.alive;
        self.set = was.set;
        self.effective = was.effective;
        self.reloaded = true;
        self.since = was.since;
        for checker in &mut self.checkers {
            // A track file is as it says now.
            if matches!(checker.check(), crate::config::Check::File(_)) {
                continue;
            }
            if let Some(same) = was.checkers.iter().find(|old| old.check() == checker.check()) {
                checker.up = if same.has_run { same.up } else { checker.up };
                checker.has_run = same.has_run;
                checker.weight = same.weight;
                checker.reason.clone_from(&same.reason);
            }
        }
        let seen = self.checkers.iter().any(|checker| checker.has_run);
        let failed = self.checkers.iter().any(|checker| checker.has_run && !checker.up);
        // New ones with alpha are down only on a server that is not up anyway.
        let pessimistic = failed || (!self.alive && !seen);
        for checker in &mut self.checkers {
            if !checker.has_run {
                checker.up = !(pessimistic && checker.alpha);
            }
        }
        self.failed = self.checkers.iter().filter(|checker| !checker.up).count();
    }
}
