//! Debian packages: which are missing, and getting them with apt-get when we may.

use std::path::Path;
use std::process::Command;
use std::sync::Once;

use anyhow::{Result, bail};

use crate::shell;
use crate::workspace::Workspace;

/// A Debian package and, if it is wanted for one command, that command: then it does not matter
/// how the command came to this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Package {
    name: &'static str,
    command: Option<&'static str>,
}

impl Package {
    /// Files that only the package manager knows about.
    pub(crate) const fn files(name: &'static str) -> Self {
        Self { name, command: None }
    }

    /// A package for a command.
    pub(crate) const fn command(name: &'static str, command: &'static str) -> Self {
        Self { name, command: Some(command) }
    }
}

/// The names of those that are not there, in order, each once.
pub(crate) fn missing(packages: &[Package]) -> Vec<&'static str> {
    let is_there = |package: &Package| match package.command {
        Some(command) => shell::find(command).is_some(),
        None => is_installed(package.name),
    };
    let mut names = Vec::new();
    for package in packages.iter().filter(|package| !is_there(package)) {
        if !names.contains(&package.name) {
            names.push(package.name);
        }
    }
    names
}

fn is_installed(name: &str) -> bool {
    let mut query = Command::new("dpkg-query");
    query.args(["--show", "--showformat=${db:Status-Status}", name]);
    shell::ask(&mut query).is_ok_and(|status| status == "installed")
}

/// Whether [`install`] can work here at all.
pub(crate) fn can_install() -> bool {
    shell::is_root() && shell::find("apt-get").is_some()
}

/// Installs packages by name, in their newest version.
pub(crate) fn install(workspace: &Workspace, names: &[&str]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if !can_install() {
        bail!(by_hand(names));
    }
    shell::say(format_args!("installing packages: {}", names.join(" ")));
    update(workspace);
    shell::run(
        apt_get(workspace)
            // Nothing that the user has may go in exchange.
            .args(["install", "--yes", "--no-install-recommends", "--no-remove"])
            .args(names),
    )
}

/// Brings the package lists up to date, once.
fn update(workspace: &Workspace) {
    static LISTS: Once = Once::new();
    LISTS.call_once(|| {
        // One broken entry among the sources must not be the end: what is known may do.
        if let Err(error) = shell::run(apt_get(workspace).arg("update")) {
            shell::say(format_args!("warning: {error:#}; going on with the lists that are here"));
        }
    });
}

/// Puts the file of a package into a folder, without installing it. That takes no root, but the lists may be old then.
pub(crate) fn download(workspace: &Workspace, name: &str, folder: &Path) -> Result<()> {
    if can_install() {
        update(workspace);
    }
    shell::run(apt_get(workspace).current_dir(folder).args(["download", name]))
}

fn apt_get(workspace: &Workspace) -> Command {
    let mut command = workspace.command("apt-get");
    // Another apt, such as the nightly upgrade, is waited for.
    command.args(["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3"]);
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// What a person types to get the packages that [`install`] cannot get.
pub(crate) fn by_hand(names: &[&str]) -> String {
    let names = names.join(" ");
    format!(
        "packages are missing and installing them takes root and apt-get; run\n    \
         sudo apt-get update\n    \
         sudo apt-get install --no-install-recommends {names}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_named_and_once() {
        let absent = Package::command("no-such-package", "no-such-command");
        let shell = Package::command("dash", "sh");
        let files = Package::files("no-such-files");
        assert_eq!(missing(&[absent, shell, files, absent]), ["no-such-package", "no-such-files"]);
        assert!(missing(&[shell]).is_empty());
    }

    #[test]
    fn the_line_for_the_person_is_complete() {
        let text = by_hand(&["bpftool", "ethtool"]);
        assert!(text.ends_with("sudo apt-get install --no-install-recommends bpftool ethtool"));
    }
}
