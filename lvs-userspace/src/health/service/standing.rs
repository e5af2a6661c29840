//! How a service and its servers stand, and what the log says when that changes: what a check has found, and what comes of it
//! for packets. One line for each event.

use tracing::{info, warn};

use super::{Server, Service};
use crate::{clock::age, health::identity::Endpoint};

/// How a service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    quorum: bool,
    /// The sorry server, while it serves.
    sorry: Option<Endpoint>,
    /// Whether the real servers serve.
    real: bool,
}

/// How a server stands, as one of its checkers sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ServerStanding {
    alive: bool,
    weight: u32,
    /// Since when it has been down.
    since: Option<u64>,
    /// Whether the checker has run.
    has_run: bool,
}

/// A line for the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It is worse than before.
    Warning(String),
    /// It is better.
    Info(String),
}

impl Line {
    pub(crate) fn log(self) {
        match self {
            Self::Warning(text) => warn!("{text}"),
            Self::Info(text) => info!("{text}"),
        }
    }
}

impl Standing {
    /// All is well.
    pub(crate) const WELL: Self = Self { quorum: true, sorry: None, real: true };
}

impl Service {
    /// Those of its servers that are down.
    pub(crate) fn down(&self) -> Vec<Endpoint> {
        let down = self.servers.iter().filter(|server| !server.alive);
        down.map(|server| server.endpoint).collect()
    }

    /// What has become of a service that a new configuration was taken over for: of its servers, of which these were down, its
    /// quorum and its sorry server. A new one was well.
    pub(crate) fn lines_of_reload(&self, down: &[Endpoint], before: Standing) -> Vec<Line> {
        let up = self.servers.iter().filter(|server| server.alive && down.contains(&server.endpoint));
        let up = up.map(|server| {
            Line::Info(format!(
                "real server {} of {} is up: the check that has failed is not in the file any more",
                server.endpoint, self.id
            ))
        });
        up.chain(self.line(before)).collect()
    }

    pub(crate) fn standing(&self) -> Standing {
        let serving = self.sorry.as_ref().filter(|sorry| sorry.alive);
        Standing {
            quorum: self.has_quorum,
            sorry: serving.map(|sorry| sorry.endpoint),
            real: self.serves_itself(),
        }
    }

    /// What the servers that are up weigh together.
    pub(super) fn weight_up(&self) -> i64 {
        let up = self.servers.iter().filter(|server| server.alive);
        up.map(|server| i64::from(server.weight())).sum()
    }

    /// The weight at which the quorum is gained.
    pub(super) fn needed(&self) -> i64 {
        i64::from(self.quorum.weight) + i64::from(self.quorum.hysteresis)
    }

    /// The least weight with which it is kept.
    fn least(&self) -> i64 {
        (i64::from(self.quorum.weight) - i64::from(self.quorum.hysteresis)).max(1)
    }

    /// Keeps why and since when a server is down, after a checker has been heard. `now` is in seconds since 1970.
    pub(crate) fn note(
        &mut self,
        server: usize,
        checker: usize,
        reason: Option<&str>,
        was: ServerStanding,
        now: u64,
    ) {
        let Some(server) = self.servers.get_mut(server) else { return };
        server.since = match (was.alive, server.alive) {
            (_, true) => None,
            (true, false) => Some(now),
            (false, false) => server.since.or(Some(now)),
        };
        let Some(checker) = server.checkers.get_mut(checker) else { return };
        if checker.up {
            checker.reason = None;
        } else if let Some(reason) = reason {
            checker.reason = Some(reason.into());
        }
    }

    /// What has become of a server, after a checker has been heard that saw it and its service stand like this.
    pub(crate) fn server_line(
        &self,
        server: usize,
        checker: usize,
        was: ServerStanding,
        before: Standing,
    ) -> Option<Line> {
        let server = self.servers.get(server)?;
        let checker = server.checkers.get(checker)?;
        let who = format!("real server {} of {}", server.endpoint, self.id);
        let weight = server.weight();
        let reason =
            checker.reason.as_deref().unwrap_or("a check that another service has of it says so");
        match (was.alive, server.alive) {
            (true, false) => {
                let effect = match (before.real, server.inhibit) {
                    (true, false) => "taken out",
                    (true, true) => "its weight is set to 0",
                    (false, _) => "it did not serve, as the sorry server does",
                };
                Some(Line::Warning(format!("{who} is down, {effect}: {reason}")))
            }
            // With `alpha`.
            (false, false) if !was.has_run && !checker.up => {
                Some(Line::Warning(format!("{who} is down, it does not come in: {reason}")))
            }
            (false, true) => {
                let effect = if self.serves_itself() {
                    let back = if was.since.is_some() { "back in" } else { "in" };
                    format!("{back} with weight {weight}")
                } else {
                    let (up, needed) = (self.weight_up(), self.needed());
                    format!(
                        "held back until there is a quorum: weight {up} is up, {needed} is needed"
                    )
                };
                let after = was.since.map(|since| format!(" after {}", age(since)));
                Some(Line::Info(format!("{who} is up{}, {effect}", after.unwrap_or_default())))
            }
            (true, true) if weight != was.weight => {
                Some(Line::Info(format!("{who} has weight {weight} instead of {}", was.weight)))
            }
            _ => None,
        }
    }

    /// What has become of a service that stood like this before: of its quorum and its sorry server.
    pub(crate) fn line(&self, before: Standing) -> Option<Line> {
        let (id, up, now) = (&self.id, self.weight_up(), self.standing());
        let (least, needed) = (self.least(), self.needed());
        let nobody = self.servers.iter().all(|server| !server.alive);
        match (before.sorry, now.sorry) {
            (None, Some(sorry)) => {
                let why = if nobody {
                    "no real server is up".to_owned()
                } else {
                    format!("weight {up} is up, its quorum takes {least}")
                };
                Some(Line::Warning(format!("the sorry server {sorry} takes over from {id}: {why}")))
            }
            (Some(sorry), None) if now.quorum => Some(Line::Info(format!(
                "the sorry server {sorry} yields, {id} has its quorum again: weight {up} is up, {needed} is needed"
            ))),
            (Some(sorry), None) => {
                Some(Line::Info(format!("the sorry server {sorry} of {id} does not serve any more")))
            }
            _ => match (before.quorum, now.quorum) {
                (true, false) if nobody => Some(Line::Warning(format!(
                    "{id} has no real server that is up: new connections are refused"
                ))),
                (true, false) => Some(Line::Warning(format!(
                    "{id} has lost its quorum: weight {up} is up, {least} is the least; what is up goes on"
                ))),
                (false, true) => Some(Line::Info(format!(
                    "{id} has its quorum: weight {up} is up, {needed} is needed"
                ))),
                _ => None,
            },
        }
    }
}

impl Server {
    pub(crate) fn standing(&self, checker: usize) -> ServerStanding {
        ServerStanding {
            alive: self.alive,
            weight: self.weight(),
            since: self.since,
            has_run: self.checkers.get(checker).is_some_and(|checker| checker.has_run),
        }
    }
}
