//! A finding: what was found, why it matters, and the command that mends it.

use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Notice,
    /// Something will not work for somebody, or later.
    Warning,
    /// Packets are or will be lost, or `xlvs run` will not start.
    Problem,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Purpose {
    /// It mends what was found.
    Mend,
    /// It shows more, where a person has to decide.
    Look,
}

/// A command that can be copied.
#[expect(clippy::struct_field_names, reason = "the word in the JSON form")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Command {
    /// What it is for.
    pub(crate) purpose: Purpose,
    /// Where it is to be run, if not here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) on: Option<String>,
    /// The command.
    pub(crate) command: String,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// What was looked at: the same in all versions.
    pub(crate) name: &'static str,
    /// How bad it is.
    pub(crate) severity: Severity,
    /// The interface, address or file that it is about, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<String>,
    /// What was found, with its value.
    pub(crate) found: String,
    /// Why it matters.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) why: String,
    /// What to do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) commands: Vec<Command>,
}

impl Finding {
    pub(super) fn new(severity: Severity, name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            severity,
            about: None,
            found: found.into(),
            why: String::new(),
            commands: Vec::new(),
        }
    }

    pub(super) fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Ok, name, found)
    }

    pub(super) fn notice(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Notice, name, found)
    }

    pub(super) fn warning(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Warning, name, found)
    }

    pub(super) fn problem(name: &'static str, found: impl Into<String>) -> Self {
        Self::new(Severity::Problem, name, found)
    }

    pub(super) fn about(mut self, what: impl Into<String>) -> Self {
        self.about = Some(what.into());
        self
    }

    pub(super) fn why(mut self, why: impl Into<String>) -> Self {
        self.why = why.into();
        self
    }

    /// Run here, this mends it.
    pub(super) fn mend(self, command: impl Into<String>) -> Self {
        self.command(Purpose::Mend, None, command.into())
    }

    /// Run on another host, this mends it.
    pub(super) fn mend_on(self, host: impl Into<String>, command: impl Into<String>) -> Self {
        self.command(Purpose::Mend, Some(host.into()), command.into())
    }

    /// This shows more.
    pub(super) fn look(self, command: impl Into<String>) -> Self {
        self.command(Purpose::Look, None, command.into())
    }

    fn command(mut self, purpose: Purpose, on: Option<String>, command: String) -> Self {
        self.commands.push(Command { purpose, on, command });
        self
    }
}

/// The first few of many, for a line: `A, B, C and 7 more`.
pub(super) fn some<T: ToString>(items: impl IntoIterator<Item = T>) -> String {
    const SHOWN: usize = 4;
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    let shown = items.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_are_not_all_named() {
        assert_eq!(some([1, 2]), "1, 2");
        assert_eq!(some(1..=6), "1, 2, 3, 4 and 2 more");
        assert_eq!(some::<u8>([]), "");
    }
}
