//! What a configuration asks of the place where it is read: other files, the environment, the host's name.
//!
//! It is a trait so that the front end itself touches nothing: `xlvs` reads it on the [`Machine`], tests and the
//! fuzzer in [`Memory`].

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use glob::{MatchOptions, Pattern};

use super::{
    needed::{Fault, Needed},
    read,
};

/// As `glob(3)` without flags matches.
const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

/// How much a configuration may become; beyond that it is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files together, and of the text that they expand to.
    pub bytes: usize,
    /// Lines that are worked on one by one: those of variables and sequences, and each variable in them.
    pub steps: usize,
    /// Files that are included, one that is included twice counted twice.
    pub files: usize,
    /// Files, definitions of several lines and sequences inside each other.
    pub depth: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: read::SIZE_LIMIT, steps: 1_000_000, files: 1_000, depth: 32 }
    }
}

/// Where a configuration is read.
pub trait Surroundings {
    /// What `@ID` lines are compared with; `${_INSTANCE}`.
    fn config_id(&self) -> &str;

    /// A variable of the environment, for `${_ENV NAME}`.
    fn environment(&self, name: &str) -> Option<String>;

    /// A number of this range, for `${_RANDOM}`.
    fn random(&self, low: u64, high: u64) -> u64;

    /// The path from the root to a folder, for `${_PWD}`; the path of the current one may be empty.
    fn absolute(&self, folder: &Path) -> PathBuf;

    /// What a pattern with `*`, `?` and `[…]` matches, sorted.
    fn list(&self, pattern: &str) -> Vec<PathBuf>;

    /// Whether there is such a file or folder.
    fn exists(&self, path: &Path) -> bool;

    /// The content of a file to include. As in keepalived it must be a regular file that is not executable.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Why something that a file names cannot be used; nothing if it can, or if nobody knows.
    fn fault(&self, _: &Needed) -> Option<Fault> {
        None
    }

    /// How much the configuration may become.
    fn bounds(&self) -> Bounds {
        Bounds::default()
    }
}

/// The machine that this runs on.
#[derive(Debug)]
pub struct Machine<'i> {
    /// What `@ID` lines are compared with.
    pub config_id: &'i str,
}

impl Surroundings for Machine<'_> {
    fn config_id(&self) -> &str {
        self.config_id
    }

    fn environment(&self, name: &str) -> Option<String> {
        env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }

    fn random(&self, low: u64, high: u64) -> u64 {
        fastrand::u64(low..=high)
    }

    fn absolute(&self, folder: &Path) -> PathBuf {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned())
    }

    fn list(&self, pattern: &str) -> Vec<PathBuf> {
        let paths = glob::glob_with(pattern, MATCHING).into_iter().flatten();
        // One that cannot be looked at is listed all the same, and reading it says why.
        paths.map(|path| path.unwrap_or_else(|error| error.path().to_owned())).collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || path.exists()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let kind = fs::metadata(path)?;
        if kind.is_dir() {
            return Err(ErrorKind::IsADirectory.into());
        }
        if !kind.is_file() {
            return Err(io::Error::other("it is not a file; keepalived skips it too"));
        }
        if kind.permissions().mode() & 0o111 != 0 {
            return Err(io::Error::other(
                "it is executable, and keepalived skips such files; `chmod a-x` it",
            ));
        }
        read::bytes(path)
    }

    fn fault(&self, needed: &Needed) -> Option<Fault> {
        needed.fault_here()
    }
}

/// Files in memory, and nothing else: no environment, no folder but the root, and 0 for random numbers.
#[derive(Debug, Default)]
pub struct Memory {
    /// What `@ID` lines are compared with.
    pub config_id: String,
    /// The files that can be included.
    pub files: BTreeMap<PathBuf, Vec<u8>>,
    /// How much the configuration may become.
    pub bounds: Bounds,
}

impl Memory {
    /// Takes a text apart: a configuration, and behind it files that it can include, each behind `=== PATH` and a line
    /// feed. This is how the fuzzer's inputs are written.
    #[must_use]
    pub fn split(text: &str, config_id: &str, bounds: Bounds) -> (String, Self) {
        let mut parts = text.split("=== ");
        let main = parts.next().unwrap_or_default().to_owned();
        let file = |part: &str| {
            let (path, content) = part.split_once('\n').unwrap_or((part, ""));
            (path.into(), content.as_bytes().to_vec())
        };
        (main, Self { config_id: config_id.to_owned(), files: parts.map(file).collect(), bounds })
    }
}

impl Surroundings for Memory {
    fn config_id(&self) -> &str {
        &self.config_id
    }

    fn environment(&self, _: &str) -> Option<String> {
        None
    }

    fn random(&self, low: u64, _: u64) -> u64 {
        low
    }

    fn absolute(&self, folder: &Path) -> PathBuf {
        Path::new("/").join(folder)
    }

    fn list(&self, pattern: &str) -> Vec<PathBuf> {
        let Ok(pattern) = Pattern::new(pattern) else { return Vec::new() };
        let fits = |path: &&PathBuf| pattern.matches_path_with(path, MATCHING);
        self.files.keys().filter(fits).cloned().collect()
    }

    fn exists(&self, path: &Path) -> bool {
        path.as_os_str().is_empty() || self.files.keys().any(|file| file.starts_with(path))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.files.get(path).cloned().ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn bounds(&self) -> Bounds {
        self.bounds
    }
}

/// The first part of the host's name, which is keepalived's config-id if none is given.
#[must_use]
pub fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    let name = name.to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}
