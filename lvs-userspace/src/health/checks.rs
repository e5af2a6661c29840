//! The checks that run: each different one once, for all who want it.

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

use super::{
    probe::{Probe, Tls},
    progress::{Progress, Rule},
    runner::{Job, Report, Runner, Status},
};
use crate::config::{Check, Checker, Config, FileCheck, Global, SslFiles};

/// File descriptors that are not for checks.
const RESERVED_FILES: u64 = 256;
/// Checks at a time, at least and at most.
const CONCURRENT: std::ops::RangeInclusive<u64> = 16..=32_768;

/// All runners, and who listens to which. Dropped, they end.
#[derive(Debug)]
pub(super) struct Checks {
    runners: HashMap<u64, Shared>,
    next_id: u64,
    /// Who wants to know of track files.
    pub(super) files: Vec<(Subscriber, FileCheck)>,
    ssl: Option<SslFiles>,
    tls: Arc<Result<Tls, String>>,
    global: Arc<Global>,
    permits: Arc<Semaphore>,
    reports: UnboundedReceiver<Report>,
    reporter: UnboundedSender<Report>,
}

/// A runner, and who wants what it finds.
#[derive(Debug)]
struct Shared {
    runner: Runner,
    definition: Definition,
    subscribers: Vec<Subscriber>,
    /// For each of those the address without which it is suspended.
    needs: Vec<Option<IpAddr>>,
    /// It uses what the `SSL` block says.
    uses_tls: bool,
    /// It uses what `global_defs` say of scripts.
    uses_script: bool,
}

/// Which checker of which server of which service, by their places.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subscriber {
    pub(super) service: usize,
    pub(super) server: usize,
    pub(super) checker: usize,
}

/// A checker that is wanted.
#[derive(Debug)]
pub(super) struct Wanted {
    pub(super) subscriber: Subscriber,
    pub(super) checker: Checker,
    /// Whose check it is, for the log.
    pub(super) label: String,
    /// `ha_suspend`: the address that this host must have.
    pub(super) suspended_without: Option<IpAddr>,
    /// What is known from before a restart.
    pub(super) recalled: Option<Status>,
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

impl Checks {
    /// None yet.
    pub(super) fn new() -> Self {
        let (reporter, reports) = unbounded_channel();
        Self {
            runners: HashMap::new(),
            next_id: 0,
            files: Vec::new(),
            ssl: None,
            tls: Arc::new(Tls::new(None)),
            global: Arc::default(),
            permits: Arc::new(Semaphore::new(room_for_checks())),
            reports,
            reporter,
        }
    }

    /// Has each different check made once: by whom makes it already, or by a new runner. Gives what is known already.
    pub(super) fn take(
        &mut self,
        wanted: Vec<Wanted>,
        config: &Config,
        global: &Arc<Global>,
    ) -> Vec<(Subscriber, Status)> {
        let same_global = std::mem::replace(&mut self.global, Arc::clone(global)) == *global;
        let same_tls = self.ssl == config.ssl;
        if !same_tls {
            self.ssl.clone_from(&config.ssl);
            self.tls = Arc::new(Tls::new(config.ssl.as_ref()));
        }
        self.advise_on_tls(&wanted);
        let mut running: HashMap<Definition, u64> = HashMap::new();
        let mut known: HashMap<String, Status> = HashMap::new();
        for (id, shared) in &mut self.runners {
            shared.subscribers.clear();
            shared.needs.clear();
            if (same_tls || !shared.uses_tls) && (same_global || !shared.uses_script) {
                running.insert(shared.definition.clone(), *id);
            }
            known.insert(shared.definition.check.clone(), shared.runner.status());
        }
        self.files.clear();
        let mut found = Vec::new();
        for Wanted { subscriber, checker, label, suspended_without, recalled } in wanted {
            match &checker.check {
                Check::File(file) => {
                    self.files.push((subscriber, file.clone()));
                    continue;
                }
                Check::Bfd(name) => {
                    warn!("BFD_CHECK {name} of {label} is not acted on: BFD is keepalived's");
                    continue;
                }
                _ => {}
            }
            let definition = Definition::of(&checker);
            let id = running.get(&definition).copied().unwrap_or_else(|| {
                let status = known.get(&definition.check).copied().or(recalled);
                let id = self.run(&checker, label, &definition, status);
                running.insert(definition, id);
                id
            });
            if let Some(shared) = self.runners.get_mut(&id) {
                shared.subscribers.push(subscriber);
                shared.needs.push(suspended_without);
                let status = shared.runner.status();
                if status.progress.has_run {
                    found.push((subscriber, status));
                }
            }
        }
        self.runners.retain(|_, shared| !shared.subscribers.is_empty());
        found
    }

    fn run(
        &mut self,
        checker: &Checker,
        label: String,
        definition: &Definition,
        status: Option<Status>,
    ) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let rule = Rule::of(&checker.check);
        let schedule = checker.schedule.clone();
        let status = match status {
            None => Status { progress: Progress::new(rule, &schedule), exit: 0 },
            Some(Status { progress, exit }) => {
                Status { progress: progress.rescheduled(&schedule), exit }
            }
        };
        let probe = Probe::new(checker, Arc::clone(&self.global), Arc::clone(&self.tls));
        let is_script = matches!(checker.check, Check::Misc(_));
        let job = Job { id, label, probe, rule, schedule, is_script };
        let permits = Arc::clone(&self.permits);
        let runner = Runner::start(job, status, permits, self.reporter.clone());
        let shared = Shared {
            runner,
            definition: definition.clone(),
            subscribers: Vec::new(),
            needs: Vec::new(),
            uses_tls: uses_tls(checker),
            uses_script: is_script,
        };
        self.runners.insert(id, shared);
        id
    }

    /// Waits for a check that has something to tell. Nothing is lost if it is dropped.
    pub(super) async fn next(&mut self) -> Report {
        match self.reports.recv().await {
            Some(report) => report,
            // There is always a sender, this one.
            None => std::future::pending().await,
        }
    }

    /// What has been told and not taken yet.
    pub(super) fn next_now(&mut self) -> Option<Report> {
        self.reports.try_recv().ok()
    }

    /// Who wants to know of a report.
    pub(super) fn subscribers(&self, report: &Report) -> Vec<Subscriber> {
        let shared = self.runners.get(&report.runner);
        shared.map(|shared| shared.subscribers.clone()).unwrap_or_default()
    }

    /// Checks that only services want that are suspended rest.
    pub(super) fn set_addresses(&self, local: &BTreeSet<IpAddr>) {
        for shared in self.runners.values() {
            let has = |address: &Option<IpAddr>| address.is_none_or(|one| local.contains(&one));
            let wanted = shared.needs.iter().any(has);
            if shared.runner.enabled.swap(wanted, Ordering::Relaxed) != wanted {
                let what = if wanted { "runs again" } else { "rests" };
                info!("check of {} {what} (ha_suspend)", shared.runner.label);
            }
        }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.runners.len()
    }

    /// Says what is not as with keepalived, and what cannot be used.
    fn advise_on_tls(&self, wanted: &[Wanted]) {
        if !wanted.iter().any(|wanted| uses_tls(&wanted.checker)) {
            return;
        }
        if let Err(error) = &*self.tls {
            warn!("SSL_GET cannot be made: {error}");
        } else if let Some(ca) = self.ssl.as_ref().and_then(|ssl| ssl.ca.as_deref()) {
            info!(
                "SSL_GET verifies certificates by {}; keepalived would not, whatever ca says",
                ca.display()
            );
        }
    }
}

fn uses_tls(checker: &Checker) -> bool {
    matches!(&checker.check, Check::Http(http) if http.tls)
}

/// Raises the limit of open files as far as one may, and says how many checks can be made at a time.
fn room_for_checks() -> usize {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024));
    let files = if setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft };
    let room = files.saturating_sub(RESERVED_FILES).clamp(*CONCURRENT.start(), *CONCURRENT.end());
    usize::try_from(room).unwrap_or(Semaphore::MAX_PERMITS)
}
