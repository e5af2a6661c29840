//! Where things are, and with which environment cargo is called.
//!
//! `cargo xtask` is itself started by cargo (and often by rustup), which fill the environment with
//! what concerns this one program. None of that may reach the commands that xtask starts: it would
//! make them rebuild what is built, or run another toolchain than the one that was chosen.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// The workspace that this program belongs to.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Asks cargo, which knows about `CARGO_TARGET_DIR` and configuration files.
    pub(crate) fn find() -> Result<Self> {
        // The folder of this package now, which is not where it was compiled if the tree has moved.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).to_owned(), PathBuf::from);
        let mut cargo = Command::new(cargo_program());
        cargo.args(["metadata", "--format-version=1", "--no-deps"]).current_dir(package);
        let answer = shell::ask(&mut cargo)?;
        let answer: serde_json::Value =
            serde_json::from_str(&answer).context("the output of `cargo metadata`")?;
        let path = |name: &str| {
            let path = answer.get(name).and_then(serde_json::Value::as_str);
            path.map(PathBuf::from).with_context(|| format!("`cargo metadata` tells no {name}"))
        };
        Ok(Self { root: path("workspace_root")?, target: path("target_directory")? })
    }

    /// A path under the target folder.
    pub(crate) fn target(&self, path: &str) -> PathBuf {
        self.target.join(path)
    }

    /// A program that was installed for this workspace only.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.target.join("tools/bin").join(name)
    }

    /// A program, started in the workspace's root with the environment of the person who started
    /// xtask: their toolchain, flags and folders, without what concerns the crate xtask.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        let names = env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| is_about_one_crate(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        if let Some(paths) = env::var_os("LD_LIBRARY_PATH") {
            match without_toolchains(&paths, &self.target) {
                Some(paths) => command.env("LD_LIBRARY_PATH", paths),
                None => command.env_remove("LD_LIBRARY_PATH"),
            };
        }
        command
    }

    /// The cargo that started xtask.
    pub(crate) fn cargo(&self) -> Command {
        self.command(cargo_program())
    }

    /// A program that must not notice which toolchain, flags or wrappers the person at the
    /// terminal uses for host builds.
    pub(crate) fn neutral(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.command(program);
        let names = env::vars_os().map(|(name, _)| name);
        for name in names.filter(|name| steers_a_build(&name.to_string_lossy())) {
            command.env_remove(name);
        }
        // Empty switches off also what a configuration file says.
        command.env("RUSTC_WRAPPER", "").env("RUSTC_WORKSPACE_WRAPPER", "");
        command
    }

    /// Runs a tool of cargo's that installs a program under `<target>/tools/bin`. What it compiles
    /// is removed afterwards, and kept when it fails or is interrupted, for the next try.
    pub(crate) fn install(&self, install: &mut Command) -> Result<()> {
        let folder = self.target("tools/build");
        // Unoptimised, because compiling them would take three times as long, and what they do is
        // start other programs or call LLVM.
        install.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        install.arg("--root").arg(self.target("tools")).arg("--target-dir").arg(&folder);
        shell::run(install)?;
        std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))
    }
}

fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Variables by which cargo tells a program about the crate that it was built from.
fn is_about_one_crate(name: &str) -> bool {
    name.starts_with("CARGO_PKG_")
        || name.starts_with("CARGO_BIN_")
        || name.starts_with("CARGO_MANIFEST_")
        || matches!(name, "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR")
}

/// Every variable of cargo, rustc and rustup but those about folders, the network and the terminal.
fn steers_a_build(name: &str) -> bool {
    const KEPT: [&str; 8] = [
        "CARGO_HOME",
        "CARGO_HTTP_",
        "CARGO_NET_",
        "CARGO_REGISTR",
        "CARGO_SOURCE_",
        "CARGO_TERM_",
        "RUSTUP_HOME",
        "RUST_BACKTRACE",
    ];
    (name.starts_with("CARGO") || name.starts_with("RUST"))
        && !KEPT.iter().any(|kept| name.starts_with(kept))
}

/// A library path without the folders that cargo and rustup put there.
fn without_toolchains(paths: &OsStr, target: &Path) -> Option<OsString> {
    let theirs = |path: &Path| {
        path.starts_with(target)
            || path
                .components()
                .any(|part| ["toolchains", "rustlib"].iter().any(|&n| part.as_os_str() == n))
    };
    let kept: Vec<_> = env::split_paths(paths)
        .filter(|path| !path.as_os_str().is_empty() && !theirs(path))
        .collect();
    if kept.is_empty() { None } else { env::join_paths(kept).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_host_build_is_known() {
        for name in [
            "CARGO",
            "CARGO_BUILD_TARGET",
            "CARGO_ENCODED_RUSTFLAGS",
            "CARGO_PROFILE_RELEASE_LTO",
            "CARGO_TARGET_DIR",
            "RUSTC",
            "RUSTC_WRAPPER",
            "RUSTFLAGS",
            "RUSTUP_TOOLCHAIN",
        ] {
            assert!(steers_a_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_NET_OFFLINE", "CARGO_TERM_COLOR", "RUSTUP_HOME", "PATH"] {
            assert!(!steers_a_build(name), "{name}");
        }
    }

    #[test]
    fn only_what_cargo_says_about_xtask_is_about_one_crate() {
        assert!(
            is_about_one_crate("CARGO_PKG_VERSION") && is_about_one_crate("CARGO_MANIFEST_DIR")
        );
        assert!(!is_about_one_crate("CARGO_TARGET_DIR") && !is_about_one_crate("CARGO_HOME"));
    }

    #[test]
    fn the_users_own_library_folders_stay() {
        let kept = |paths: &str| without_toolchains(paths.as_ref(), Path::new("/w/target"));
        let rustup = "/root/.rustup/toolchains/stable/lib";
        assert_eq!(kept(&format!("/w/target/debug/deps:{rustup}:")), None);
        assert_eq!(
            kept(&format!("/w/target/debug:/opt/llvm/lib:{rustup}")),
            Some("/opt/llvm/lib".into())
        );
    }

    #[test]
    fn this_workspace_is_found() {
        let workspace = Workspace::find().unwrap();
        assert!(workspace.root.join("Cargo.lock").exists());
        assert!(env::current_exe().unwrap().starts_with(&workspace.target));
    }
}
