//! One check that is made again and again: a task that sleeps, asks, and tells what has changed.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
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
    probe::{Outcome, Probe},
    progress::{Progress, Rule},
};

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

/// A task that makes a check. Dropped, it ends, and so does a script that it runs.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) state: Arc<State>,
    /// Whose check it is, for the log.
    pub(crate) label: Arc<str>,
    task: JoinHandle<()>,
}

/// What a task and others know of a check.
#[derive(Debug)]
pub(crate) struct State {
    status: Mutex<Status>,
    /// Whether checks are made: not while all services that want them are suspended.
    pub(crate) enabled: AtomicBool,
}

impl State {
    fn status(&self) -> Status {
        *self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a runner is to do.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) id: u64,
    /// Whose check it is, for the log.
    pub(crate) label: Arc<str>,
    pub(crate) probe: Probe,
    pub(crate) rule: Rule,
    /// Counts from its start to the next one, not from its end.
    pub(crate) is_script: bool,
}

impl Runner {
    /// Starts a task that tells what changes.
    pub(crate) fn start(
        job: Job,
        status: Status,
        permits: Arc<Semaphore>,
        teller: UnboundedSender<Report>,
    ) -> Self {
        let label = Arc::clone(&job.label);
        let state = State { status: Mutex::new(status), enabled: AtomicBool::new(true) };
        let state = Arc::new(state);
        // In a box: what a task is given would take its room in there twice.
        let task = tokio::spawn(keep(Box::new(job), Arc::clone(&state), permits, teller));
        Self { state, label, task }
    }

    /// What is known now.
    pub(crate) fn status(&self) -> Status {
        self.state.status()
    }
}

impl Drop for Runner {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Never ends but by being aborted, or when nobody listens.
async fn keep(
    job: Box<Job>,
    state: Arc<State>,
    permits: Arc<Semaphore>,
    teller: UnboundedSender<Report>,
) {
    let Job { id, label, probe, rule, is_script } = &*job;
    let schedule = probe.schedule();
    let mut status = state.status();
    let mut delay = schedule.warmup.mul_f64(fastrand::f64());
    // What was warned of last: the same is not told again and again.
    let mut warned = None;
    loop {
        sleep(delay).await;
        if !state.enabled.load(Ordering::Relaxed) {
            delay = schedule.delay_loop;
            continue;
        }
        let Ok(permit) = permits.acquire().await else { return };
        let started = Instant::now();
        // In a box of its own: thousands of tasks sleep, and few of them have a check under way.
        let outcome = Box::pin(probe.run(status.progress.page())).await;
        drop(permit);
        let (well, exit, reason) = match outcome {
            Outcome::Well(code) => (true, code, None),
            Outcome::Failed(reason) => (false, 0, Some(reason)),
            Outcome::Unable(reason) => {
                if warned.as_ref() != Some(&reason) {
                    warn!("check of {label} cannot be made, its state stays: {reason}");
                    warned = Some(reason);
                }
                delay = schedule.delay_loop;
                continue;
            }
        };
        warned = None;
        if let Some(reason) = &reason {
            if schedule.log_all_failures && status.progress.up {
                info!("check of {label} failed: {reason}");
            } else {
                debug!("check of {label} failed: {reason}");
            }
        }
        let step = status.progress.note(*rule, schedule, well);
        let news = step.verdict.is_some() || (well && exit != status.exit && status.progress.up);
        if well {
            status.exit = exit;
        }
        *state.status.lock().unwrap_or_else(PoisonError::into_inner) = status;
        if news && teller.send(Report { runner: *id, status, reason }).is_err() {
            return;
        }
        let spent = if *is_script { started.elapsed() } else { Duration::ZERO };
        delay = step.delay.saturating_sub(spent);
    }
}
