//! Health checks: which servers are up, and what that makes of a configuration.
//!
//! - `probe/` makes one check, `progress.rs` says when a failure counts and when the next check is due, `runner.rs` is the
//!   task that does both again and again. `checks.rs` has the same check of the same server run once, whoever wants it.
//! - `service/` takes what checks tell and decides by keepalived's rules who serves, and who is told. It does no I/O.
//! - `notify.rs` tells them, `fifo.rs` by named pipes; `script.rs` runs programs, `files.rs` watches track files.
//! - `memory.rs` is what a restart knows of it all.
//! - `effective.rs` makes the configuration that the data path should have.
//!
//! All tasks are of the runtime that [`Health::start`] is called in; nothing in them blocks.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    ops::BitOrAssign,
    sync::Arc,
};

use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::{
    clock,
    config::{Check, Checker, Config, Global, Target, TrackFile, VirtualServer},
    inspect::ServiceName,
};

mod checks;
mod effective;
mod fifo;
mod files;
mod identity;
mod memory;
mod notify;
mod probe;
mod progress;
mod runner;
mod script;
mod service;
#[cfg(test)]
mod tests;

use self::{
    checks::{Checks, Subscriber, Wanted},
    files::{Told, added},
    memory::Known,
    notify::Notifier,
    runner::{Label, Report, Status},
    service::{Line, Notice, Server, Service, Standing},
};
pub use self::{
    effective::{Member, Pool, State, all_serve, apply},
    identity::{Endpoint, ServiceId},
    memory::{Memory, Past},
};
pub(crate) use self::{
    memory::{Name, Remembered, RememberedServer},
    probe::may_ping,
    script::{may_become_others, scripts_of_others},
};

/// All health checks of a configuration. Dropped, they end.
#[derive(Debug)]
pub struct Health {
    state: State,
    services: Vec<Service>,
    /// What the configuration says of each of them; of a group, of its first one.
    configs: Vec<VirtualServer>,
    checks: Checks,
    /// What track files say.
    files: HashMap<String, i64>,
    told: UnboundedReceiver<Told>,
    global: Arc<Global>,
    notifier: Notifier,
    /// What there is to tell once packets flow.
    held: Option<Vec<Notice>>,
    /// The services of each group, which are one here.
    groups: HashMap<ServiceId, Vec<ServiceName>>,
    /// What a restart should know.
    memory: HashMap<ServiceId, Remembered>,
    /// Whether nobody has asked for that since it has changed.
    memory_is_new: bool,
}

/// What has come of something.
#[derive(Debug, Clone, Copy, Default)]
struct Change {
    /// A service has other servers, or a server another weight.
    pools: bool,
    /// A restart should know something else.
    memory: bool,
}

impl BitOrAssign for Change {
    fn bitor_assign(&mut self, other: Self) {
        self.pools |= other.pools;
        self.memory |= other.memory;
    }
}

impl Health {
    /// Starts the checks of a configuration, of which nothing is known yet: see [`go_on`](Self::go_on).
    #[must_use]
    pub fn start(config: &Config, local: &BTreeSet<IpAddr>) -> Self {
        Self::go_on(config, local, &Past::default())
    }

    /// Starts the checks of a configuration where a controller before has left off: what has not changed since keeps its
    /// state, and nobody is told again what was told. `local` is this host's addresses, for `ha_suspend`. Must be called in a
    /// runtime. Who cannot be told, and which checks cannot be made, is logged.
    #[must_use]
    pub fn go_on(config: &Config, local: &BTreeSet<IpAddr>, past: &Past) -> Self {
        Self::begin(config, local, past, None)
    }

    /// The same where packets do not flow yet and nothing is known: nobody is told anything before they do, for who is told
    /// of a quorum may have clients come. See [`packets_flow`](Self::packets_flow).
    #[must_use]
    pub fn start_quietly(config: &Config, local: &BTreeSet<IpAddr>) -> Self {
        Self::begin(config, local, &Past::default(), Some(Vec::new()))
    }

    /// Tells what there was to tell before packets flowed.
    pub fn packets_flow(&mut self) {
        self.notifier.tell(self.held.take().unwrap_or_default());
    }

    fn tell(&mut self, notices: Vec<Notice>) {
        match &mut self.held {
            Some(held) => held.extend(notices),
            None => self.notifier.tell(notices),
        }
    }

    fn begin(
        config: &Config,
        local: &BTreeSet<IpAddr>,
        past: &Past,
        held: Option<Vec<Notice>>,
    ) -> Self {
        let global = Arc::new(config.global.clone());
        let (_, told) = unbounded_channel();
        let mut health = Self {
            state: State::default(),
            services: Vec::new(),
            configs: Vec::new(),
            checks: Checks::new(),
            files: HashMap::new(),
            told,
            notifier: Notifier::new(&global),
            held,
            global,
            groups: HashMap::new(),
            memory: HashMap::new(),
            memory_is_new: true,
        };
        health.watch_files(config, true);
        health.take(config, local, &past.of(config));
        health
    }

    /// Takes a new configuration: what stays keeps its state, and checks that stay keep their schedule too. The state has
    /// changed afterwards: see [`state`](Self::state).
    pub fn reload(&mut self, config: &Config, local: &BTreeSet<IpAddr>) {
        if *self.global != config.global {
            self.global = Arc::new(config.global.clone());
        }
        self.notifier.reload(&self.global);
        self.watch_files(config, false);
        self.take(config, local, &Known::default());
    }

    /// Waits until a service has other servers, or a server another weight, and tells that by `true`; or until there is
    /// something that only a restart should know. What has come together is one change. Nothing is lost if it is dropped
    /// before it ends.
    pub async fn changed(&mut self) -> bool {
        loop {
            let mut changed = tokio::select! {
                report = self.checks.next() => self.note(&report),
                Some(told) = self.told.recv() => self.note_file(&told),
            };
            while let Some(report) = self.checks.next_now() {
                changed |= self.note(&report);
            }
            while let Ok(told) = self.told.try_recv() {
                changed |= self.note_file(&told);
            }
            if changed.pools || changed.memory {
                return changed.pools;
            }
        }
    }

    /// How many servers are down, each once for each service.
    #[must_use]
    pub fn down(&self) -> usize {
        self.services.iter().map(|service| service.down().len()).sum()
    }

    /// The servers that services have now.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// What a restart should know, if that is not what it was when this was asked last.
    pub fn new_memory(&mut self) -> Option<Memory> {
        let named = |(id, memory): (&ServiceId, &Remembered)| Remembered {
            names: self.groups.get(id).cloned().unwrap_or_default(),
            ..memory.clone()
        };
        std::mem::take(&mut self.memory_is_new)
            .then(|| Memory { services: self.memory.iter().map(named).collect() })
    }

    /// This host has other addresses: checks of services with `ha_suspend` rest without theirs.
    pub fn set_addresses(&mut self, local: &BTreeSet<IpAddr>) {
        self.checks.set_addresses(local);
    }

    /// A server that was deleted by an edit is there again, the newest of its service as in IPVS. (The services of a group keep
    /// the order of their group.)
    pub fn came_again(&mut self, name: ServiceName, server: Endpoint) {
        let (target, family, protocol) = (name.target(), name.family(), name.protocol());
        let id = ServiceId::Single { target, family, protocol };
        let Some(at) = self.services.iter().position(|service| service.id == id) else { return };
        if let Some(service) = self.services.get_mut(at) {
            service.pool.move_to_end(server);
        }
        let _change = self.publish(at);
    }

    /// How many different checks are made.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.checks.len()
    }

    /// Ends the checks, tells with `omega` that all is down, and waits for whom it told, a second at most.
    pub async fn stop(self) {
        let Self { checks, global, mut services, notifier, held, .. } = self;
        drop(checks);
        let each = global.lvs_flush_on_stop.is_none();
        let mut notices = Vec::new();
        for service in &mut services {
            service.stop(each, &mut notices);
        }
        // Or else nobody knows that anything was up.
        if held.is_none() {
            notifier.tell(notices);
        }
        notifier.stop().await;
    }

    /// Makes all that a configuration asks for, of what is there and what is not.
    fn take(&mut self, config: &Config, local: &BTreeSet<IpAddr>, known: &Known<'_>) {
        self.groups.clear();
        let mut all = Vec::new();
        for (id, service) in ServiceId::of_all(config).into_iter().zip(&config.services) {
            // The services of a group are one.
            if let ServiceId::Group { .. } = &id {
                let names = self.groups.entry(id.clone()).or_default();
                names.push(ServiceName::new(service.target, service.protocol, service.family));
                if names.len() > 1 {
                    continue;
                }
            }
            all.push((id, service));
        }
        // With each service in its place, those that have not changed go on as they are.
        let in_place = self.checks.go_on(config, &self.global)
            && self.services.iter().map(|service| &service.id).eq(all.iter().map(|(id, _)| id));
        let before = self.services.drain(..).zip(self.configs.drain(..));
        let mut old: HashMap<ServiceId, (Service, VirtualServer)> =
            before.map(|(service, config)| (service.id.clone(), (service, config))).collect();
        let (mut notices, mut wanted, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for (id, service) in all {
            let was = old.remove(&id);
            self.configs.push(service.clone());
            let was = match was {
                Some((was, config))
                    if in_place && is_same(&config, service) && !has_files(service) =>
                {
                    self.services.push(was);
                    changed.push(false);
                    continue;
                }
                was => was.map(|(was, _)| was),
            };
            let recalled = known.service(&id, service, |checker| self.first_weight(checker));
            wanted.extend(wanted_by(self.services.len(), &id, service, recalled.as_ref()));
            let was = was.or(recalled);
            changed.push(true);
            let mut service = Service::new(id, service, |checker| self.first_weight(checker));
            let init = self.global.rs_init_notifies;
            let (down, before) = match &was {
                Some(was) => (was.down(), was.standing()),
                None => (Vec::new(), Standing::WELL),
            };
            match was {
                Some(was) => service.resume(was, init, &mut notices),
                None => service.start(init, &mut notices),
            }
            service.lines_of_reload(&down, before).into_iter().for_each(Line::log);
            self.services.push(service);
        }
        for (id, (service, _)) in old {
            service.vanish(&mut notices);
            self.state.pools.remove(&id);
            self.memory_is_new |= self.memory.remove(&id).is_some();
        }
        for (subscriber, status) in self.checks.take(wanted, &changed, config, &self.global) {
            self.judge(subscriber, status, None, &mut notices);
        }
        for (service, _) in (0..).zip(changed).filter(|(_, changed)| *changed) {
            self.publish(service);
        }
        self.tell(notices);
        self.checks.set_addresses(local);
    }

    /// What a checker adds before its first check.
    fn first_weight(&self, checker: &Checker) -> Option<i64> {
        match &checker.check {
            Check::File(file) => {
                added(file, self.files.get(&file.track_file).copied().unwrap_or(0))
            }
            _ => Some(0),
        }
    }

    fn watch_files(&mut self, config: &Config, starts: bool) {
        let read = |file: &TrackFile| (file.name.clone(), files::first(file, starts));
        self.files = config.track_files.iter().map(read).collect();
        let (teller, told) = unbounded_channel();
        self.told = told;
        // The one before ends with its listener.
        tokio::spawn(files::watch(config.track_files.clone(), teller));
    }

    /// Passes on what a check has found.
    fn note(&mut self, report: &Report) -> Change {
        let mut notices = Vec::new();
        let mut changed = Change::default();
        for subscriber in self.checks.subscribers(report) {
            self.judge(subscriber, report.status, report.reason.as_deref(), &mut notices);
            changed |= self.publish(subscriber.service);
        }
        self.tell(notices);
        changed
    }

    /// Passes on what a track file says.
    fn note_file(&mut self, told: &Told) -> Change {
        self.files.insert(told.name.clone(), told.value);
        let named = self.checks.files.iter().filter(|(_, file)| file.track_file == told.name);
        let additions: Vec<(Subscriber, Option<i64>)> =
            named.map(|(subscriber, file)| (*subscriber, added(file, told.value))).collect();
        let reason = format!("FILE_CHECK {}: the file says {}", told.name, told.value);
        let mut notices = Vec::new();
        let mut changed = Change::default();
        for (subscriber, added) in additions {
            self.apply(subscriber, added, Some(&reason), &mut notices);
            changed |= self.publish(subscriber.service);
        }
        self.tell(notices);
        changed
    }

    fn judge(
        &mut self,
        subscriber: Subscriber,
        status: Status,
        reason: Option<&str>,
        notices: &mut Vec<Notice>,
    ) {
        let Some(service) = self.services.get(subscriber.service) else { return };
        let Some(server) = service.servers.get(subscriber.server) else { return };
        // `misc_dynamic`: the weight and 2.
        let weight = match status.exit {
            0 => 0,
            code => i64::from(code) - 2 - server.configured(),
        };
        self.apply(subscriber, status.progress.up.then_some(weight), reason, notices);
    }

    /// Has a service take what a checker says, and logs what comes of it.
    fn apply(
        &mut self,
        subscriber: Subscriber,
        weight: Option<i64>,
        reason: Option<&str>,
        notices: &mut Vec<Notice>,
    ) {
        let Subscriber { service, server, checker } = subscriber;
        let Some(service) = self.services.get_mut(service) else { return };
        let lines = service.hear(server, checker, weight, reason, clock::now(), notices);
        lines.into_iter().for_each(Line::log);
    }

    /// Makes known what has become of a service.
    fn publish(&mut self, service: usize) -> Change {
        let mut change = Change::default();
        let Some(service) = self.services.get(service) else { return change };
        match self.state.pools.get_mut(&service.id) {
            Some(pool) if *pool == service.pool => {}
            Some(pool) => {
                pool.clone_from(&service.pool);
                change.pools = true;
            }
            None => {
                self.state.pools.insert(service.id.clone(), service.pool.clone());
                change.pools = true;
            }
        }
        let memory = service.remember();
        if self.memory.get(&service.id) != memory.as_ref() {
            match memory {
                Some(memory) => self.memory.insert(service.id.clone(), memory),
                None => self.memory.remove(&service.id),
            };
            change.memory = true;
            self.memory_is_new = true;
        }
        change
    }
}

/// Whether a service is as it was, perhaps in another line of the file.
fn is_same(was: &VirtualServer, is: &VirtualServer) -> bool {
    // Its servers are shared, so that this copies little.
    VirtualServer { line: is.line, ..was.clone() } == *is
}

/// Whether what track files say counts for a service.
fn has_files(service: &VirtualServer) -> bool {
    let mut checkers = service.real_servers.iter().flat_map(|server| &server.checkers);
    checkers.any(|checker| matches!(checker.check, Check::File(_)))
}

/// The checkers of a service, which has this place, and was like that before a restart.
fn wanted_by(
    place: usize,
    id: &ServiceId,
    config: &VirtualServer,
    recalled: Option<&Service>,
) -> Vec<Wanted> {
    let servers = recalled.map(|service| service.servers.as_slice()).unwrap_or_default();
    let servers: HashMap<Endpoint, &Server> =
        servers.iter().map(|server| (server.endpoint, server)).collect();
    let suspended_without = match config.target {
        Target::Address { address, .. } if config.ha_suspend && config.group.is_none() => {
            Some(address)
        }
        _ => None,
    };
    let service = Arc::new(id.clone());
    let mut wanted = Vec::new();
    for (server, real) in config.real_servers.iter().enumerate() {
        let was = servers.get(&Endpoint::of(real));
        for (checker, config) in real.checkers.iter().enumerate() {
            wanted.push(Wanted {
                subscriber: Subscriber { service: place, server, checker },
                checker: Arc::clone(config),
                label: Label { server: Endpoint::of(real), service: Arc::clone(&service) },
                suspended_without,
                recalled: was.and_then(|was| was.status(config)),
            });
        }
    }
    wanted
}
