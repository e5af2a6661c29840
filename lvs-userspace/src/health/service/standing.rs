//! How a service and its servers stand, and what the log says when that changes: what a check has found, and what comes of it
//! for packets. One line for each event.

use tracing::{info, warn};

use super::{Notice, Server, Service};
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
struct ServerStanding {
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
        let up =
            self.servers.iter().filter(|server| server.alive && down.contains(&server.endpoint));
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

    /// Takes what a checker says: what it adds to the weight, or why it is down. The lines are what has come of it. `now` is in
    /// seconds since 1970.
    pub(crate) fn hear(
        &mut self,
        server: usize,
        checker: usize,
        weight: Option<i64>,
        reason: Option<&str>,
        now: u64,
        notices: &mut Vec<Notice>,
    ) -> Vec<Line> {
        let Some(was) = self.servers.get(server).map(|server| server.standing(checker)) else {
            return Vec::new();
        };
        let before = self.standing();
        self.judge(server, checker, weight.is_some(), weight.unwrap_or(0), notices);
        self.note(server, checker, reason, was, now);
        [self.server_line(server, checker, was, before), self.line(before)]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Keeps why and since when a server is down, after a checker has been heard.
    fn note(
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
    fn server_line(
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
    fn line(&self, before: Standing) -> Option<Line> {
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
            (Some(sorry), None) => Some(Line::Info(format!(
                "the sorry server {sorry} of {id} does not serve any more"
            ))),
            _ => match (before.quorum, now.quorum) {
                (true, false) if nobody => Some(Line::Warning(format!(
                    "{id} has no real server that is up: new connections are refused"
                ))),
                (true, false) => {
                    let effect =
                        if up > 0 { "what is up goes on" } else { "new connections are refused" };
                    Some(Line::Warning(format!(
                        "{id} has lost its quorum: weight {up} is up, {least} is the least; {effect}"
                    )))
                }
                (false, true) => Some(Line::Info(format!(
                    "{id} has its quorum: weight {up} is up, {needed} is needed"
                ))),
                _ => None,
            },
        }
    }
}

impl Server {
    fn standing(&self, checker: usize) -> ServerStanding {
        ServerStanding {
            alive: self.alive,
            weight: self.weight(),
            since: self.since,
            has_run: self.checkers.get(checker).is_some_and(|checker| checker.has_run),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{service, sorry, started},
        *,
    };
    use crate::config::{Quorum, VirtualServer};

    /// What is said when servers, by their place, fail or recover one after the other.
    fn said(
        weights: &[u32],
        change: impl Fn(&mut VirtualServer),
        events: &[(usize, bool)],
    ) -> Vec<String> {
        let (mut service, _) = started(&service(weights, change));
        let mut said = Vec::new();
        for (server, up) in events {
            let (weight, reason) = (up.then_some(0), (!up).then_some("refused"));
            let lines =
                service.hear(*server, 0, weight, reason, crate::clock::now(), &mut Vec::new());
            said.extend(lines.into_iter().map(|line| match line {
                Line::Warning(text) => format!("WARN {text}"),
                Line::Info(text) => text,
            }));
        }
        said
    }

    #[test]
    fn a_line_says_what_comes_of_a_check() {
        assert_eq!(
            said(&[1, 3], |_| (), &[(1, false), (0, false), (1, true)]),
            [
                "WARN real server 10.0.0.2:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN real server 10.0.0.1:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN 192.0.2.1:80/TCP has no real server that is up: new connections are refused",
                "real server 10.0.0.2:80 of 192.0.2.1:80/TCP is up after 0s, back in with weight 3",
                "192.0.2.1:80/TCP has its quorum: weight 3 is up, 1 is needed",
            ]
        );
    }

    #[test]
    fn a_sorry_server_takes_over_and_yields() {
        let change = |service: &mut VirtualServer| {
            service.sorry_server = Some(sorry());
            service.quorum = Quorum { weight: 3, hysteresis: 1, ..Quorum::default() };
        };
        let events = [(1, false), (2, false), (0, false), (0, true), (1, true), (2, true)];
        assert_eq!(
            said(&[2, 1, 1], change, &events),
            [
                "WARN real server 10.0.0.2:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN real server 10.0.0.3:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN real server 10.0.0.1:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN the sorry server 10.0.0.100:80 takes over from 192.0.2.1:80/TCP: no real server is up",
                "real server 10.0.0.1:80 of 192.0.2.1:80/TCP is up after 0s, held back until there is a quorum: weight 2 \
                 is up, 4 is needed",
                "real server 10.0.0.2:80 of 192.0.2.1:80/TCP is up after 0s, held back until there is a quorum: weight 3 \
                 is up, 4 is needed",
                "real server 10.0.0.3:80 of 192.0.2.1:80/TCP is up after 0s, back in with weight 1",
                "the sorry server 10.0.0.100:80 yields, 192.0.2.1:80/TCP has its quorum again: weight 4 is up, 4 is needed",
            ]
        );
    }

    #[test]
    fn who_is_held_back_was_not_taken_out() {
        let change = |service: &mut VirtualServer| {
            service.sorry_server = Some(sorry());
            service.quorum.weight = 3;
        };
        assert_eq!(
            said(&[1, 1, 1], change, &[(0, false), (1, false)]),
            [
                "WARN real server 10.0.0.1:80 of 192.0.2.1:80/TCP is down, taken out: refused",
                "WARN the sorry server 10.0.0.100:80 takes over from 192.0.2.1:80/TCP: weight 2 is up, its quorum takes 3",
                "WARN real server 10.0.0.2:80 of 192.0.2.1:80/TCP is down, it did not serve, as the sorry server does: refused",
            ]
        );
    }

    #[test]
    fn a_restart_knows_why_and_since_when() {
        let config = service(&[1, 1], |_| ());
        let (mut service, _) = started(&config);
        service.hear(0, 0, None, Some("refused"), 1000, &mut Vec::new());
        let memory = service.remember().unwrap();
        let text = serde_json::to_string(&memory).unwrap();
        assert!(
            text.contains(r#""since":1000"#) && text.contains(r#""reason":"refused""#),
            "{text}"
        );
        let memory = serde_json::from_str(&text).unwrap();
        let again =
            Service::recall(service.id.clone(), &config, |_| Some(0), Some(&memory), |_| true);
        assert_eq!(again.remember(), service.remember());
        // One of an earlier version has neither.
        let old = text.replace(r#""since":1000,"#, "").replace(r#","reason":"refused""#, "");
        assert!(serde_json::from_str::<crate::health::Remembered>(&old).is_ok());
    }
}
