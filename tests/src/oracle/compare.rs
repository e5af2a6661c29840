//! Doing to a balancer what was done to IPVS, step by step, until it answers otherwise.

use std::collections::VecDeque;
use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::recording::{Check, Loads, Open, People, Scenario, Server, Step, Templates, Visit};

/// The answer that is a refusal.
pub const REFUSED: char = '-';
/// The answer that does not come.
pub const SILENT: char = '?';

/// How long counts may take to be what they were in IPVS.
const SETTLED: Duration = Duration::from_secs(1);
/// The same after connections were reset: they go 10 s later, and are collected every 5 s.
const EXPIRED: Duration = Duration::from_secs(20);
/// After so long they have been collected, and what opens connections then finds them gone.
const GONE: Duration = Duration::from_secs(17);
const POLL: Duration = Duration::from_millis(10);

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum End {
    /// In order, by the client first; both ends have seen it when this is over.
    Close,
    /// By the client's reset; the server has seen it.
    Reset,
    /// The balancer knows its server no more: nobody sees anything.
    GiveUp,
}

/// What is compared with IPVS. It serves all scenarios at the same time, with ports of their own.
pub trait Balancer {
    /// An open connection.
    type Connection;

    /// Opens a connection, and says which server answered; or that none did.
    fn open(&mut self, visit: Visit) -> Result<(char, Option<Self::Connection>)>;

    /// Ends a connection.
    fn end(&mut self, connection: Self::Connection, how: End) -> Result<()>;

    /// Has the services of a scenario have these servers from now on.
    fn change(&mut self, scenario: &Scenario, servers: &[Server]) -> Result<()>;

    /// The connections of the servers, summed over the services of a scenario.
    fn loads(&mut self, scenario: &Scenario, servers: &[Server]) -> Result<Loads>;

    /// The templates of a scenario's services.
    fn templates(&mut self, scenario: &Scenario) -> Result<Templates>;
}

/// Where a balancer was first found to do otherwise than IPVS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Divergence {
    /// The scenario.
    pub scenario: String,
    /// The number of the step, from 1 on.
    pub step: usize,
    /// What it does.
    pub action: String,
    /// What differs.
    pub difference: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, step, action, difference } = self;
        write!(f, "{scenario}: step {step} ({action}): {difference}")
    }
}

/// How far a scenario got.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Its next step waits for connections to go: others can be run meanwhile.
    Waits,
    /// All its steps were as in IPVS.
    Same,
    /// One was not.
    Differs(Divergence),
}

/// A scenario that is being run.
#[derive(Debug)]
pub struct Run<'a, C> {
    scenario: &'a Scenario,
    people: &'a People,
    servers: Vec<Server>,
    held: VecDeque<(char, C)>,
    /// Connections opened so far.
    opened: usize,
    /// The step that comes next.
    next: usize,
    patience: Duration,
    /// When connections are gone that are waited for.
    gone: Option<Instant>,
}

impl<'a, C> Run<'a, C> {
    /// At its beginning: the balancer has the services already, with their first servers.
    #[must_use]
    pub fn new(people: &'a People, scenario: &'a Scenario) -> Self {
        Self {
            scenario,
            people,
            servers: scenario.servers.clone(),
            held: VecDeque::new(),
            opened: 0,
            next: 0,
            patience: SETTLED,
            gone: None,
        }
    }

    /// Which scenario it is.
    #[must_use]
    pub fn scenario(&self) -> &'a Scenario {
        self.scenario
    }

    /// Goes on until it has to wait, or ends.
    pub fn go(&mut self, balancer: &mut impl Balancer<Connection = C>) -> Result<Progress> {
        let scenario = self.scenario;
        // A check waits by itself.
        if let Some(gone) = self.gone.take()
            && !matches!(scenario.steps.get(self.next), Some(Step::Check(_)))
        {
            sleep(gone.saturating_duration_since(Instant::now()));
        }
        while let Some(step) = scenario.steps.get(self.next) {
            self.next += 1;
            if matches!(step, Step::Expire) {
                self.patience = EXPIRED;
                self.gone = Some(Instant::now() + GONE);
                return Ok(Progress::Waits);
            }
            let difference = self
                .step(step, balancer)
                .with_context(|| format!("{}: step {}: {step:?}", scenario.name, self.next))?;
            if let Some(difference) = difference {
                let (scenario, action) = (scenario.name.clone(), action(step));
                let step = self.next;
                return Ok(Progress::Differs(Divergence { scenario, step, action, difference }));
            }
        }
        Ok(Progress::Same)
    }

    /// One step, and what is different after it.
    fn step(
        &mut self,
        step: &Step,
        balancer: &mut impl Balancer<Connection = C>,
    ) -> Result<Option<String>> {
        match step {
            Step::Open(open) => return self.open(open, balancer),
            Step::Check(check) => return self.check(check, balancer),
            Step::Close(count) => self.end(*count, End::Close, balancer)?,
            Step::Reset(count) => self.end(*count, End::Reset, balancer)?,
            Step::Expire => {}
            Step::Add(server) => self.servers.push(*server),
            Step::Edit(server) => {
                let place = self.servers.iter_mut().find(|one| one.name == server.name);
                *place.context("no such server")? = *server;
            }
            Step::Remove(name) => self.servers.retain(|server| server.name != *name),
        }
        if matches!(step, Step::Add(_) | Step::Edit(_) | Step::Remove(_)) {
            balancer.change(self.scenario, &self.servers)?;
        }
        Ok(None)
    }

    fn open(
        &mut self,
        open: &Open,
        balancer: &mut impl Balancer<Connection = C>,
    ) -> Result<Option<String>> {
        let mut answers = String::new();
        for (number, expected) in open.answers.chars().enumerate() {
            let visit = self.scenario.visit(self.people, open, number, self.opened)?;
            self.opened += 1;
            let (answer, connection) = balancer.open(visit)?;
            answers.push(answer);
            if answer != expected {
                let Visit { client, to } = visit;
                let (ipvs, here) = (Answer(expected), Answer(answer));
                return Ok(Some(format!(
                    "connection {} from {client} to {to}: {ipvs} in IPVS, {here} here\n  \
                     IPVS {}\n  here {answers}",
                    number + 1,
                    open.answers
                )));
            }
            match connection {
                Some(connection) if open.holds(number) => {
                    self.held.push_back((answer, connection));
                }
                Some(connection) => balancer.end(connection, self.how(answer, End::Close))?,
                None => {}
            }
        }
        Ok(None)
    }

    /// Ends connections, the oldest first.
    fn end(
        &mut self,
        count: usize,
        how: End,
        balancer: &mut impl Balancer<Connection = C>,
    ) -> Result<()> {
        for _ in 0..count {
            let Some((server, connection)) = self.held.pop_front() else { break };
            balancer.end(connection, self.how(server, how))?;
        }
        Ok(())
    }

    /// Packets of a connection whose server was removed go nowhere.
    fn how(&self, server: char, how: End) -> End {
        if self.servers.iter().any(|one| one.name == server) { how } else { End::GiveUp }
    }

    fn check(
        &mut self,
        check: &Check,
        balancer: &mut impl Balancer<Connection = C>,
    ) -> Result<Option<String>> {
        let give_up = Instant::now() + std::mem::replace(&mut self.patience, SETTLED);
        loop {
            let loads = balancer.loads(self.scenario, &self.servers)?;
            let templates = match self.scenario.persistence {
                Some(_) => balancer.templates(self.scenario)?,
                None => Templates::new(),
            };
            if loads == check.loads && templates == check.templates {
                return Ok(None);
            }
            if Instant::now() > give_up {
                return Ok(Some(differences(check, &loads, &templates)));
            }
            sleep(POLL);
        }
    }
}

/// An answer in words.
struct Answer(char);

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            REFUSED => f.write_str("refused"),
            SILENT => f.write_str("no answer"),
            server => write!(f, "server {server}"),
        }
    }
}

fn action(step: &Step) -> String {
    match step {
        Step::Open(open) => format!("open {}, hold {}", open.count, open.hold),
        Step::Close(count) => format!("close {count}"),
        Step::Reset(count) => format!("reset {count}"),
        Step::Expire => "expire".to_owned(),
        Step::Add(server) => format!("add {server:?}"),
        Step::Edit(server) => format!("edit {server:?}"),
        Step::Remove(name) => format!("remove {name}"),
        Step::Check(_) => "check".to_owned(),
    }
}

fn differences(check: &Check, loads: &Loads, templates: &Templates) -> String {
    let mut lines = Vec::new();
    if *loads != check.loads {
        let shown = |loads: &Loads| {
            let of = |(name, [active, inactive]): (&char, &[u64; 2])| {
                format!("{name} {active}+{inactive}")
            };
            loads.iter().map(of).collect::<Vec<_>>().join(", ")
        };
        let (ipvs, here) = (shown(&check.loads), shown(loads));
        lines.push(format!("active+inactive connections\n  IPVS {ipvs}\n  here {here}"));
    }
    let one =
        |who: &str, templates: &mut dyn Iterator<Item = &(std::net::Ipv4Addr, String, char)>| {
            templates.next().map(|(client, service, server)| {
                let more = templates.count();
                format!(
                    "template only {who}: {client} to {service} at server {server}, and {more} more"
                )
            })
        };
    lines.extend(one("in IPVS", &mut check.templates.difference(templates)));
    lines.extend(one("here", &mut templates.difference(&check.templates)));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::super::recording::Oracle;
    use super::*;

    /// Answers what it was told to.
    struct Puppet {
        answers: VecDeque<char>,
        loads: Loads,
        ends: Vec<(char, End)>,
        changes: Vec<String>,
    }

    impl Balancer for Puppet {
        type Connection = char;

        fn open(&mut self, _: Visit) -> Result<(char, Option<char>)> {
            let answer = self.answers.pop_front().context("one too many")?;
            Ok((answer, answer.is_alphabetic().then_some(answer)))
        }

        fn end(&mut self, connection: char, how: End) -> Result<()> {
            self.ends.push((connection, how));
            Ok(())
        }

        fn change(&mut self, _: &Scenario, servers: &[Server]) -> Result<()> {
            let names = servers.iter().map(|one| format!("{}{}", one.name, one.weight));
            self.changes.push(names.collect());
            Ok(())
        }

        fn loads(&mut self, _: &Scenario, _: &[Server]) -> Result<Loads> {
            Ok(self.loads.clone())
        }

        fn templates(&mut self, _: &Scenario) -> Result<Templates> {
            Ok([([10, 0, 0, 1].into(), "10.64.4.1:80".to_owned(), 'A')].into())
        }
    }

    const SCENARIO: &str = r#"{"name": "a/b", "scheduler": "rr", "virtuals": ["10.64.4.1"], "port": 80,
        "persistence": 300, "servers": [{"name": "A", "weight": 1}, {"name": "B", "weight": 1}], "steps": [
        {"open": {"count": 3, "first": 0, "stride": 1, "hold": 2, "answers": "BAB"}}, "expire",
        {"remove": "B"}, {"add": {"name": "C", "weight": 4}}, {"edit": {"name": "A", "weight": 0}},
        {"open": {"count": 2, "first": 0, "stride": 1, "hold": 0, "answers": "C-"}}, {"close": 9},
        {"check": {"loads": {"A": [0, 1], "C": [0, 1]}, "templates": [["10.0.0.1", "10.64.4.1:80", "A"]]}}
        ]}"#;

    fn run(answers: &str, loads: Loads) -> (Progress, Puppet) {
        let people = Oracle::read().unwrap().people;
        let scenario: Scenario = serde_json::from_str(SCENARIO).unwrap();
        let answers = answers.chars().collect();
        let mut puppet = Puppet { answers, loads, ends: Vec::new(), changes: Vec::new() };
        let mut run = Run::new(&people, &scenario);
        let mut progress = run.go(&mut puppet).unwrap();
        if progress == Progress::Waits {
            run.patience = Duration::ZERO;
            run.gone = None;
            progress = run.go(&mut puppet).unwrap();
        }
        (progress, puppet)
    }

    #[test]
    fn every_step_reaches_the_balancer() {
        let (progress, puppet) = run("BABC-", [('A', [0, 1]), ('C', [0, 1])].into());
        assert_eq!(progress, Progress::Same);
        assert_eq!(puppet.changes, ["A1", "A1C4", "A0C4"]);
        let given_up = ('B', End::GiveUp);
        assert_eq!(puppet.ends, [('A', End::Close), ('C', End::Close), given_up, given_up]);
    }

    #[test]
    fn the_first_other_answer_is_shown() {
        let Progress::Differs(found) = run("BABA", Loads::new()).0 else { panic!("no difference") };
        assert_eq!(
            found.to_string(),
            "a/b: step 6 (open 2, hold 0): connection 1 from 172.16.0.10:20003 to 10.64.4.1:80: \
             server C in IPVS, server A here\n  IPVS C-\n  here A"
        );
    }

    #[test]
    fn other_counts_are_shown() {
        let (progress, _) = run("BABC-", [('A', [1, 0]), ('C', [0, 1])].into());
        let Progress::Differs(found) = progress else { panic!("no difference") };
        assert_eq!(
            found.to_string(),
            "a/b: step 8 (check): active+inactive connections\n  IPVS A 0+1, C 0+1\n  here A 1+0, C 0+1"
        );
    }

    #[test]
    fn other_templates_are_shown() {
        let expected = [([10, 0, 0, 2].into(), "10.64.4.1:80".to_owned(), 'A')].into();
        let check = Check { loads: Loads::new(), templates: expected };
        assert_eq!(
            differences(&check, &Loads::new(), &Templates::new()),
            "template only in IPVS: 10.0.0.2 to 10.64.4.1:80 at server A, and 0 more"
        );
    }
}
