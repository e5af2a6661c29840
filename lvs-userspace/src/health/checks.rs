//! The checks that run: each different one once, for all who want it.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::{
    Semaphore,
    mpsc::{UnboundedReceiver, unbounded_channel},
};
use tracing::{info, warn};

use super::{
    probe::{Probe, Tls},
    progress::{Progress, Rule},
    runner::{Common, Job, Label, Report, Runner, Status},
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
    /// Which runner makes which check.
    index: HashMap<Arc<Checker>, u64>,
    next_id: u64,
    /// Who wants to know of track files.
    pub(super) files: Vec<(Subscriber, FileCheck)>,
    ssl: Option<SslFiles>,
    tls: Arc<Result<Tls, String>>,
    global: Arc<Global>,
    common: Arc<Common>,
    reports: UnboundedReceiver<Report>,
}

/// A runner, and who wants what it finds.
#[derive(Debug)]
struct Shared {
    runner: Runner,
    subscribers: Vec<Subscription>,
}

#[derive(Debug)]
struct Subscription {
    subscriber: Subscriber,
    /// `ha_suspend`: the address that this host must have.
    suspended_without: Option<IpAddr>,
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
    pub(super) checker: Arc<Checker>,
    pub(super) label: Label,
    /// `ha_suspend`: the address that this host must have.
    pub(super) suspended_without: Option<IpAddr>,
    /// What is known from before a restart.
    pub(super) recalled: Option<Status>,
}

impl Checks {
    /// None yet.
    pub(super) fn new() -> Self {
        let (teller, reports) = unbounded_channel();
        let permits = Semaphore::new(room_for_checks());
        Self {
            runners: HashMap::new(),
            index: HashMap::new(),
            next_id: 0,
            files: Vec::new(),
            ssl: None,
            tls: Arc::new(Tls::new(None)),
            global: Arc::default(),
            common: Arc::new(Common { permits, teller }),
            reports,
        }
    }

    /// Whether checks that stay as they are go on under a configuration.
    pub(super) fn go_on(&self, config: &Config, global: &Arc<Global>) -> bool {
        self.global == *global && self.ssl == config.ssl
    }

    /// Has each different check made once: by whom makes it already, or by a new runner. Gives what is known already. The
    /// services in places that are not `changed` want what they wanted, and are not among `wanted`.
    pub(super) fn take(
        &mut self,
        wanted: Vec<Wanted>,
        changed: &[bool],
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
        let stays = |subscriber: &Subscriber| {
            changed.get(subscriber.service).is_some_and(|changed| !changed)
        };
        let mut known: HashMap<Check, Status> = HashMap::new();
        for shared in self.runners.values_mut() {
            let checker = shared.runner.checker();
            let other_tls = !same_tls && uses_tls(checker);
            if other_tls || (!same_global && matches!(checker.check, Check::Misc(_))) {
                self.index.remove(checker);
            }
            let before = shared.subscribers.len();
            shared.subscribers.retain(|subscription| stays(&subscription.subscriber));
            if shared.subscribers.len() < before {
                known.insert(checker.check.clone(), shared.runner.status());
            }
        }
        self.files.retain(|(subscriber, _)| stays(subscriber));
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
            let id = self.index.get(&checker).copied().unwrap_or_else(|| {
                let status = known.get(&checker.check).copied().or(recalled);
                let id = self.run(&checker, label, status);
                self.index.insert(checker, id);
                id
            });
            if let Some(shared) = self.runners.get_mut(&id) {
                shared.subscribers.push(Subscription { subscriber, suspended_without });
                let status = shared.runner.status();
                if status.progress.has_run {
                    found.push((subscriber, status));
                }
            }
        }
        let index = &mut self.index;
        self.runners.retain(|id, shared| {
            let wanted = !shared.subscribers.is_empty();
            let checker = shared.runner.checker();
            if !wanted && index.get(checker) == Some(id) {
                index.remove(checker);
            }
            wanted
        });
        found
    }

    fn run(&mut self, checker: &Arc<Checker>, label: Label, status: Option<Status>) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let status = match status {
            None => {
                let progress = Progress::new(Rule::of(&checker.check), &checker.schedule);
                Status { progress, exit: 0 }
            }
            Some(Status { progress, exit }) => {
                Status { progress: progress.rescheduled(&checker.schedule), exit }
            }
        };
        let probe =
            Probe::new(Arc::clone(checker), Arc::clone(&self.global), Arc::clone(&self.tls));
        let runner = Runner::start(Job::new(id, label, probe, status, Arc::clone(&self.common)));
        // Nearly always one.
        let subscribers = Vec::with_capacity(1);
        self.runners.insert(id, Shared { runner, subscribers });
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
        let subscribers = shared.map(|shared| shared.subscribers.as_slice()).unwrap_or_default();
        subscribers.iter().map(|subscription| subscription.subscriber).collect()
    }

    /// Checks that only services want that are suspended rest.
    pub(super) fn set_addresses(&self, local: &BTreeSet<IpAddr>) {
        for shared in self.runners.values() {
            let has = |subscription: &Subscription| {
                subscription.suspended_without.is_none_or(|address| local.contains(&address))
            };
            let wanted = shared.subscribers.iter().any(has);
            if shared.runner.enable(wanted) != wanted {
                let what = if wanted { "runs again" } else { "rests" };
                info!("check of {} {what} (ha_suspend)", shared.runner.label());
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
