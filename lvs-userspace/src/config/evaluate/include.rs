//! `include PATTERN` and its variants: what is asked for, and which files that means.
//!
//! As in `glob(3)`, `{a,b}` are alternatives, each with its own matches in order, and `\` takes the meaning off the
//! character behind it.

use std::path::{Path, PathBuf};

use super::{super::surroundings::Surroundings, line::BLANKS};

/// More alternatives in one pattern are no honest configuration's.
const ALTERNATIVES: usize = 1_000;

/// What keepalived takes for an error of an `include`; the rest it only logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Checks(u8);

impl Checks {
    /// What matches must be a file that can be read.
    pub(super) const READABLE: Self = Self(1);
    /// A file that is named must be there.
    pub(super) const MATCH: Self = Self(2);
    /// Some file must match the wildcards.
    pub(super) const WILDCARD: Self = Self(4);
    /// All alternatives in braces must be there.
    pub(super) const BRACES: Self = Self(8);
    const ALL: Self = Self(15);

    pub(super) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// What a line `include_check WORDS` makes of them; what cannot be understood is left to others to report.
    pub(super) fn set(self, words: &str) -> Self {
        let mut checks = self;
        let mut words = words.split_ascii_whitespace().peekable();
        if words.peek().is_none() {
            return Self::ALL;
        }
        for word in words {
            let (sign, name) = match word.as_bytes().first() {
                Some(b'+' | b'-') => word.split_at(1),
                _ => ("", word),
            };
            let check = match name {
                "read" | "readable" => Self::READABLE,
                "match" => Self::MATCH,
                "wildcard_match" => Self::WILDCARD,
                "brace_match" => Self::BRACES,
                _ => continue,
            };
            checks = match sign {
                "+" => checks.and(check),
                "-" => Self(checks.0 & !check.0),
                _ => Self::READABLE.and(check),
            };
        }
        checks
    }
}

/// An `include` line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Statement<'t> {
    pub(super) checks: Checks,
    pub(super) pattern: &'t str,
    /// Where the pattern begins.
    pub(super) at: usize,
}

impl<'t> Statement<'t> {
    /// Reads a line; blanks belong to the pattern.
    pub(super) fn read(text: &'t str) -> Option<Self> {
        let rest = text.strip_prefix("include")?;
        let (checks, rest) = match rest.as_bytes().first()? {
            b'r' => (Checks::READABLE, rest.get(1..)?),
            b'm' => (Checks::READABLE.and(Checks::MATCH), rest.get(1..)?),
            b'w' => (Checks::READABLE.and(Checks::MATCH).and(Checks::WILDCARD), rest.get(1..)?),
            b'b' => (Checks::READABLE.and(Checks::BRACES), rest.get(1..)?),
            b'a' => (Checks::ALL, rest.get(1..)?),
            _ => (Checks::default(), rest),
        };
        let pattern = rest.strip_prefix(BLANKS)?.trim_start_matches(BLANKS);
        Some(Self { checks, pattern, at: text.len() - pattern.len() })
    }
}

/// What a pattern means.
#[derive(Debug, Default)]
pub(super) struct Matches {
    pub(super) files: Vec<PathBuf>,
    /// The first file or folder that is named and not there, with the check that this fails.
    pub(super) missing: Option<(PathBuf, Checks)>,
}

/// Looks a pattern up, relative to a folder.
pub(super) fn find(pattern: &str, folder: &Path, surroundings: &dyn Surroundings) -> Matches {
    let mut matches = Matches::default();
    let alternatives = alternatives(pattern);
    let several = alternatives.len() > 1;
    for alternative in alternatives {
        let path = folder.join(&alternative);
        let text = path.to_string_lossy();
        let lacks = if is_wild(&alternative) {
            let found = surroundings.list(&as_glob(&text));
            let home = text.split(WILD).next().and_then(|fixed| fixed.rsplit_once('/'));
            let home = home.map_or(PathBuf::new(), |(home, _)| plain(&format!("{home}/")).into());
            let lacks = match (found.is_empty(), surroundings.exists(&home)) {
                (false, _) => None,
                (true, true) => Some((path.clone(), Checks::WILDCARD)),
                (true, false) => Some((home, Checks::MATCH)),
            };
            matches.files.extend(found);
            lacks
        } else {
            let path = PathBuf::from(plain(&text));
            let there = surroundings.exists(&path);
            let lacks = (!there).then(|| (path.clone(), Checks::MATCH));
            matches.files.extend(there.then_some(path));
            lacks
        };
        matches.missing = matches
            .missing
            .or(lacks.map(|(path, check)| (path, if several { Checks::BRACES } else { check })));
    }
    matches
}

const WILD: [char; 3] = ['*', '?', '['];

fn is_wild(pattern: &str) -> bool {
    let mut escaped = false;
    pattern.chars().any(|c| {
        let wild = !escaped && WILD.contains(&c);
        escaped = !escaped && c == '\\';
        wild
    })
}

/// Without the `\`.
fn plain(pattern: &str) -> String {
    let mut escaped = false;
    let keep = |c: &char| {
        escaped = !escaped && *c == '\\';
        !escaped
    };
    pattern.chars().filter(keep).collect()
}

/// In the words of the crate `glob`: `[x]` for `\x`, and no `**`, which means more there.
fn as_glob(pattern: &str) -> String {
    let mut text = String::new();
    let mut escaped = false;
    for c in pattern.chars() {
        match c {
            '\\' if !escaped => {
                escaped = true;
                continue;
            }
            '*' if !escaped && text.ends_with('*') => {}
            '^' if !escaped && text.ends_with('[') => text.push('!'),
            '*' | '?' | '[' | ']' if escaped => text.extend(['[', c, ']']),
            _ => text.push(c),
        }
        escaped = false;
    }
    text
}

/// A pattern for each choice between braces; at most [`ALTERNATIVES`].
fn alternatives(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    // The first of these is the next one, so they are taken from the end.
    while let Some(pattern) = open.pop() {
        match split(&pattern) {
            Some((before, choices, after)) if done.len() + open.len() < ALTERNATIVES => {
                let patterns = choices.iter().map(|choice| format!("{before}{choice}{after}"));
                open.extend(patterns.rev());
            }
            _ => done.push(pattern),
        }
        if done.len() >= ALTERNATIVES {
            break;
        }
    }
    done
}

/// Around and between the first braces.
fn split(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut escaped = false;
    let (mut depth, mut start, mut choice) = (0_usize, 0, 0);
    let mut choices = Vec::new();
    for (at, c) in pattern.char_indices() {
        if escaped {
            escaped = false;
            continue;
        }
        match c {
            '\\' => escaped = true,
            // `{}` means nothing, as in a shell.
            '{' if depth == 0 && pattern.get(at..).is_some_and(|rest| rest.starts_with("{}")) => {}
            '{' => {
                if depth == 0 {
                    (start, choice) = (at, at + 1);
                }
                depth += 1;
            }
            ',' if depth == 1 => {
                choices.push(pattern.get(choice..at)?);
                choice = at + 1;
            }
            '}' if depth == 1 => {
                choices.push(pattern.get(choice..at)?);
                return Some((pattern.get(..start)?, choices, pattern.get(at + 1..)?));
            }
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::super::surroundings::Memory;
    use super::*;

    #[test]
    fn the_letter_behind_include_is_what_is_checked() {
        let checks = |text| Statement::read(text).map(|statement| statement.checks.0);
        let table = [("include a", 0), ("includer a", 1), ("includem\ta", 3), ("includew a", 7)];
        for (text, bits) in table.into_iter().chain([("includeb a", 9), ("includea a", 15)]) {
            assert_eq!(checks(text), Some(bits), "{text}");
        }
        assert_eq!(Statement::read("include  a b").unwrap().pattern, "a b");
        assert_eq!(Statement::read("include  a b").unwrap().at, 9);
        for text in ["include", "includex a", "includer", "include_check", "includers a", "inc"] {
            assert_eq!(Statement::read(text), None, "{text}");
        }
    }

    #[test]
    fn include_check_sets_adds_and_takes_away() {
        let none = Checks::default();
        assert_eq!(none.set(""), Checks::ALL);
        assert_eq!(none.set("match"), Checks(3));
        assert_eq!(none.set("+match +wildcard_match"), Checks(6));
        assert_eq!(Checks::ALL.set("-brace_match nonsense"), Checks(7));
    }

    #[test]
    fn braces_are_alternatives_in_order() {
        for (pattern, all) in [
            ("a", &["a"][..]),
            ("{a,b}c", &["ac", "bc"]),
            ("x{a,b{c,}}{1,2}", &["xa1", "xa2", "xbc1", "xbc2", "xb1", "xb2"]),
            ("{}", &["{}"]),
            ("{a", &["{a"]),
            ("a}", &["a}"]),
            (r"\{a,b}", &[r"\{a,b}"]),
        ] {
            assert_eq!(alternatives(pattern), all, "{pattern}");
        }
        assert!(alternatives(&"{a,b}".repeat(100)).len() <= ALTERNATIVES);
        assert!(alternatives(&"{".repeat(1000)).len() == 1);
    }

    #[test]
    fn patterns_match_as_in_glob() {
        let mut memory = Memory::default();
        for name in ["d/b.conf", "d/a.conf", "d/.c.conf", "d/e/x.conf", "d/s*r", "d/f.txt"] {
            memory.files.insert(name.into(), Vec::new());
        }
        let find = |pattern: &str| find(pattern, Path::new("d"), &memory);
        let files = |pattern: &str| {
            let files = find(pattern).files;
            files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(files("*.conf"), "d/a.conf d/b.conf");
        assert_eq!(files("**.conf"), "d/a.conf d/b.conf");
        assert_eq!(files("[^a].conf"), "d/b.conf");
        assert_eq!(files("[!a].conf"), "d/b.conf");
        assert_eq!(files("*/*.conf"), "d/e/x.conf");
        assert_eq!(files(r"s\*r"), "d/s*r");
        assert_eq!(files(r"s\*?"), "d/s*r");
        assert_eq!(files("{f.txt,a*}"), "d/f.txt d/a.conf");
        assert_eq!(find("a.conf").missing, None);
        assert_eq!(find("q.conf").missing, Some(("d/q.conf".into(), Checks::MATCH)));
        assert_eq!(find("q*").missing, Some(("d/q*".into(), Checks::WILDCARD)));
        assert_eq!(find("q/*").missing, Some(("d/q/".into(), Checks::MATCH)));
        assert_eq!(find("{a.conf,q}").missing, Some(("d/q".into(), Checks::BRACES)));
        assert_eq!(files("/z"), "");
    }
}
