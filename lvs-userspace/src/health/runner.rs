//! One check that is made again and again: a task that sleeps, asks, and tells what has changed.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Semaphore, mpsc::UnboundedSender},
    task::JoinHandle,
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};

use super::{
    identity::{Endpoint, ServiceId},
    probe::{Outcome, Probe},
    progress::{Progress, Rule},
};
use crate::config::{Check, Checker};

/// What a check has to tell.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) runner: u64,
    pub(crate) status: Status,
    /// Why it is not up.
    pub(crate) reason: Option<String>,
}

/// What is known of a check.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Status {
    pub(crate) progress: Progress,
    /// The exit code of a script that was well, else 0.
    pub(crate) exit: u8,
}

/// Whose check it is, for the log: made into text only there.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) server: Endpoint,
    pub(crate) service: Arc<ServiceId>,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", self.server, self.service)
    }
}

/// What all tasks share.
#[derive(Debug)]
pub(crate) struct Common {
    /// So many checks are made at a time.
    pub(crate) permits: Semaphore,
    pub(crate) teller: UnboundedSender<Report>,
}

/// A task that makes a check. Dropped, it ends, and so does a script that it runs. There can be 100,000, so that all that is
/// known of a check lies in one place, and the task itself is small.
#[derive(Debug)]
pub(crate) struct Runner {
    job: Arc<Job>,
    task: JoinHandle<()>,
}

/// What a runner is to do, and what it and others know of the check.
#[derive(Debug)]
pub(crate) struct Job {
    id: u64,
    label: Label,
    probe: Probe,
    common: Arc<Common>,
    state: Mutex<State>,
    /// Whether checks are made: not while all services that want them are suspended.
    enabled: AtomicBool,
}

#[derive(Debug)]
struct State {
    status: Status,
    /// What was warned of last: the same is not told again and again.
    warned: Option<Box<str>>,
    /// Why it is down, as it was told last.
    told: Option<Box<str>>,
}

impl Runner {
    /// Starts a task that tells what changes.
    pub(crate) fn start(job: Job) -> Self {
        let job = Arc::new(job);
        let task = tokio::spawn(keep(Arc::clone(&job)));
        Self { job, task }
    }

    /// What is known now.
    pub(crate) fn status(&self) -> Status {
        self.job.state().status
    }

    /// What it checks.
    pub(crate) fn checker(&self) -> &Arc<Checker> {
        self.job.probe.checker()
    }

    /// Whose check it is.
    pub(crate) fn label(&self) -> &Label {
        &self.job.label
    }

    /// Has checks be made or not, and tells whether they were made before.
    pub(crate) fn enable(&self, enabled: bool) -> bool {
        self.job.enabled.swap(enabled, Ordering::Relaxed)
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Never ends but by being aborted, or when nobody listens.
async fn keep(job: Arc<Job>) {
    let mut delay = job.probe.checker().schedule.warmup.mul_f64(fastrand::f64());
    loop {
        sleep(delay).await;
        // In a box of its own: thousands of tasks sleep, and few of them have a check under way.
        match Box::pin(job.check()).await {
            Some(next) => delay = next,
            None => return,
        }
    }
}

impl Job {
    pub(crate) const fn new(
        id: u64,
        label: Label,
        probe: Probe,
        status: Status,
        common: Arc<Common>,
    ) -> Self {
        let state = Mutex::new(State { status, warned: None, told: None });
        Self { id, label, probe, common, state, enabled: AtomicBool::new(true) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the check once, tells what has changed, and gives the time until the next one; nothing if nobody listens.
    async fn check(&self) -> Option<Duration> {
        let Self { id, label, probe, common, .. } = self;
        let Checker { check, schedule, .. } = &**probe.checker();
        if !self.enabled.load(Ordering::Relaxed) {
            return Some(schedule.delay_loop);
        }
        let permit = common.permits.acquire().await.ok()?;
        let started = Instant::now();
        let Status { mut progress, exit: last_exit } = self.state().status;
        let outcome = probe.run(progress.page()).await;
        drop(permit);
        let (well, exit, reason) = match outcome {
            Outcome::Well(code) => (true, code, None),
            Outcome::Failed(reason) => (false, 0, Some(reason)),
            Outcome::Unable(reason) => {
                let mut state = self.state();
                if state.warned.as_deref() != Some(&reason) {
                    warn!("check of {label} cannot be made, its state stays: {reason}");
                    state.warned = Some(reason.into());
                }
                return Some(schedule.delay_loop);
            }
        };
        if let Some(reason) = &reason {
            if schedule.log_all_failures && progress.up {
                info!("check of {label} failed: {reason}");
            } else {
                debug!("check of {label} failed: {reason}");
            }
        }
        let step = progress.note(Rule::of(check), schedule, well);
        let status = Status { progress, exit: if well { exit } else { last_exit } };
        let news = {
            let mut state = self.state();
            // What is down may be so for another reason by now.
            let down = !progress.up && progress.has_run;
            let other = down && reason.is_some() && reason.as_deref() != state.told.as_deref();
            let told = if down { reason.as_deref().map(Box::from) } else { None };
            *state = State { status, warned: None, told };
            step.verdict.is_some() || other || (well && exit != last_exit && progress.up)
        };
        if news && common.teller.send(Report { runner: *id, status, reason }).is_err() {
            return None;
        }
        // A script's time counts from its start to the next one, not from its end.
        let spent =
            if matches!(check, Check::Misc(_)) { started.elapsed() } else { Duration::ZERO };
        Some(step.delay.saturating_sub(spent))
    }
}
