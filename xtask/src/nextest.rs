//! cargo-nextest: the test runner that is there, or one built for this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;
use crate::version::Version;
use crate::workspace::Workspace;

/// Built when there is none.
const VERSION: Version = Version::new(0, 9, 143);

/// Older ones do not know the keys that `.config/nextest.toml` uses.
const MINIMUM: Version = Version::new(0, 9, 100);

/// Finds or builds it.
pub(crate) fn ready(workspace: &Workspace) -> Result<PathBuf> {
    if let Some(path) = find(workspace) {
        return Ok(path);
    }
    shell::say(format_args!("building cargo-nextest {VERSION} (two to four minutes)"));
    let mut cargo = workspace.cargo();
    cargo
        .args(["install", "cargo-nextest", "--locked", "--force", "--no-default-features"])
        .args(["--features=default-no-update", &format!("--version={VERSION}")]);
    workspace.install(&mut cargo)?;
    find(workspace).context("cargo-nextest was built but does not run")
}

/// Runs the tests of a profile of `.config/nextest.toml`.
pub(crate) fn command(workspace: &Workspace, nextest: &Path, profile: &str) -> Command {
    let mut command = workspace.command(nextest);
    command.args(["nextest", "run", "--workspace", "--profile", profile]);
    command
}

fn find(workspace: &Workspace) -> Option<PathBuf> {
    let candidates = [Some(workspace.tool("cargo-nextest")), shell::find("cargo-nextest")];
    candidates.into_iter().flatten().find(|path| {
        let answer = shell::ask(Command::new(path).args(["nextest", "--version"]));
        let version = answer.ok().and_then(|answer| Version::find(&answer));
        version.is_some_and(|version| version >= MINIMUM)
    })
}
