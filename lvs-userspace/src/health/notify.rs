//! Who is told of changes: scripts, and readers of FIFOs. One after the other in the order of the changes; nobody waits for
//! a script to end.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    sync::Arc,
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{Group, User, chown, mkfifo},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tracing::{info, warn};

use super::{script, service::Notice};
use crate::config::{Global, NotifyFifo, Script, ScriptUser};

/// What scripts have at the end: keepalived's `TIMER_HZ` in `do_rs_notifies()`.
const LAST: Duration = Duration::from_secs(1);
/// No time limit to speak of.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// What is passed on to the task.
#[derive(Debug)]
enum Message {
    Tell(Notice),
    Stop,
}

/// Takes notices and passes them on. Dropped, it passes on what it has, and leaves scripts their time.
#[derive(Debug)]
pub(crate) struct Notifier {
    sender: UnboundedSender<Message>,
    task: JoinHandle<()>,
}

impl Notifier {
    /// Makes the FIFOs, and is ready.
    pub(crate) fn new(global: Arc<Global>) -> Self {
        let (sender, receiver) = unbounded_channel();
        let fifos = [&global.notify_fifo, &global.lvs_notify_fifo];
        let fifos = fifos.into_iter().flatten().filter_map(Fifo::open).collect();
        Self { sender, task: tokio::spawn(pass_on(receiver, fifos, global)) }
    }

    /// Has all of them told, soon and in this order.
    pub(crate) fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            // The task ends with the sender only.
            drop(self.sender.send(Message::Tell(notice)));
        }
    }

    /// Waits until everybody was told, and for the scripts to end, a second at most.
    pub(crate) async fn stop(self) {
        let Self { sender, task } = self;
        drop(sender.send(Message::Stop));
        drop(task.await);
    }
}

async fn pass_on(mut messages: UnboundedReceiver<Message>, fifos: Vec<Fifo>, global: Arc<Global>) {
    let mut running = JoinSet::new();
    for fifo in &fifos {
        if let Some(script) = &fifo.script {
            run(script, "the reader of a FIFO", &global, &mut running).await;
        }
    }
    let mut last = FOREVER;
    while let Some(message) = messages.recv().await {
        let Message::Tell(notice) = message else {
            last = LAST;
            break;
        };
        if let Some(script) = &notice.script {
            let who = notice.server.map_or_else(
                || format!("the quorum of {}", notice.service),
                |server| format!("{server} in {}", notice.service),
            );
            let what = format!("{who}, {}", if notice.up { "up" } else { "down" });
            run(script, &what, &global, &mut running).await;
        }
        let line = notice.fifo_line();
        for fifo in &fifos {
            fifo.write(&line);
        }
        while running.try_join_next().is_some() {}
    }
    // Those that still run are ended with the set.
    drop(timeout(last, async { while running.join_next().await.is_some() {} }).await);
}

async fn run(script: &Script, what: &str, global: &Global, running: &mut JoinSet<()>) {
    let name = script.command.first().cloned().unwrap_or_default();
    match script::start(script, global).await {
        Ok(child) => {
            running.spawn(async move {
                match child.wait(FOREVER).await {
                    Ok(Some(status)) if !status.success() => info!("{name}: {status}"),
                    Ok(_) => {}
                    Err(error) => warn!("{name}: {error}"),
                }
            });
        }
        Err(error) => warn!("cannot tell of {what}: {error}"),
    }
}

/// A named pipe. It is open at both ends, so that nobody has to read.
#[derive(Debug)]
struct Fifo {
    file: File,
    script: Option<Script>,
}

impl Fifo {
    /// `fifo_open()` in keepalived's `notify.c`; a warning and nothing if it cannot be had.
    fn open(config: &NotifyFifo) -> Option<Self> {
        let path = &config.path;
        let warn = |error: String| warn!("cannot use the FIFO {}: {error}", path.display());
        match mkfifo(path, Mode::from_bits_truncate(0o644)) {
            Ok(()) => {
                if let Err(error) = config.owner.as_ref().map_or(Ok(()), |owner| give(path, owner))
                {
                    warn(error);
                }
            }
            Err(nix::errno::Errno::EEXIST) => {}
            Err(error) => {
                warn(error.to_string());
                return None;
            }
        }
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
        let file = match opened {
            Ok(file) if file.metadata().is_ok_and(|is| is.file_type().is_fifo()) => file,
            Ok(_) => {
                warn("it is something else".to_owned());
                return None;
            }
            Err(error) => {
                warn(error.to_string());
                return None;
            }
        };
        // The script gets the FIFO's path as its last argument.
        let script = config.script.clone().map(|mut script| {
            script.command.push(path.to_string_lossy().into_owned());
            script
        });
        Some(Self { file, script })
    }

    /// A FIFO that is full loses lines, as keepalived's do.
    fn write(&self, line: &str) {
        drop((&self.file).write_all(line.as_bytes()));
    }
}

fn give(path: &std::path::Path, owner: &ScriptUser) -> Result<(), String> {
    let user = User::from_name(&owner.user).ok().flatten();
    let user = user.ok_or_else(|| format!("there is no user {}", owner.user))?;
    let group = match &owner.group {
        None => user.gid,
        Some(name) => {
            let group = Group::from_name(name).ok().flatten();
            group.ok_or_else(|| format!("there is no group {name}"))?.gid
        }
    };
    chown(path, Some(user.uid), Some(group)).map_err(|error| error.to_string())
}
