//! bpf-linker: the one that is there, or one built for this workspace from Debian's LLVM.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packages::Package;
use crate::shell;
use crate::version::Version;
use crate::workspace::Workspace;

const VERSION: Version = Version::new(0, 13, 0);

/// The LLVM that ours is built with. It must be at least as new as that of the Rust compiler.
pub(crate) const LLVM: u32 = 22;
const LLVM_PREFIX: &str = "/usr/lib/llvm-22";

/// What building it takes on Debian.
pub(crate) const PACKAGES: [Package; 6] = [
    Package::files("llvm-22-dev"),
    Package::files("libpolly-22-dev"),
    Package::files("zlib1g-dev"),
    Package::files("libzstd-dev"),
    Package::files("libxml2-dev"),
    // Its libstdc++ for linking.
    Package::command("g++", "g++"),
];

/// A bpf-linker that runs.
#[derive(Debug)]
pub(crate) struct Linker {
    pub(crate) path: PathBuf,
    /// The major version of its LLVM.
    pub(crate) llvm: u32,
}

/// Ours, else a fitting one on PATH.
pub(crate) fn find(workspace: &Workspace) -> Option<Linker> {
    let ours = workspace.tool("bpf-linker");
    if version(&ours) == Some(VERSION) {
        return Some(Linker { path: ours, llvm: LLVM });
    }
    let path = shell::find("bpf-linker")?;
    let found = version(&path)?;
    if (found.major, found.minor) != (VERSION.major, VERSION.minor) {
        return None;
    }
    // It does not tell its LLVM, but where it is linked dynamically the library's name does.
    let llvm = llvm_of(&shell::ask(Command::new("ldd").arg(&path)).ok()?);
    if llvm.is_none() {
        shell::say(format_args!("passed over {}: its LLVM is not known", path.display()));
    }
    Some(Linker { path, llvm: llvm? })
}

/// Builds one; the packages are there.
pub(crate) fn install(workspace: &Workspace) -> Result<Linker> {
    if !Path::new(LLVM_PREFIX).exists() {
        bail!(
            "no bpf-linker {VERSION} and no LLVM {LLVM} in {LLVM_PREFIX} to build it with; \
             put a bpf-linker {VERSION} that is linked with libLLVM on PATH, \
             or install LLVM {LLVM} (see https://apt.llvm.org)"
        );
    }
    shell::say(format_args!("building bpf-linker {VERSION} with LLVM {LLVM} (about a minute)"));
    let mut cargo = workspace.cargo();
    cargo
        .env("LLVM_PREFIX", LLVM_PREFIX)
        .args(["install", "bpf-linker", "--locked", "--force", "--no-default-features"])
        .arg(format!("--version={VERSION}"))
        .arg(format!("--features=llvm-{LLVM}"));
    workspace.install(&mut cargo)?;
    find(workspace).context("bpf-linker was built but does not run")
}

fn version(path: &Path) -> Option<Version> {
    Version::find(&shell::ask(Command::new(path).arg("--version")).ok()?)
}

/// The major version from a library's name in ldd's listing: `libLLVM.so.22.1`, `libLLVM-22.so`.
fn llvm_of(ldd: &str) -> Option<u32> {
    let name = ldd.lines().find_map(|line| line.trim_start().strip_prefix("libLLVM"))?;
    let number = name.strip_prefix(".so.").or_else(|| name.strip_prefix('-'))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_librarys_name_tells_the_llvm() {
        let line = |name: &str| format!("\tlibc.so.6 => /lib/libc.so.6\n\t{name} => /x (0x0)\n");
        assert_eq!(llvm_of(&line("libLLVM.so.22.1")), Some(22));
        assert_eq!(llvm_of(&line("libLLVM-19.so.1")), Some(19));
        assert_eq!(llvm_of(&line("libm.so.6")), None);
    }
}
