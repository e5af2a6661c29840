//! What can go wrong between this program and the kernel, in words that lead to the remedy.

use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
};

use aya::{
    EbpfError,
    maps::MapError,
    programs::{ProgramError, links::LinkError},
};

/// An error of the BPF side.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The binary was built without the BPF object.
    #[error(
        "this xlvs was built without its BPF object; run `cargo xtask build-ebpf`, then build again"
    )]
    NoObject,
    /// The kernel refused to create a map or to read the object.
    #[error("the kernel did not take the BPF object: {0}")]
    Object(String),
    /// The verifier refused the program.
    #[error(
        "the kernel's verifier refused the program {program} ({source}): {last}{}",
        .log.as_ref().map(|path| format!("\n  the whole verifier log: {}", path.display())).unwrap_or_default()
    )]
    Verifier {
        /// Name of the program.
        program: String,
        /// What the system call returned.
        source: io::Error,
        /// The end of the verifier's log.
        last: String,
        /// Where the whole log was written.
        log: Option<PathBuf>,
    },
    /// The program could not be attached.
    #[error("cannot attach {mode} to `{interface}`: {reason}")]
    Attach {
        /// Name of the interface.
        interface: String,
        /// The mode in words.
        mode: &'static str,
        /// The reason and what to do.
        reason: String,
        /// Whether another mode may work.
        unsupported: bool,
    },
    /// A map operation failed.
    #[error("map {map}: {source}")]
    Map {
        /// Name of the map.
        map: &'static str,
        /// What aya or the kernel said.
        source: MapError,
    },
    /// A batch operation failed.
    #[error("map {map}: {source}")]
    Batch {
        /// Name of the map.
        map: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The pin directory cannot be used.
    #[error("pin directory {}: {reason}", .path.display())]
    Pins {
        /// The directory.
        path: PathBuf,
        /// The reason and what to do.
        reason: String,
        /// Whether a permission is missing.
        permission: bool,
    },
    /// There are no pins.
    #[error(
        "no data plane is pinned in {}: start `xlvs run`, or name its --pin-dir (`ip netns exec` hides pins, \
         `nsenter --net=…` does not)", .path.display()
    )]
    NoPins {
        /// Where they would be.
        path: PathBuf,
    },
    /// What is pinned has another layout than this program asks for.
    #[error(
        "the data plane in {} is that of another xlvs, which this one cannot go on with: {reason}; its packets flow on. \
         Start the xlvs that it belongs to, or end it and its connections with `xlvs stop --pin-dir {}`",
        .path.display(), pin_dir(.path).display()
    )]
    Layout {
        /// The directory of its maps.
        path: PathBuf,
        /// What is other.
        reason: String,
    },
    /// What is pinned has room for another number of connections.
    #[error(
        "the map {map} of the data plane that is there has {is} entries, and what is asked for needs {wanted}: give \
         --max-connections {} as before, or end that data plane and its connections with `xlvs stop`",
        .is / 2
    )]
    Room {
        /// Name of the map.
        map: &'static str,
        /// Its entries.
        is: u32,
        /// Those that are asked for.
        wanted: u32,
    },
    /// Another xlvs is on an interface.
    #[error(
        "`{interface}` is balanced by another xlvs already (program {program}), whose pins are not in this --pin-dir; \
         end that one: `xlvs stop` with its --pin-dir and --runtime-dir; `bpftool link` shows where it is pinned"
    )]
    Occupied {
        /// Name of the interface.
        interface: String,
        /// Id of the program.
        program: u32,
    },
    /// A link could not be pinned or kept.
    #[error("link of `{interface}`: {source}")]
    Link {
        /// Name of the interface.
        interface: String,
        /// What aya said.
        source: LinkError,
    },
}

impl Error {
    /// Whether kernel or permissions lack something (exit code 4).
    #[must_use]
    pub const fn is_kernel(&self) -> bool {
        match self {
            Self::Object(_) | Self::Verifier { .. } => true,
            Self::Attach { unsupported, .. } => *unsupported,
            Self::Pins { permission, .. } => *permission,
            Self::NoObject
            | Self::NoPins { .. }
            | Self::Map { .. }
            | Self::Batch { .. }
            | Self::Layout { .. }
            | Self::Room { .. }
            | Self::Occupied { .. }
            | Self::Link { .. } => false,
        }
    }

    /// The object lacks a map.
    pub(super) fn no_map(name: &str) -> Self {
        Self::Object(format!("it has no map {name}"))
    }

    /// From an error while the object's maps were created.
    pub(super) fn object(error: &EbpfError) -> Self {
        let mut text = chain(error);
        match os_error(error) {
            Some(libc::EPERM | libc::EACCES) => text.push_str(
                "; it needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON (run as root, or see the unit file)",
            ),
            Some(libc::EMFILE | libc::ENFILE) => {
                text.push_str("; raise the limit of open files (ulimit -n, LimitNOFILE)");
            }
            Some(libc::ENOMEM) => text.push_str("; not enough memory for the tables"),
            Some(libc::EINVAL) => text.push_str("; Linux 6.1 or newer is needed"),
            _ => {}
        }
        Self::Object(text)
    }

    /// From an error while a program was loaded; the verifier's whole log goes to `log`.
    pub(super) fn program(name: &str, error: &ProgramError, log: Option<&Path>) -> Self {
        match error {
            ProgramError::LoadError { io_error, verifier_log } => {
                // The log at length may be cut off before its end: aya takes 16 MB at most.
                let told = verifier_log.to_string();
                let at_length = super::dataplane::verifier_log(name).unwrap_or_default();
                let text = format!("{at_length}\n{told}");
                let log = log.filter(|path| std::fs::write(path, &text).is_ok());
                Self::Verifier {
                    program: name.to_owned(),
                    source: io::Error::from_raw_os_error(io_error.raw_os_error().unwrap_or(0)),
                    last: last_lines(&told),
                    log: log.map(Path::to_owned),
                }
            }
            error => Self::Object(chain(error)),
        }
    }
}

/// The pin directory to which a directory of maps belongs: `<pin dir>/v<ABI>/maps`.
fn pin_dir(maps: &Path) -> &Path {
    maps.ancestors().nth(2).unwrap_or(maps)
}

/// The lines of a verifier log that say why: the last ones that are not statistics.
fn last_lines(log: &str) -> String {
    let lines: Vec<&str> =
        log.lines().filter(|line| !line.is_empty() && !is_statistics(line)).collect();
    lines.iter().rev().take(2).rev().copied().collect::<Vec<_>>().join("; ")
}

/// Whether a line of a verifier log is one of the statistics at its end.
fn is_statistics(line: &str) -> bool {
    ["processed ", "verification time ", "stack depth "].iter().any(|head| line.starts_with(head))
}

/// An error with all its causes in one line.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        if !text.ends_with(&next) {
            let _infallible = write!(text, ": {next}");
        }
        cause = error.source();
    }
    text
}

/// The errno at the bottom of a chain.
pub(super) fn os_error(error: &(dyn std::error::Error + 'static)) -> Option<i32> {
    let mut cause = Some(error);
    let mut found = None;
    while let Some(error) = cause {
        if let Some(code) = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error) {
            found = Some(code);
        }
        cause = error.source();
    }
    found
}
