//! The kernel: what it says of itself, and whether it takes the programs.

use std::path::Path;

use super::text;
use crate::{
    bpf::{Error, Mode, try_programs},
    control::capabilities,
    doctor::facts::Kernel,
};

/// Reads it, and what could not be looked at. The programs are those of a mode.
pub(super) fn read(mode: Mode) -> (Kernel, Option<(&'static str, String)>) {
    let missing = capabilities::missing(false).unwrap_or_default();
    let missing: Vec<(String, &str)> =
        missing.into_iter().map(|(capability, what)| (capability.to_string(), what)).collect();
    let mut unseen = None;
    let mut programs = None;
    if missing.is_empty() {
        match try_programs(mode) {
            Err(error @ Error::NoObject) => unseen = Some(("programs", error.to_string())),
            result => programs = Some(result.map_err(|error| error.to_string())),
        }
    } else {
        unseen = Some(("programs", "loading them takes capabilities that are missing".to_owned()));
    }
    let kernel = Kernel {
        release: text("/proc/sys/kernel/osrelease").unwrap_or_default(),
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
        jit: text("/proc/sys/net/core/bpf_jit_enable"),
        lockdown: text("/sys/kernel/security/lockdown").as_deref().and_then(lockdown),
        programs,
        missing,
        memory: memory(),
    };
    (kernel, unseen)
}

/// The word in brackets, unless that is `none`.
fn lockdown(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    let (word, _) = rest.split_once(']')?;
    (word != "none").then(|| word.to_owned())
}

/// The least of the bounds of the control groups that this process is in, and the path of that group.
fn memory() -> Option<(u64, String)> {
    let groups = text("/proc/self/cgroup")?;
    let path = groups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let bounds = Path::new(path).ancestors().filter_map(|group| {
        let group = group.to_str()?;
        let bound = text(format!("/sys/fs/cgroup{group}/memory.max"))?;
        Some((bound.parse().ok()?, group.to_owned()))
    });
    bounds.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lockdown_is_what_stands_in_brackets() {
        assert_eq!(lockdown("[none] integrity confidentiality"), None);
        let found = lockdown("none [integrity] confidentiality");
        assert_eq!(found.as_deref(), Some("integrity"));
        assert_eq!(lockdown(""), None);
    }
}
