//! `cargo xtask build-ebpf`: the BPF object, at `<target>/bpf/lvs-ebpf.o`, where the build script of
//! `lvs-userspace` looks for it. The object that `cargo xtask bench` measures with is built likewise.

use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::linker::{self, Linker};
use crate::packages::{self, Package};
use crate::shell;
use crate::toolchain::{self, Toolchain};
use crate::workspace::Workspace;

/// What compiles the object.
#[derive(Debug)]
pub(crate) struct Tools {
    linker: Linker,
    toolchain: Toolchain,
}

/// An object: the name of a program of the package `lvs-ebpf`, and of the file under `<target>/bpf`.
#[derive(Clone, Copy)]
pub(crate) struct Object(&'static str);

impl Object {
    /// What xlvs loads.
    pub(crate) const ENGINE: Self = Self("lvs-ebpf");
    /// What the bench puts around it.
    pub(crate) const BENCH: Self = Self("lvs-bench");

    /// Where it is put.
    pub(crate) fn place(self, workspace: &Workspace) -> PathBuf {
        workspace.target(&format!("bpf/{}.o", self.0))
    }
}

/// The whole task.
pub(crate) fn run() -> Result<()> {
    let workspace = Workspace::find()?;
    let tools = prepare(&workspace, &[])?;
    build(&workspace, &tools, Object::ENGINE)
}

/// Finds or installs the tools, and the packages that the caller wants besides: all at once, so
/// that someone who must install them by hand is told once.
pub(crate) fn prepare(workspace: &Workspace, besides: &[Package]) -> Result<Tools> {
    let linker = linker::find(workspace);
    let llvm = linker.as_ref().map_or(linker::LLVM, |linker| linker.llvm);
    let toolchain = toolchain::find(llvm);

    let mut wanted = besides.to_vec();
    if linker.is_none() {
        wanted.extend(linker::PACKAGES);
    }
    let mut missing = packages::missing(&wanted);
    if toolchain.is_none() && !packages::can_install() {
        missing.extend(toolchain::PACKAGES);
        bail!(
            "{}\nor, in place of the packages {}, run\n    {}",
            packages::by_hand(&missing),
            toolchain::PACKAGES.join(" "),
            toolchain::rustup_remedy(llvm)
        );
    }
    packages::install(workspace, &missing)?;
    let linker = linker.map_or_else(|| linker::install(workspace), Ok)?;
    let toolchain = toolchain.map_or_else(|| toolchain::install(workspace, llvm), Ok)?;
    Ok(Tools { linker, toolchain })
}

/// Compiles, checks, and puts the object in its place if it has changed.
pub(crate) fn build(workspace: &Workspace, tools: &Tools, object: Object) -> Result<()> {
    let Tools { linker, toolchain } = tools;
    shell::say(format_args!(
        "BPF toolchain: {}; linker: {}",
        toolchain.describe(),
        linker.path.display()
    ));
    let folder = workspace.target("bpf-build");
    shell::run(&mut compile(workspace, tools, object, &folder))?;

    let built = folder.join("bpfel-unknown-none/release").join(object.0);
    let bytes = fs::read(&built).with_context(|| format!("reading {}", built.display()))?;
    crate::elf::check(&bytes).with_context(|| built.display().to_string())?;
    let place = object.place(workspace);
    put(&bytes, &place, &folder)?;
    shell::say(format_args!("BPF object: {} ({} bytes)", place.display(), bytes.len()));
    Ok(())
}

/// The recipe. The target folder is its own, so that host builds stay valid.
fn compile(workspace: &Workspace, tools: &Tools, object: Object, folder: &Path) -> Command {
    let Tools { linker, toolchain } = tools;
    let mut cargo = workspace.neutral(toolchain.cargo());
    cargo
        .env("RUSTC", toolchain.rustc())
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", &linker.path)
        .env(
            "RUSTFLAGS",
            format!(
                "-C debuginfo=2 -C link-arg=--btf -C target-cpu=v3 \
                 --cfg bpf_target_arch=\"{ARCH}\""
            ),
        )
        // For every crate in the object; a profile in Cargo.toml would be that of host builds too.
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "1")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "2")
        .env("CARGO_PROFILE_RELEASE_LTO", "true")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "3")
        .env("CARGO_PROFILE_RELEASE_PANIC", "abort")
        // The line tables are what the log of the verifier quotes, and BTF is made of the rest.
        .env("CARGO_PROFILE_RELEASE_STRIP", "none")
        .args(["build", "--locked", "--release", "--package=lvs-ebpf", "--bin", object.0])
        .args(["--features=bpf", "--target=bpfel-unknown-none", "-Zbuild-std=core"])
        .arg("--target-dir")
        .arg(folder);
    cargo
}

/// Puts the bytes at a path in one step, unless they are there already: a new time stamp alone
/// would rebuild what embeds the file. The other folder is for the unfinished file, because cargo
/// watches that of the finished one.
fn put(bytes: &[u8], path: &Path, unfinished: &Path) -> Result<()> {
    if fs::read(path).is_ok_and(|present| present == bytes) {
        return Ok(());
    }
    let place = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(place)?;
    }
    let name = format!("unfinished-{}.o", std::process::id());
    let unfinished: PathBuf = unfinished.join(name);
    fs::write(&unfinished, bytes).and_then(|()| fs::rename(&unfinished, path)).with_context(place)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unchanged_object_is_left_alone() {
        let folder = std::env::temp_dir().join(format!("xtask-put-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("bpf/lvs-ebpf.o");
        put(b"one", &path, &folder).unwrap();
        let written = fs::metadata(&path).unwrap().modified().unwrap();
        put(b"one", &path, &folder).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().modified().unwrap(), written);
        put(b"two", &path, &folder).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        // Nothing unfinished is left.
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
