//! What one run owns: a name that no other run has, and a folder of that name.
//!
//! The names carry the process id, so that tests running at the same time never meet and a later
//! run can tell what belongs to nobody any more: [`Scratch::new`] first removes the namespaces,
//! folders and mounts of processes that are gone. Without that, a test that was killed would keep
//! its programs loaded for as long as its bpffs stayed mounted.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result};
use nix::mount::{MntFlags, umount2};

use crate::netns;

/// On a tmpfs, outside every folder that the machine's owner may have closed to other users.
const FOLDER: &str = "/run/xlvs-tests";
const PREFIX: &str = "xlvs-";

/// A unique name and a folder; the folder goes, with all that is mounted in it, on drop.
#[derive(Debug)]
pub struct Scratch {
    name: String,
    folder: PathBuf,
}

impl Scratch {
    /// A new name and folder, after a sweep of what dead processes left behind.
    pub fn new() -> Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let folder = Path::new(FOLDER).join(&name);
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        Ok(Self { name, folder })
    }

    /// The unique name, short enough to be the head of a namespace's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A path inside the folder.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file into the folder and returns its path.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        remove(&self.folder);
    }
}

/// Unmounts all that is mounted at or below a folder, then removes the folder.
pub fn remove(folder: &Path) {
    // The last mounted first: mounts may lie inside each other.
    for mount in mounts_below(folder).iter().rev() {
        let _ = umount2(mount, MntFlags::MNT_DETACH);
    }
    fs::remove_dir_all(folder).ok();
}

/// The mount points at or below a folder, in the order in which they were mounted.
#[must_use]
pub fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(PathBuf::from)
        .filter(|mount| mount.starts_with(folder))
        .collect()
}

fn sweep() {
    for name in netns::names().iter().filter(|name| is_orphan(name)) {
        netns::delete(name);
    }
    let Ok(folders) = fs::read_dir(FOLDER) else { return };
    for entry in folders.flatten() {
        if entry.file_name().to_str().is_some_and(is_orphan) {
            remove(&entry.path());
        }
    }
}

fn is_orphan(name: &str) -> bool {
    owner(name).is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists())
}

/// The process that a name of ours belongs to: `xlvs-PID-NUMBER`, whatever follows. The kernel
/// tests put a letter before the process id.
fn owner(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix(PREFIX)?.split('-');
    let process = parts.next()?;
    let process = process.strip_prefix('k').unwrap_or(process).parse().ok()?;
    parts.next()?.parse::<u32>().ok()?;
    Some(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_shape_have_an_owner() {
        assert_eq!(owner("xlvs-4711-0-client"), Some(4711));
        assert_eq!(owner("xlvs-4711-0"), Some(4711));
        assert_eq!(owner("xlvs-k4711-0"), Some(4711));
        for other in ["xlvs-demo-client", "xlvs-4711", "xlvs-4711-lb", "web-1-2", "eth0"] {
            assert_eq!(owner(other), None, "{other}");
        }
    }

    #[test]
    fn a_living_process_is_not_swept() {
        assert!(!is_orphan(&format!("xlvs-{}-0-client", std::process::id())));
        assert!(is_orphan("xlvs-4294967295-0-client"));
    }
}
