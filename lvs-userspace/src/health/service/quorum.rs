//! The quorum, and who is in the pool because of it.

use super::{Notice, Service};
use crate::config::RealServer;

impl Service {
    /// `update_quorum_state()`.
    pub(super) fn update_quorum(&mut self, init: bool, notices: &mut Vec<Notice>) {
        let weight = self.weight_up();
        let (quorum, hysteresis) =
            (i64::from(self.quorum.weight), i64::from(self.quorum.hysteresis));
        let sorry_serves = self.sorry.as_ref().map(|sorry| sorry.alive);
        if !self.has_quorum && weight >= quorum + hysteresis {
            self.has_quorum = true;
            if sorry_serves == Some(true) {
                self.swap(false);
            }
            self.tell_quorum(notices);
        } else if (self.has_quorum && (weight == 0 || weight < quorum - hysteresis))
            || (init && !self.has_quorum && sorry_serves == Some(false))
        {
            self.has_quorum = false;
            if sorry_serves == Some(false) {
                self.swap(true);
            }
            self.tell_quorum(notices);
        }
    }

    /// The sorry server takes over from the servers that are up, or gives back to them.
    fn swap(&mut self, sorry_serves: bool) {
        if !sorry_serves {
            self.switch_sorry(false);
        }
        for at in 0..self.servers.len() {
            if self.servers.get(at).is_some_and(|server| server.alive) {
                if sorry_serves {
                    self.remove(at);
                } else {
                    self.add(at);
                }
            }
        }
        if sorry_serves {
            self.switch_sorry(true);
        }
    }

    fn switch_sorry(&mut self, on: bool) {
        let Some(sorry) = &mut self.sorry else { return };
        sorry.alive = on;
        match (on, sorry.inhibit) {
            (true, true) if sorry.set => {
                self.pool.edit(sorry.endpoint, RealServer::WEIGHT, false);
            }
            (true, _) => {
                sorry.set = true;
                self.pool.add(sorry.endpoint, RealServer::WEIGHT, false);
                // It may be there with weight 0, as a real server. keepalived leaves it so at the start.
                self.pool.edit(sorry.endpoint, RealServer::WEIGHT, false);
            }
            (false, true) => self.pool.edit(sorry.endpoint, 0, false),
            (false, false) => {
                sorry.set = false;
                self.pool.remove(sorry.endpoint);
            }
        }
    }

    /// `ipvs_cmd(LVS_CMD_ADD_DEST)`.
    pub(super) fn add(&mut self, at: usize) {
        let Some(server) = self.servers.get_mut(at) else { return };
        let weight = server.weight();
        if server.inhibit && server.set {
            self.pool.edit(server.endpoint, weight, true);
            return;
        }
        let first = !server.set;
        server.set = true;
        let held = first && server.inhibit && server.failed > 0;
        self.pool.add(server.endpoint, if held { 0 } else { weight }, !held);
    }

    /// `ipvs_cmd(LVS_CMD_DEL_DEST)`.
    pub(super) fn remove(&mut self, at: usize) {
        let Some(server) = self.servers.get_mut(at) else { return };
        if server.inhibit {
            self.pool.edit(server.endpoint, 0, false);
        } else {
            server.set = false;
            self.pool.remove(server.endpoint);
        }
    }

    /// Whether the real servers serve, not the sorry server.
    pub(super) fn serves_itself(&self) -> bool {
        self.has_quorum || self.sorry.as_ref().is_none_or(|sorry| !sorry.alive)
    }
}
