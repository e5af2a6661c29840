//! The runtime directory: what belongs to this run of the controller and not to the kernel.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Pid,
};
use serde::Serialize;
use tracing::warn;

use crate::lock;

use super::{
    last_run::{LastRun, RUN, this_command},
    memory::MEMORY,
    orders::EDITS,
    protocol::SOCKET,
};

/// The directory with the controller's process id in `xlvs.pid`, which is locked. Dropping it removes the file, and, unless
/// there is a data plane, the directory too if xlvs has made it and it is empty.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
    last: LastRun,
    pid_file: Flock<File>,
}

impl RuntimeDir {
    /// Makes the directory if needed and writes the process id.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        let there = path.exists();
        let pid_path = path.join(PID_FILE);
        let locked = lock::make_and_lock(path, || {
            fs::create_dir_all(path).with_context(|| {
                format!(
                    "cannot make the runtime directory {}; give another --runtime-dir",
                    path.display()
                )
            })?;
            lock(&pid_path)
        });
        let locked = locked.and_then(|file| {
            file.with_context(|| {
                format!(
                    "another xlvs (process {}) keeps its files in {}; give this one another --runtime-dir",
                    fs::read_to_string(&pid_path).unwrap_or_default().trim(),
                    path.display()
                )
            })
        });
        let file = locked.inspect_err(|_| {
            if !there {
                let _not_empty = fs::remove_dir(path);
            }
        })?;
        let mut last = LastRun::read(path);
        last.made |= !there;
        let mut runtime = Self { path: path.to_owned(), last, pid_file: file };
        // What one that was killed has told.
        let _there_or_not = fs::remove_file(status(path));
        let file = &mut runtime.pid_file;
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        written.with_context(|| {
            format!(
                "cannot write {}; make room there, or give another --runtime-dir",
                pid_path.display()
            )
        })?;
        runtime.write_run();
        Ok(runtime)
    }

    /// There is a data plane, which outlives the controller: what it was started with is kept as long.
    pub(super) fn established(&mut self) {
        self.last.command = this_command();
        self.write_run();
    }

    /// The data plane has ended.
    pub(super) fn ended(&mut self) {
        self.last.command.clear();
    }

    fn write_run(&self) {
        if let Err(error) = self.last.write(&self.path) {
            warn!(
                "cannot write {}: {error}; after a kill `xlvs doctor` will not know how this xlvs was started",
                self.path.join(RUN).display()
            );
        }
    }

    /// Where what others are told lies.
    pub(super) fn status(&self) -> PathBuf {
        self.path.join(STATUS_FILE)
    }

    /// Where the verifier's log goes should it refuse the program.
    pub(super) fn verifier_log(&self) -> PathBuf {
        self.path.join("verifier.log")
    }
}

const PID_FILE: &str = "xlvs.pid";
const STATUS_FILE: &str = "status.json";

/// Bytes of what a restart should have: some 100 for each server that is down, or edit.
const MOST_KEPT: u64 = 64 << 20;

/// How long a process id is waited for that is written right after the lock was taken, and how often it is looked for.
const PID_PATIENCE: Duration = Duration::from_millis(100);
const PID_POLL: Duration = Duration::from_millis(10);

/// Locks the file with the process id; `None` if another process holds it.
fn lock(path: &Path) -> anyhow::Result<Option<Flock<File>>> {
    let open = || {
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            // A pipe is not waited for, and refused.
            .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
            .open(path)
            .and_then(a_file)
    };
    lock::take(open).map_err(|error| {
        let hint = match (fs::symlink_metadata(path), error.kind()) {
            (Ok(there), _) if !there.is_file() => "it is not a file; remove it",
            (_, io::ErrorKind::PermissionDenied) => {
                "run as the user that its directory belongs to, or give another --runtime-dir"
            }
            _ => "give another --runtime-dir",
        };
        anyhow!("cannot open {}: {error}; {hint}", path.display())
    })
}

/// Refuses a pipe and the like.
fn a_file(file: File) -> io::Result<File> {
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is not a file")) }
}

/// The process id in a file.
fn process_in(path: &Path) -> Option<Pid> {
    let text = fs::read_to_string(path).ok()?;
    text.trim().parse().ok().filter(|pid: &i32| *pid > 0).map(Pid::from_raw)
}

/// The process that holds a runtime directory, if there is one.
pub(super) fn holder(directory: &Path) -> anyhow::Result<Option<Pid>> {
    let path = directory.join(PID_FILE);
    let give_up = Instant::now() + PID_PATIENCE;
    loop {
        let open = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let file = match open.and_then(a_file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                let hint = match error.kind() {
                    io::ErrorKind::PermissionDenied => "; run as root",
                    _ => "",
                };
                bail!("cannot open {}: {error}{hint}", path.display());
            }
            Ok(file) => file,
        };
        let holders = lock::holders_of(&file).unwrap_or_default();
        // Free: its process has ended. A shared lock, so that two who ask do not take each other for the holder.
        if Flock::lock(file, FlockArg::LockSharedNonblock).is_ok() {
            return Ok(None);
        }
        // Whoever else is in there is not to be signalled.
        let is_holder = |pid: &Pid| holders.is_empty() || holders.contains(&pid.as_raw());
        if let Some(pid) = process_in(&path).filter(is_holder) {
            return Ok(Some(pid));
        }
        if Instant::now() > give_up {
            bail!(
                "a process has locked {0}, but its id is not in there; `fuser {0}` names it",
                path.display()
            );
        }
        sleep(PID_POLL);
    }
}

/// What others were told in a runtime directory.
pub(super) fn status(directory: &Path) -> PathBuf {
    directory.join(STATUS_FILE)
}

/// Writes what a restart should have in a runtime directory, whole or not at all, whenever the machine stops; or removes it.
pub(super) fn keep(path: &Path, value: Option<&impl Serialize>) -> io::Result<()> {
    let Some(value) = value else {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    replace(path, &serde_json::to_vec(value).map_err(io::Error::other)?)
}

/// Writes a file: others see the old contents or the new ones. Nothing is left of what has failed.
pub(super) fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        let _perhaps_not_there = fs::remove_file(&new);
    })
}

/// Reads that again; `None` if there is none. A pipe would keep the start waiting for ever, and what is too long is not ours.
pub(super) fn kept(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
        Ok(is) if !is.is_file() => Err(io::Error::other("it is not a file")),
        Ok(is) if is.len() > MOST_KEPT => Err(io::Error::other("it is too long")),
        Ok(_) => fs::read(path).map(Some),
    }
}

/// Removes what a controller that was killed has left in its runtime directory.
pub(super) fn clean(directory: &Path) {
    let made = LastRun::read(directory).made;
    for name in [PID_FILE, STATUS_FILE, SOCKET, EDITS, MEMORY, RUN] {
        let _there_or_not = fs::remove_file(directory.join(name));
    }
    if made {
        // Something else may be in it.
        let _empty_or_not = fs::remove_dir(directory);
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _perhaps_not_written = fs::remove_file(self.status());
        let pid_path = self.path.join(PID_FILE);
        if let Err(error) = fs::remove_file(&pid_path) {
            warn!("cannot remove {}: {error}", pid_path.display());
        }
        // What is there of a data plane needs the rest.
        if !self.last.command.is_empty() {
            return;
        }
        let made = std::mem::take(&mut self.last).made;
        self.write_run();
        // Of a start that came to nothing.
        let _there_or_not = fs::remove_file(self.path.join(MEMORY));
        if !made {
            return;
        }
        match fs::remove_dir(&self.path) {
            Ok(()) => {}
            // Something else is in it, or systemd has made it for us.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::DirectoryNotEmpty
                        | io::ErrorKind::PermissionDenied
                        | io::ErrorKind::ReadOnlyFilesystem
                        | io::ErrorKind::ResourceBusy
                ) => {}
            Err(error) => warn!("cannot remove {}: {error}", self.path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use nix::{sys::stat::Mode, unistd::mkfifo};

    use super::*;

    #[test]
    fn what_was_kept_comes_back_and_nothing_else_is_waited_for() {
        let directory = std::env::temp_dir().join(format!("xlvs-kept-{}", process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("edits.json");
        assert!(kept(&path).unwrap().is_none());
        keep(&path, Some(&[1, 2])).unwrap();
        assert_eq!(kept(&path).unwrap().as_deref(), Some(b"[1,2]".as_slice()));
        keep(&path, None::<&()>).unwrap();
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        assert_eq!(kept(&path).unwrap_err().to_string(), "it is not a file");
        fs::remove_file(&path).unwrap();
        let long = File::create(&path).unwrap();
        long.set_len(MOST_KEPT + 1).unwrap();
        assert_eq!(kept(&path).unwrap_err().to_string(), "it is too long");
        fs::remove_dir_all(&directory).unwrap();
    }
}
