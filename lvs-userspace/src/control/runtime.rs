//! The runtime directory: what belongs to this run of the controller and not to the kernel.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
    thread::sleep,
    time::Duration,
};

use anyhow::Context as _;
use nix::{
    fcntl::{Flock, FlockArg},
    unistd::Pid,
};
use serde::Serialize;
use tracing::warn;

use super::{memory::MEMORY, orders::EDITS, protocol::SOCKET};

/// The directory with the controller's process id in `xlvs.pid`, which is locked. Dropping it removes the file,
/// and the directory if it was made here and is empty.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
    made: bool,
    _pid_file: Flock<File>,
}

impl RuntimeDir {
    /// Makes the directory if needed and writes the process id.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        // Or made by one that was killed.
        let made = !path.exists() || path.join(PID_FILE).exists();
        fs::create_dir_all(path).with_context(|| {
            format!(
                "cannot make the runtime directory {}; give another --runtime-dir",
                path.display()
            )
        })?;
        let pid_path = path.join(PID_FILE);
        let mut file = lock(&pid_path)?.with_context(|| {
            format!(
                "another xlvs (process {}) keeps its files in {}; give this one another --runtime-dir",
                fs::read_to_string(&pid_path).unwrap_or_default().trim(),
                path.display()
            )
        })?;
        // What one that was killed has told.
        let _there_or_not = fs::remove_file(status(path));
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        written.with_context(|| format!("cannot write {}", pid_path.display()))?;
        Ok(Self { path: path.to_owned(), made, _pid_file: file })
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

/// How often the lock is tried, and how long to wait in between.
/// Bytes of what a restart should have: some 100 for each server that is down, or edit.
const MOST_KEPT: u64 = 64 << 20;
const LOCK_ATTEMPTS: u32 = 10;
const LOCK_INTERVAL: Duration = Duration::from_millis(10);

/// Locks the file with the process id; `None` if another process holds it. Who only asks for the holder has it for a moment
/// too.
fn lock(path: &Path) -> anyhow::Result<Option<Flock<File>>> {
    for _ in 0..LOCK_ATTEMPTS {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        if let Ok(file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            return Ok(Some(file));
        }
        sleep(LOCK_INTERVAL);
    }
    Ok(None)
}

/// The process that holds a runtime directory, if there is one.
pub(super) fn holder(directory: &Path) -> anyhow::Result<Option<Pid>> {
    let path = directory.join(PID_FILE);
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| format!("cannot open {}", path.display()))?,
    };
    // Free: its process has ended. A shared lock, so that two who ask do not take each other for the holder.
    if Flock::lock(file, FlockArg::LockSharedNonblock).is_ok() {
        return Ok(None);
    }
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let pid = text.trim().parse().ok().filter(|pid: &i32| *pid > 0);
    let pid =
        pid.with_context(|| format!("{} holds no process id yet; try again", path.display()))?;
    Ok(Some(Pid::from_raw(pid)))
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
    let new = path.with_extension("new");
    fs::write(&new, serde_json::to_vec(value).map_err(io::Error::other)?)?;
    fs::rename(&new, path)
}

/// Reads that again; `None` if there is none. A pipe would keep the start waiting for ever, and what is too long is not ours.
pub(super) fn kept(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(is) if !is.is_file() => Err(io::Error::other("it is not a file")),
        Ok(is) if is.len() > MOST_KEPT => Err(io::Error::other("it is too long")),
        Ok(_) => fs::read(path).map(Some),
    }
}

/// Removes what a controller that was killed has left in its runtime directory.
pub(super) fn clean(directory: &Path) {
    for name in [PID_FILE, STATUS_FILE, SOCKET, EDITS, MEMORY] {
        let _there_or_not = fs::remove_file(directory.join(name));
    }
    // It may be the system's, or have something else in it.
    let _ours_or_not = fs::remove_dir(directory);
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let _perhaps_not_written = fs::remove_file(self.status());
        let pid_path = self.path.join(PID_FILE);
        if let Err(error) = fs::remove_file(&pid_path) {
            warn!("cannot remove {}: {error}", pid_path.display());
        }
        if !self.made {
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
