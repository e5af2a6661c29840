//! Who is told of changes: readers of FIFOs, at once, and scripts. Those are started in the order of the changes, one when the
//! one before has started, and nobody waits for one to end. A program that does not start (its file is on a server that is
//! dead) holds up nobody but those who are to run it next.

use std::{collections::HashMap, fmt, future::pending, pin::pin, sync::Arc, time::Duration};

use tokio::{
    sync::{
        mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
        oneshot::error::TryRecvError,
        watch,
    },
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::warn;

use super::{
    fifo::{Fifo, Reader},
    script::{self, Running},
    service::Notice,
};
use crate::config::{Global, Script, ScriptUser};

/// What scripts have at the end, after the last was started, and who reads a FIFO once it is closed: keepalived's `TIMER_HZ` in `do_rs_notifies()`.
const LAST: Duration = Duration::from_secs(1);
/// No stop takes longer, however many programs there are to start.
const LONGEST_STOP: Duration = Duration::from_secs(10);
/// So long others wait for a program to start, to be started after it.
const PATIENCE: Duration = Duration::from_millis(200);
/// After so long it is told that a program does not start.
const LATE: Duration = Duration::from_secs(10);

/// What is passed on to the task.
#[derive(Debug)]
enum Message {
    Run(Job),
    Stop,
}

/// A program to run.
#[derive(Debug)]
struct Job {
    what: What,
    /// As whom, if it does not say so itself.
    global: Arc<Global>,
}

#[derive(Debug)]
enum What {
    /// It is told something.
    Tell(Arc<Script>, Notice),
    /// It reads a FIFO.
    Read(Reader),
}

/// Takes notices and passes them on. Dropped, it passes on what it has, and leaves scripts their time.
#[derive(Debug)]
pub(crate) struct Notifier {
    global: Arc<Global>,
    /// `notify_fifo` and `lvs_notify_fifo`.
    fifos: [Option<Fifo>; 2],
    jobs: UnboundedSender<Message>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Makes the FIFOs, and is ready.
    pub(crate) fn new(global: &Arc<Global>) -> Self {
        let (jobs, to_do) = unbounded_channel();
        let task = tokio::spawn(run_all(to_do));
        let mut notifier =
            Self { global: Arc::clone(global), fifos: Default::default(), jobs, task };
        notifier.reload(global);
        notifier
    }

    /// Goes on with `global_defs` that may be others. A FIFO that they say the same of stays open, and its reader goes on: no
    /// line is lost. Any other is closed. A reader that has ended is started again.
    pub(crate) fn reload(&mut self, global: &Arc<Global>) {
        let old = std::mem::replace(&mut self.global, Arc::clone(global));
        let same_user =
            old.script_user == global.script_user && old.script_security == global.script_security;
        let wanted = [&global.notify_fifo, &global.lvs_notify_fifo];
        for (fifo, wanted) in self.fifos.iter_mut().zip(wanted) {
            let stays = |fifo: &Fifo| {
                let has_reader = fifo.config().script.is_some();
                wanted.as_ref() == Some(fifo.config()) && (same_user || !has_reader)
            };
            if let Some(other) = fifo.take_if(|fifo| !stays(fifo)) {
                other.close();
            }
        }
        // Afterwards, for one may have been where another is to be.
        for (fifo, wanted) in self.fifos.iter_mut().zip(wanted) {
            if fifo.is_none() {
                *fifo = wanted.as_ref().and_then(Fifo::open);
            }
            if let Some(reader) = fifo.as_mut().and_then(Fifo::reader) {
                let job = Job { what: What::Read(reader), global: Arc::clone(global) };
                // The task ends with the sender only.
                drop(self.jobs.send(Message::Run(job)));
            }
        }
    }

    /// Has all of them told, soon and in this order.
    pub(crate) fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            let line = notice.fifo_line();
            for fifo in self.fifos.iter().flatten() {
                fifo.write(&line);
            }
            if let Some(script) = notice.script.clone() {
                let what = What::Tell(script, notice);
                let job = Job { what, global: Arc::clone(&self.global) };
                drop(self.jobs.send(Message::Run(job)));
            }
        }
    }

    /// Closes the FIFOs, has everybody told, and waits for the scripts and readers to end, a second at most. What still runs
    /// then is ended.
    pub(crate) async fn stop(self) {
        let Self { fifos, jobs, mut task, .. } = self;
        fifos.into_iter().flatten().for_each(Fifo::close);
        drop(jobs.send(Message::Stop));
        if timeout(LONGEST_STOP, &mut task).await.is_err() {
            task.abort();
        }
    }
}

/// Runs all programs, and waits for them when there are no more to come. Dropped, it ends those that run.
async fn run_all(mut messages: UnboundedReceiver<Message>) {
    let mut running = JoinSet::new();
    // The last start of each program, for as long as it goes on.
    let mut starting: HashMap<(String, Option<ScriptUser>), watch::Receiver<()>> = HashMap::new();
    let mut stops = false;
    while let Some(message) = messages.recv().await {
        let Message::Run(job) = message else {
            stops = true;
            break;
        };
        while running.try_join_next().is_some() {}
        starting.retain(|_, start| start.has_changed().is_ok());
        let nobody_hangs = starting.is_empty();
        let script = job.script();
        let program = (script.command.first().cloned().unwrap_or_default(), script.user.clone());
        let (teller, start) = watch::channel(());
        let before = starting.insert(program, start.clone());
        running.spawn(job.run(before, teller));
        // While one hangs, only those of the same program wait for each other.
        if nobody_hangs {
            drop(timeout(PATIENCE, over(start)).await);
        }
    }
    let all = async { while running.join_next().await.is_some() {} };
    if stops {
        // Those that still run are ended with the set.
        drop(timeout(LAST, all).await);
    } else {
        all.await;
    }
}

/// Waits until a start is over.
async fn over(mut start: watch::Receiver<()>) {
    // Nothing is ever sent, but the sender goes.
    while start.changed().await.is_ok() {}
}

impl Job {
    fn script(&self) -> &Script {
        match &self.what {
            What::Tell(script, _) => script,
            What::Read(reader) => &reader.script,
        }
    }

    /// Runs the program once the start of another is over, and waits for its end. `starting` is dropped when it has started.
    async fn run(self, before: Option<watch::Receiver<()>>, starting: watch::Sender<()>) {
        if let Some(before) = before {
            over(before).await;
        }
        let name = self.script().command.first().cloned().unwrap_or_default();
        let started = {
            let mut start = pin!(script::start(self.script(), &self.global, starting));
            if let Ok(started) = timeout(LATE, &mut start).await {
                started
            } else {
                warn!("{name} is to {} and does not start", self.what);
                start.await
            }
        };
        match started {
            Ok(running) => self.what.wait(running, &name).await,
            Err(error) => warn!("{name} was to {}: {error}", self.what),
        }
    }
}

impl What {
    /// Waits for the end of the program that was run for it.
    async fn wait(self, running: Running, name: &str) {
        match self {
            Self::Tell(_, notice) => match running.wait(pending()).await {
                Ok(Some(status)) if !status.success() => {
                    warn!("{name}, told that {notice}: {status}");
                }
                Ok(_) => {}
                Err(error) => warn!("{name}: {error}"),
            },
            Self::Read(Reader { path, mut closed, .. }) => {
                let end = async {
                    // It is never told anything, but the other end goes.
                    drop((&mut closed).await);
                    sleep(LAST).await;
                };
                let status = running.wait(end).await;
                if let (Ok(Some(status)), Err(TryRecvError::Empty)) = (status, closed.try_recv()) {
                    let path = path.display();
                    warn!(
                        "{name} does not read the FIFO {path} any more, until a reload starts it again: {status}"
                    );
                }
            }
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tell(_, notice) => write!(f, "be told that {notice}"),
            Self::Read(reader) => write!(f, "read the FIFO {}", reader.path.display()),
        }
    }
}
