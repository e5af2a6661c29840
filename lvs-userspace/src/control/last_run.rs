//! What a run leaves in its runtime directory (`run.json`) for the next one, and for who looks after it was killed: how it was
//! started, and whether the directory was made for it. It ends with the data plane.

use std::{
    env, io,
    path::{Path, absolute},
};

use serde::{Deserialize, Serialize};
use tracing::debug;

use super::runtime::{keep, kept};

/// The file's name.
pub(super) const RUN: &str = "run.json";

/// Options with a path, which means something else in another directory.
const PATHS: [&str; 3] = ["--config", "--pin-dir", "--runtime-dir"];

/// The file's contents.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LastRun {
    /// Whether xlvs has made the directory, so that it takes it away again.
    pub(super) made: bool,
    /// The command line that the data plane is from, without the program's name and with absolute paths; empty before there is
    /// a data plane.
    pub(super) command: Vec<String>,
}

impl LastRun {
    /// What the last run has left; nothing if that is not there or not to be understood.
    pub(super) fn read(runtime_dir: &Path) -> Self {
        let path = runtime_dir.join(RUN);
        let read = kept(&path).and_then(|text| match text {
            Some(text) => serde_json::from_slice(&text).map_err(io::Error::from),
            None => Ok(Self::default()),
        });
        read.unwrap_or_else(|error| {
            debug!("{}: {error}", path.display());
            Self::default()
        })
    }

    /// Leaves it, or takes it away.
    pub(super) fn write(&self, runtime_dir: &Path) -> io::Result<()> {
        keep(&runtime_dir.join(RUN), (*self != Self::default()).then_some(self))
    }
}

/// How this process was started.
pub(super) fn this_command() -> Vec<String> {
    let words = env::args_os().skip(1);
    with_absolute_paths(words.map(|word| word.to_string_lossy().into_owned()))
}

fn with_absolute_paths(words: impl Iterator<Item = String>) -> Vec<String> {
    let whole = |path: &str| match absolute(path) {
        Ok(whole) => whole.display().to_string(),
        Err(_) => path.to_owned(),
    };
    let mut is_path = false;
    words
        .map(|word| {
            if std::mem::take(&mut is_path) {
                return whole(&word);
            }
            is_path = PATHS.contains(&word.as_str());
            match word.split_once('=') {
                Some((name, path)) if PATHS.contains(&name) => format!("{name}={}", whole(path)),
                _ => word,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_mean_the_same_elsewhere() {
        let words = ["run", "--config", "x.conf", "--interface", "eth0", "--pin-dir=p", "-i", "a"];
        let here = env::current_dir().unwrap().display().to_string();
        assert_eq!(
            with_absolute_paths(words.map(str::to_owned).into_iter()).join(" "),
            format!("run --config {here}/x.conf --interface eth0 --pin-dir={here}/p -i a")
        );
    }

    #[test]
    fn what_is_not_understood_is_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let run = LastRun { made: true, command: vec!["run".to_owned()] };
        run.write(folder.path()).unwrap();
        assert_eq!(LastRun::read(folder.path()), run);
        std::fs::write(folder.path().join(RUN), "{\"made\":").unwrap();
        assert_eq!(LastRun::read(folder.path()), LastRun::default());
        LastRun::default().write(folder.path()).unwrap();
        assert!(!folder.path().join(RUN).exists());
    }
}
