//! Named pipes that changes of state are written to, a line each: `fifo_open()` and `fifo_close()` in keepalived's `notify.c`.

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    sys::stat::Mode,
    unistd::{Group, User, chown, mkfifo, unlink},
};
use tokio::sync::oneshot;
use tracing::warn;

use crate::config::{NotifyFifo, Script, ScriptUser};

/// A named pipe. It is open at both ends, so that nobody has to read.
#[derive(Debug)]
pub(super) struct Fifo {
    config: NotifyFifo,
    /// Dropped with it, which who waits for its reader waits for.
    open: Option<oneshot::Sender<()>>,
    file: File,
    /// Whether it was not there before.
    made: bool,
}

/// Who is to read a FIFO.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) path: PathBuf,
    pub(super) script: Script,
    /// Ends when the FIFO is closed.
    pub(super) closed: oneshot::Receiver<()>,
}

impl Fifo {
    /// Makes it if it is not there; a warning and nothing if it cannot be had.
    pub(super) fn open(config: &NotifyFifo) -> Option<Self> {
        let path = &config.path;
        let warn = |error: String| warn!("cannot use the FIFO {}: {error}", path.display());
        let made = match mkfifo(path, Mode::from_bits_truncate(0o644)) {
            Ok(()) => {
                if let Err(error) = config.owner.as_ref().map_or(Ok(()), |owner| give(path, owner))
                {
                    warn(error);
                }
                true
            }
            Err(Errno::EEXIST) => false,
            Err(error) => {
                warn(error.to_string());
                return None;
            }
        };
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW;
        let opened =
            OpenOptions::new().read(true).write(true).custom_flags(flags.bits()).open(path);
        match opened {
            Ok(file) if file.metadata().is_ok_and(|is| is.file_type().is_fifo()) => {
                Some(Self { config: config.clone(), open: None, file, made })
            }
            Ok(_) => {
                warn("it is something else".to_owned());
                None
            }
            Err(error) => {
                warn(error.to_string());
                None
            }
        }
    }

    /// What it was opened for.
    pub(super) const fn config(&self) -> &NotifyFifo {
        &self.config
    }

    /// Who is to read it, if the configuration names somebody and nobody does yet.
    pub(super) fn reader(&mut self) -> Option<Reader> {
        if self.open.as_ref().is_some_and(|open| !open.is_closed()) {
            return None;
        }
        let mut script = self.config.script.clone()?;
        // It gets the FIFO's path as its last argument.
        script.command.push(self.config.path.to_string_lossy().into_owned());
        let (open, closed) = oneshot::channel();
        self.open = Some(open);
        Some(Reader { path: self.config.path.clone(), script, closed })
    }

    /// A FIFO that is full loses lines, as keepalived's do.
    pub(super) fn write(&self, line: &str) {
        drop((&self.file).write_all(line.as_bytes()));
    }

    /// Has its readers see its end, after what was written. Its path is free before that, so that nobody opens it again.
    pub(super) fn close(self) {
        let Self { config, open, file, made } = self;
        if made {
            // Somebody else may have done so.
            let _ = unlink(&config.path);
        }
        drop(open);
        drop(file);
    }
}

fn give(path: &Path, owner: &ScriptUser) -> Result<(), String> {
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
