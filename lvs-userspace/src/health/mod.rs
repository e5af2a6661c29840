//! Health checks: which servers are up, and what that makes of a configuration.
//!
//! - `probe/` makes one check, `progress.rs` says when a failure counts and when the next check is due, `runner.rs` is the
//!   task that does both again and again. The same check of the same server runs once, whoever wants it.
//! - `service/` takes what checks tell and decides by keepalived's rules who serves, and who is told. It does no I/O.
//! - `notify.rs` tells them, `script.rs` runs programs, `files.rs` watches track files.
//! - `effective.rs` makes the configuration that the data path should have.
//!
//! All tasks are of the runtime that [`Health::start`] is called in; nothing in them blocks.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, atomic::Ordering},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tracing::{info, warn};

use crate::config::{Check, Checker, Config, Global, SslFiles, Target, VirtualServer};

mod effective;
mod files;
mod identity;
mod notify;
mod probe;
mod progress;
mod runner;
mod script;
mod service;
#[cfg(test)]
mod tests;

pub use self::{
    effective::{Member, Pool, State, apply},
    identity::{Endpoint, ServiceId},
};
use self::{
    files::{Told, added},
    notify::Notifier,
    probe::{Probe, Tls},
    progress::{Progress, Rule},
    runner::{Job, Report, Runner, Status},
    service::{Notice, Service},
};

/// File descriptors that are not for checks.
const RESERVED_FILES: u64 = 256;
/// Checks at a time, at least and at most.
const CONCURRENT: std::ops::RangeInclusive<u64> = 16..=32_768;

/// All health checks of a configuration. Dropped, they end.
#[derive(Debug)]
pub struct Health {
    state: State,
    services: Vec<Watched>,
    /// Which runner makes which check.
    runners: HashMap<u64, Shared>,
    next_id: u64,
    files: HashMap<String, i64>,
    global: Arc<Global>,
    ssl: Option<SslFiles>,
    tls: Arc<Result<Tls, String>>,
    notifier: Notifier,
    permits: Arc<Semaphore>,
    reports: UnboundedReceiver<Report>,
    reporter: UnboundedSender<Report>,
    told: UnboundedReceiver<Told>,
}

/// A service and where it comes from.
#[derive(Debug)]
struct Watched {
    service: Service,
    /// The checkers of each server, as the file has them.
    checkers: Vec<Vec<Checker>>,
    /// `ha_suspend`: the address that this host must have.
    suspended_without: Option<IpAddr>,
}

/// A runner, and who wants what it finds.
#[derive(Debug)]
struct Shared {
    runner: Runner,
    /// The check and its schedule.
    definition: Definition,
    subscribers: Vec<Subscriber>,
}

/// Which checker of which server of which service, by their places.
#[derive(Debug, Clone, Copy)]
struct Subscriber {
    service: usize,
    server: usize,
    checker: usize,
}

/// What makes two checks the same. The model has no hashes; its debug form tells any two apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Definition {
    check: String,
    schedule: String,
}

impl Definition {
    fn of(checker: &Checker) -> Self {
        Self { check: format!("{:?}", checker.check), schedule: format!("{:?}", checker.schedule) }
    }
}

impl Health {
    /// Starts the checks of a configuration. `local` is this host's addresses, for `ha_suspend`. Must be called in a
    /// runtime. Who cannot be told, and which checks cannot be made, is logged.
    #[must_use]
    pub fn start(config: &Config, local: &BTreeSet<IpAddr>) -> Self {
        let (reporter, reports) = unbounded_channel();
        let global = Arc::new(config.global.clone());
        let tls = Arc::new(Tls::new(config.ssl.as_ref()));
        advise_on_tls(config, &tls);
        let (_, told) = unbounded_channel();
        let mut health = Self {
            state: State::default(),
            services: Vec::new(),
            runners: HashMap::new(),
            next_id: 0,
            files: HashMap::new(),
            notifier: Notifier::new(Arc::clone(&global)),
            global,
            ssl: config.ssl.clone(),
            tls,
            permits: Arc::new(Semaphore::new(room_for_checks())),
            reports,
            reporter,
            told,
        };
        health.take(config, local);
        health
    }

    /// Takes a new configuration: what stays keeps its state, and checks that stay keep their schedule too. The state has
    /// changed afterwards: see [`state`](Self::state).
    pub fn reload(&mut self, config: &Config, local: &BTreeSet<IpAddr>) {
        if *self.global != config.global {
            self.global = Arc::new(config.global.clone());
            // The old one tells what it has, and its scripts go on.
            self.notifier = Notifier::new(Arc::clone(&self.global));
        }
        self.take(config, local);
    }

    /// Waits until a service has other servers, or a server another weight; what has come together is one change. Nothing is
    /// lost if it is dropped before it ends.
    pub async fn changed(&mut self) {
        loop {
            let mut changed = tokio::select! {
                Some(report) = self.reports.recv() => self.note(&report),
                Some(told) = self.told.recv() => self.note_file(&told),
                else => return std::future::pending().await,
            };
            while let Ok(report) = self.reports.try_recv() {
                changed |= self.note(&report);
            }
            while let Ok(told) = self.told.try_recv() {
                changed |= self.note_file(&told);
            }
            if changed {
                return;
            }
        }
    }

    /// The servers that services have now.
    #[must_use]
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// This host has other addresses: checks of services with `ha_suspend` rest without theirs.
    pub fn set_addresses(&mut self, local: &BTreeSet<IpAddr>) {
        for shared in self.runners.values() {
            let wanted = shared.subscribers.iter().any(|subscriber| {
                let service = self.services.get(subscriber.service);
                let needed = service.and_then(|service| service.suspended_without);
                needed.is_none_or(|address| local.contains(&address))
            });
            if shared.runner.enabled.swap(wanted, Ordering::Relaxed) != wanted {
                let what = if wanted { "run again" } else { "rest" };
                info!("{} {what} (ha_suspend)", shared.definition.check);
            }
        }
    }

    /// Ends the checks, tells with `omega` that all is down, and waits for whom it told, a second at most.
    pub async fn stop(mut self) {
        self.runners.clear();
        let each = self.global.lvs_flush_on_stop.is_none();
        let mut notices = Vec::new();
        for watched in &mut self.services {
            watched.service.stop(each, &mut notices);
        }
        self.notifier.tell(notices);
        self.notifier.stop().await;
    }

    /// How many different checks are made.
    #[must_use]
    pub fn checks(&self) -> usize {
        self.runners.len()
    }

    /// Makes all that a configuration asks for, of what is there and what is not.
    fn take(&mut self, config: &Config, local: &BTreeSet<IpAddr>) {
        let same_tls = self.ssl == config.ssl;
        if !same_tls {
            self.ssl.clone_from(&config.ssl);
            self.tls = Arc::new(Tls::new(config.ssl.as_ref()));
            advise_on_tls(config, &self.tls);
        }
        self.watch_files(config);
        let mut old: HashMap<ServiceId, Watched> =
            self.services.drain(..).map(|watched| (watched.service.id.clone(), watched)).collect();
        let mut notices = Vec::new();
        let mut seen = BTreeSet::new();
        for (id, service) in ServiceId::of_all(config).into_iter().zip(&config.services) {
            // The services of a group are one.
            if let ServiceId::Group { name, nth } = &id
                && !seen.insert((name.clone(), *nth))
            {
                continue;
            }
            let mut watched = self.watched(id, service);
            let init = self.global.rs_init_notifies;
            match old.remove(&watched.service.id) {
                Some(was) => watched.service.resume(was.service, init, &mut notices),
                None => watched.service.start(init, &mut notices),
            }
            self.services.push(watched);
        }
        for (id, watched) in old {
            watched.service.vanish(&mut notices);
            self.state.pools.remove(&id);
        }
        self.run_checks(same_tls, &mut notices);
        for watched in &self.services {
            let Service { id, pool, .. } = &watched.service;
            self.state.pools.insert(id.clone(), pool.clone());
        }
        self.notifier.tell(notices);
        self.set_addresses(local);
    }

    fn watched(&self, id: ServiceId, config: &VirtualServer) -> Watched {
        let weight = |checker: &Checker| match &checker.check {
            Check::File(file) => {
                added(file, self.files.get(&file.track_file).copied().unwrap_or(0))
            }
            _ => Some(0),
        };
        let suspended_without = match config.target {
            Target::Address { address, .. } if config.ha_suspend => Some(address),
            _ => None,
        };
        Watched {
            service: Service::new(id, config, weight),
            checkers: config.real_servers.iter().map(|server| server.checkers.clone()).collect(),
            suspended_without,
        }
    }

    fn watch_files(&mut self, config: &Config) {
        self.files =
            config.track_files.iter().map(|file| (file.name.clone(), files::first(file))).collect();
        let (teller, told) = unbounded_channel();
        self.told = told;
        // The one before ends with its listener.
        tokio::spawn(files::watch(config.track_files.clone(), teller));
    }

    /// Has each different check made once: by whom makes it already, or by a new runner.
    fn run_checks(&mut self, same_tls: bool, notices: &mut Vec<Notice>) {
        let mut old: HashMap<Definition, u64> = HashMap::new();
        let mut known: HashMap<String, Status> = HashMap::new();
        for (id, shared) in &mut self.runners {
            shared.subscribers.clear();
            old.insert(shared.definition.clone(), *id);
            known.insert(shared.definition.check.clone(), shared.runner.status());
        }
        for service in 0..self.services.len() {
            for (server, checkers) in self.checkers_of(service).into_iter().enumerate() {
                for (checker, config) in checkers.iter().enumerate() {
                    if matches!(config.check, Check::File(_) | Check::Bfd(_)) {
                        self.advise_on_bfd(service, server, &config.check);
                        continue;
                    }
                    let definition = Definition::of(config);
                    let tls = matches!(&config.check, Check::Http(http) if http.tls);
                    let running = old.get(&definition).copied();
                    let running = running.filter(|_| !tls || same_tls);
                    let id = running.unwrap_or_else(|| {
                        let status = known.get(&definition.check).copied();
                        let id = self.run(service, server, config, &definition, status);
                        old.insert(definition, id);
                        id
                    });
                    let subscriber = Subscriber { service, server, checker };
                    self.subscribe(id, subscriber, notices);
                }
            }
        }
        self.runners.retain(|_, shared| !shared.subscribers.is_empty());
    }

    fn checkers_of(&self, service: usize) -> Vec<Vec<Checker>> {
        self.services.get(service).map(|watched| watched.checkers.clone()).unwrap_or_default()
    }

    fn advise_on_bfd(&self, service: usize, server: usize, check: &Check) {
        if let (Check::Bfd(name), Some(watched)) = (check, self.services.get(service)) {
            let id = &watched.service.id;
            let server = watched.service.servers.get(server).map(|server| server.endpoint);
            let server = server.map_or_else(String::new, |server| server.to_string());
            warn!("BFD_CHECK {name} of {server} for {id} is not acted on: BFD is keepalived's");
        }
    }

    fn run(
        &mut self,
        service: usize,
        server: usize,
        config: &Checker,
        definition: &Definition,
        status: Option<Status>,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let rule = Rule::of(&config.check);
        let label = self.services.get(service).map_or_else(String::new, |watched| {
            let name = &watched.service.id;
            let server = watched.service.servers.get(server).map(|server| server.endpoint);
            server.map_or_else(String::new, |server| format!("{server} for {name}"))
        });
        let status = status.map_or_else(
            || Status { progress: Progress::new(rule, &config.schedule), exit: 0 },
            |status| Status {
                progress: status.progress.rescheduled(&config.schedule),
                exit: status.exit,
            },
        );
        let job = Job {
            id,
            label,
            probe: Probe::new(config, Arc::clone(&self.global), Arc::clone(&self.tls)),
            rule,
            schedule: config.schedule.clone(),
            is_script: Job::from_start(&config.check),
        };
        let runner = Runner::start(job, status, Arc::clone(&self.permits), self.reporter.clone());
        let definition = definition.clone();
        self.runners.insert(id, Shared { runner, definition, subscribers: Vec::new() });
        id
    }

    /// A checker gets what its runner finds, and what it has found already.
    fn subscribe(&mut self, id: u64, subscriber: Subscriber, notices: &mut Vec<Notice>) {
        let Some(shared) = self.runners.get_mut(&id) else { return };
        shared.subscribers.push(subscriber);
        let status = shared.runner.status();
        if status.progress.has_run {
            self.judge(subscriber, status, None, notices);
        }
    }

    /// Passes on what a check has found; true if that changes a pool.
    fn note(&mut self, report: &Report) -> bool {
        let Some(shared) = self.runners.get(&report.runner) else { return false };
        let subscribers = shared.subscribers.clone();
        let mut notices = Vec::new();
        let mut changed = false;
        for subscriber in subscribers {
            self.judge(subscriber, report.status, report.reason.as_deref(), &mut notices);
            changed |= self.publish(subscriber.service);
        }
        self.notifier.tell(notices);
        changed
    }

    /// Passes on what a track file says.
    fn note_file(&mut self, told: &Told) -> bool {
        self.files.insert(told.name.clone(), told.value);
        let mut notices = Vec::new();
        let mut changed = false;
        for service in 0..self.services.len() {
            for (server, checkers) in self.checkers_of(service).into_iter().enumerate() {
                for (checker, config) in checkers.iter().enumerate() {
                    let Check::File(file) = &config.check else { continue };
                    if file.track_file == told.name {
                        let added = added(file, told.value);
                        let reason = added.is_none().then(|| {
                            format!("FILE_CHECK {}: the file says {}", told.name, told.value)
                        });
                        let subscriber = Subscriber { service, server, checker };
                        self.apply(subscriber, added, reason.as_deref(), &mut notices);
                    }
                }
            }
            changed |= self.publish(service);
        }
        self.notifier.tell(notices);
        changed
    }

    fn judge(
        &mut self,
        subscriber: Subscriber,
        status: Status,
        reason: Option<&str>,
        notices: &mut Vec<Notice>,
    ) {
        let Some(watched) = self.services.get(subscriber.service) else { return };
        let Some(server) = watched.service.servers.get(subscriber.server) else { return };
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
        let Some(Watched { service, .. }) = self.services.get_mut(service) else { return };
        let Some(was) = service.servers.get(server) else { return };
        let (was_alive, old_weight, had_quorum) = (was.alive, was.weight(), service.has_quorum);
        service.judge(server, checker, weight.is_some(), weight.unwrap_or(0), notices);
        let Some(is) = service.servers.get(server) else { return };
        let (who, name, weight) = (is.endpoint, &service.id, is.weight());
        match (was_alive, is.alive) {
            (true, false) => {
                warn!("check of {who} for {name}: {}", reason.unwrap_or("it is down"));
            }
            (false, true) => info!("check of {who} for {name}: back with weight {weight}"),
            (true, true) if weight != old_weight => {
                info!("check of {who} for {name}: weight {weight} instead of {old_weight}");
            }
            _ => {}
        }
        match (had_quorum, service.has_quorum) {
            (true, false) => warn!("{name} has lost its quorum"),
            (false, true) => info!("{name} has its quorum"),
            _ => {}
        }
    }

    /// Makes a service's pool known; true if it has changed.
    fn publish(&mut self, service: usize) -> bool {
        let Some(Watched { service, .. }) = self.services.get(service) else { return false };
        match self.state.pools.get_mut(&service.id) {
            Some(pool) if *pool == service.pool => false,
            Some(pool) => {
                pool.clone_from(&service.pool);
                true
            }
            None => {
                self.state.pools.insert(service.id.clone(), service.pool.clone());
                true
            }
        }
    }
}

/// Says what is not as with keepalived, and what cannot be used.
fn advise_on_tls(config: &Config, tls: &Result<Tls, String>) {
    let checkers = config.services.iter().flat_map(|service| &service.real_servers);
    let mut checks = checkers.flat_map(|server| &server.checkers);
    if !checks.any(|checker| matches!(&checker.check, Check::Http(http) if http.tls)) {
        return;
    }
    if let Err(error) = tls {
        warn!("SSL_GET cannot be made: {error}");
    } else if let Some(ca) = config.ssl.as_ref().and_then(|ssl| ssl.ca.as_deref()) {
        info!(
            "SSL_GET verifies certificates by {}; keepalived would not, whatever ca says",
            ca.display()
        );
    }
}

/// Raises the limit of open files as far as one may, and says how many checks can be made at a time.
fn room_for_checks() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let files = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let room = files.saturating_sub(RESERVED_FILES).clamp(*CONCURRENT.start(), *CONCURRENT.end());
    usize::try_from(room).unwrap_or(Semaphore::MAX_PERMITS)
}
