//! Version numbers as programs print them.

use std::fmt;

/// `major.minor.patch`; what follows (`-nightly`, `-dev`) does not matter here.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct Version {
    pub(crate) major: u32,
    pub(crate) minor: u32,
    pub(crate) patch: u32,
}

impl Version {
    pub(crate) const fn new(major: u32, minor: u32, patch: u32) -> Self {
        Self { major, minor, patch }
    }

    /// Reads `1.97.0-nightly`, `0.13.0`, `1.88`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (numbers, _) = text.split_once(['-', '+']).unwrap_or((text, ""));
        let mut numbers = numbers.split('.').map(str::parse);
        let mut next = || numbers.next().transpose().ok();
        let (major, minor, patch) = (next()??, next()??, next()?.unwrap_or(0));
        next()?.is_none().then_some(Self { major, minor, patch })
    }

    /// The first version among the words of a `--version` line: `bpf-linker 0.13.0`.
    pub(crate) fn find(text: &str) -> Option<Self> {
        text.split_whitespace().find_map(Self::parse)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_programs_print_is_read() {
        for (text, version) in [
            ("bpf-linker 0.13.0\n", Some(Version::new(0, 13, 0))),
            ("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)", Some(Version::new(0, 9, 143))),
            ("rustc 1.97.0-nightly (abc 2026-04-14)", Some(Version::new(1, 97, 0))),
            ("1.88", Some(Version::new(1, 88, 0))),
            ("tool 1.2.3.4", None),
            ("tool v1 2026-04-14 1.x", None),
            ("", None),
        ] {
            assert_eq!(Version::find(text), version, "{text}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(Version::new(1, 100, 0) > Version::new(1, 88, 0));
        assert!(Version::new(0, 9, 99) < Version::new(0, 9, 143));
    }
}
