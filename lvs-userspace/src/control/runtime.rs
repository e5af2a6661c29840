//! The runtime directory: what belongs to this run of the controller and not to the kernel.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process,
};

use anyhow::Context as _;
use tracing::warn;

/// The directory with the controller's process id in `xlvs.pid`. Dropping it removes both, the directory
/// only if it is empty then.
#[derive(Debug)]
pub(super) struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// Makes the directory if needed and writes the process id.
    pub(super) fn prepare(path: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(path).with_context(|| {
            format!(
                "cannot make the runtime directory {}; give another --runtime-dir",
                path.display()
            )
        })?;
        let runtime = Self { path: path.to_owned() };
        fs::write(runtime.pid_file(), format!("{}\n", process::id()))
            .with_context(|| format!("cannot write {}", runtime.pid_file().display()))?;
        Ok(runtime)
    }

    /// Where the verifier's log goes should it refuse the program.
    pub(super) fn verifier_log(&self) -> PathBuf {
        self.path.join("verifier.log")
    }

    fn pid_file(&self) -> PathBuf {
        self.path.join("xlvs.pid")
    }
}

impl Drop for RuntimeDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(self.pid_file()) {
            warn!("cannot remove {}: {error}", self.pid_file().display());
        }
        match fs::remove_dir(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) => warn!("cannot remove {}: {error}", self.path.display()),
        }
    }
}
