//! The sample configurations of keepalived, which a test reads: taken out of Debian's package, which is not installed.

use std::fs;

use anyhow::{Context as _, Result};

use crate::packages;
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// Puts the files of the package under `target/keepalived`. Without apt-get the test says that it is skipped.
pub(crate) fn ready(workspace: &Workspace) -> Result<()> {
    let folder = workspace.target("keepalived");
    if folder.join("usr/share/doc/keepalived/samples").is_dir() {
        return Ok(());
    }
    if shell::find("apt-get").is_none() || shell::find("dpkg-deb").is_none() {
        say(format_args!("no apt-get here: the samples of keepalived are not compared"));
        return Ok(());
    }
    fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    packages::download(workspace, "keepalived", &folder)?;
    let entries = fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            shell::run(workspace.command("dpkg-deb").arg("--extract").arg(&path).arg(&folder))?;
        }
    }
    Ok(())
}
