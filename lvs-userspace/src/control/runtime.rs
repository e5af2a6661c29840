//! The runtime directory: what belongs to this run of the controller and not to the kernel.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process,
};

use anyhow::{Context as _, bail};
use nix::fcntl::{Flock, FlockArg};
use tracing::warn;

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
        let made = !path.exists();
        fs::create_dir_all(path).with_context(|| {
            format!(
                "cannot make the runtime directory {}; give another --runtime-dir",
                path.display()
            )
        })?;
        let pid_path = path.join(PID_FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&pid_path)
            .with_context(|| format!("cannot open {}", pid_path.display()))?;
        let Ok(mut file) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else {
            bail!(
                "another xlvs (process {}) keeps its files in {}; give this one another --runtime-dir",
                fs::read_to_string(&pid_path).unwrap_or_default().trim(),
                path.display()
            );
        };
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", process::id()));
        written.with_context(|| format!("cannot write {}", pid_path.display()))?;
        Ok(Self { path: path.to_owned(), made, _pid_file: file })
    }

    /// Where the verifier's log goes should it refuse the program.
    pub(super) fn verifier_log(&self) -> PathBuf {
        self.path.join("verifier.log")
    }
}

const PID_FILE: &str = "xlvs.pid";

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        let pid_path = self.path.join(PID_FILE);
        if let Err(error) = fs::remove_file(&pid_path) {
            warn!("cannot remove {}: {error}", pid_path.display());
        }
        if !self.made {
            return;
        }
        match fs::remove_dir(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => warn!("cannot remove {}: {error}", self.path.display()),
        }
    }
}
