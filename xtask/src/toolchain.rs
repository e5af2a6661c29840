//! The Rust toolchain that can build `core` for BPF: it has the library's sources, and an LLVM that
//! bpf-linker can read.
//!
//! Nightly or not does not matter, because `RUSTC_BOOTSTRAP=1` opens the unstable options of any
//! compiler. Most people get the sources from rustup; Debian has them in packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packages;
use crate::shell;
use crate::version::Version;
use crate::workspace::Workspace;

/// Debian's way to get one.
pub(crate) const PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// The oldest Rust that the crates of this workspace compile with.
const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

/// A toolchain with the library's sources.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Toolchain {
    name: String,
    sysroot: PathBuf,
    compiler: Compiler,
}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Compiler {
    release: Version,
    llvm: Version,
}

impl Toolchain {
    pub(crate) fn cargo(&self) -> PathBuf {
        self.sysroot.join("bin/cargo")
    }

    pub(crate) fn rustc(&self) -> PathBuf {
        self.sysroot.join("bin/rustc")
    }

    pub(crate) fn describe(&self) -> String {
        let Compiler { release, llvm } = &self.compiler;
        format!("{} (rustc {release}, LLVM {llvm})", self.name)
    }

    /// Looks at what lies in a folder; `None` without a compiler, cargo and the library's sources.
    fn look(name: &str, sysroot: &Path) -> Option<Self> {
        let sources = sysroot.join("lib/rustlib/src/rust/library/Cargo.lock");
        let complete = sources.exists() && sysroot.join("bin/cargo").exists();
        let compiler = complete.then(|| ask_compiler(&sysroot.join("bin/rustc"))).flatten()?;
        Some(Self { name: name.to_owned(), sysroot: sysroot.to_owned(), compiler })
    }

    /// Why it cannot be used with a bpf-linker of that LLVM, if so.
    fn objection(&self, llvm: u32) -> Option<String> {
        let Compiler { release, llvm: own } = &self.compiler;
        if own.major > llvm {
            return Some(format!("its LLVM {own} is newer than bpf-linker's LLVM {llvm}"));
        }
        let minimum = Version::parse(MINIMUM)?;
        (*release < minimum).then(|| format!("it is older than Rust {minimum}"))
    }
}

/// The best toolchain on this machine for a bpf-linker with that LLVM.
pub(crate) fn find(llvm: u32) -> Option<Toolchain> {
    let (chosen, remarks) = choose(candidates(), llvm);
    for remark in remarks {
        shell::say(format_args!("passed over {remark}"));
    }
    chosen
}

/// Gets one: Debian's packages, else through rustup.
pub(crate) fn install(workspace: &Workspace, llvm: u32) -> Result<Toolchain> {
    match packages::install(workspace, &PACKAGES) {
        Ok(()) => {
            if let Some(toolchain) = find(llvm) {
                return Ok(toolchain);
            }
        }
        Err(error) => shell::say(format_args!("{error:#}; trying rustup")),
    }
    let remedy = rustup_remedy(llvm);
    if shell::find("rustup").is_none() {
        bail!("no toolchain for BPF, and no rustup to get one; install rustup, then `{remedy}`");
    }
    let (program, arguments) = remedy.split_once(' ').unwrap_or((&remedy, ""));
    shell::run(workspace.command(program).args(arguments.split(' ')))
        .context("no toolchain for BPF: it takes the sources of Rust's library (rust-src)")?;
    find(llvm).with_context(|| format!("`{remedy}` gave no toolchain that fits LLVM {llvm}"))
}

/// What to ask of rustup: the sources for the compiler in use if its LLVM fits, which is a small
/// download, else a nightly.
pub(crate) fn rustup_remedy(llvm: u32) -> String {
    let active = shell::find("rustup").and_then(|_| ask_compiler(Path::new("rustc")));
    if active.is_some_and(|active| active.llvm.major <= llvm) {
        "rustup component add rust-src".to_owned()
    } else {
        "rustup toolchain install nightly --profile minimal --component rust-src".to_owned()
    }
}

/// In order of preference: rustup's nightlies, the system's compiler, rustup's others.
fn candidates() -> Vec<Toolchain> {
    let listing = shell::ask(Command::new("rustup").args(["toolchain", "list", "--verbose"]));
    let listing = listing.unwrap_or_default();
    let rustup = listing.lines().filter_map(rustup_entry);
    let (nightlies, others): (Vec<_>, Vec<_>) =
        rustup.partition(|(name, _)| name.starts_with("nightly"));
    let system = ("/usr/bin/rustc", Path::new("/usr"));
    nightlies
        .into_iter()
        .chain([system])
        .chain(others)
        .filter_map(|(name, sysroot)| Toolchain::look(name, sysroot))
        .collect()
}

/// The first that has nothing against it, and what speaks against those before it.
fn choose(candidates: Vec<Toolchain>, llvm: u32) -> (Option<Toolchain>, Vec<String>) {
    let mut remarks = Vec::new();
    for candidate in candidates {
        match candidate.objection(llvm) {
            None => return (Some(candidate), remarks),
            Some(objection) => remarks.push(format!("{}: {objection}", candidate.describe())),
        }
    }
    (None, remarks)
}

fn ask_compiler(rustc: &Path) -> Option<Compiler> {
    compiler(&shell::ask(Command::new(rustc).arg("-vV")).ok()?)
}

/// Reads `rustc -vV`.
fn compiler(text: &str) -> Option<Compiler> {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix(name));
        Version::parse(value?.trim())
    };
    Some(Compiler { release: field("release:")?, llvm: field("LLVM version:")? })
}

/// Reads a line of `rustup toolchain list --verbose`: name, perhaps remarks, folder.
fn rustup_entry(line: &str) -> Option<(&str, &Path)> {
    let (name, _) = line.split_once(' ')?;
    let folder = line.find(" /").and_then(|space| line.get(space + 1..))?;
    Some((name, Path::new(folder)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toolchain(name: &str, release: (u32, u32), llvm: u32) -> Toolchain {
        let release = Version::new(release.0, release.1, 0);
        let compiler = Compiler { release, llvm: Version::new(llvm, 1, 2) };
        Toolchain { name: name.to_owned(), sysroot: PathBuf::from("/opt"), compiler }
    }

    #[test]
    fn the_compilers_own_words_are_read() {
        let text = "rustc 1.97.0-nightly (abc 2026-04-14)\nbinary: rustc\n\
                    host: x86_64-unknown-linux-gnu\nrelease: 1.97.0-nightly\nLLVM version: 22.1.4\n";
        let read = Compiler { release: Version::new(1, 97, 0), llvm: Version::new(22, 1, 4) };
        assert_eq!(compiler(text), Some(read));
        assert_eq!(compiler("error: toolchain 'nightly' is not installed"), None);
    }

    #[test]
    fn rustups_listing_is_read() {
        let entry = |line| rustup_entry(line).map(|(name, path)| (name, path.to_str().unwrap()));
        assert_eq!(entry("nightly-x /r/nightly-x"), Some(("nightly-x", "/r/nightly-x")));
        assert_eq!(
            entry("stable-x (active, default) /home/a b/.rustup/stable-x"),
            Some(("stable-x", "/home/a b/.rustup/stable-x"))
        );
        assert_eq!(entry("no installed toolchains"), None);
    }

    #[test]
    fn the_first_that_fits_is_chosen() {
        let nightly = toolchain("nightly", (1, 97), 22);
        let debian = toolchain("/usr/bin/rustc", (1, 96), 22);
        let (chosen, remarks) = choose(vec![nightly.clone(), debian], 22);
        assert_eq!((chosen, remarks), (Some(nightly), vec![]));
    }

    #[test]
    fn a_compiler_ahead_of_the_linker_is_passed_over() {
        let debian = toolchain("/usr/bin/rustc", (1, 96), 22);
        let (chosen, remarks) = choose(vec![toolchain("nightly", (1, 99), 23), debian.clone()], 22);
        assert_eq!(chosen, Some(debian));
        assert_eq!(
            remarks,
            [
                "nightly (rustc 1.99.0, LLVM 23.1.2): its LLVM 23.1.2 is newer than bpf-linker's LLVM 22"
            ]
        );
    }

    #[test]
    fn an_old_compiler_is_passed_over() {
        let (chosen, remarks) = choose(vec![toolchain("/usr/bin/rustc", (1, 63), 14)], 22);
        assert_eq!(chosen, None);
        assert!(remarks[0].contains("older than Rust"), "{remarks:?}");
    }
}
