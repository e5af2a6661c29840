//! One diagnostic, and the sink that all stages push theirs into.
//!
//! No stage fails: it says what is wrong and goes on with what is left, so that one run shows everything. The
//! sink bounds how much is kept, because a file of garbage can be wrong in millions of places.

use std::collections::BTreeMap;

use super::{
    code::{Code, Severity},
    policy::Policy,
    source::Span,
};

/// So many diagnostics of one severity are kept; the rest are only counted. Nobody reads more in one go.
const KEPT: usize = 100;

/// A longer word is cut when it is quoted.
const QUOTED: usize = 60;

/// A place and what is to be said about it; without text the place is only underlined.
#[derive(Debug, Clone)]
pub(crate) struct Label {
    pub(crate) span: Span,
    pub(crate) text: String,
}

/// One finding. Text, help and labels are lower-case sentences without a full stop.
#[derive(Debug, Clone)]
pub(crate) struct Diagnostic {
    pub(crate) code: Code,
    /// The code's own, until the sink has made of it what the user wants.
    pub(crate) severity: Severity,
    pub(crate) message: String,
    pub(crate) primary: Label,
    pub(crate) others: Vec<Label>,
    pub(crate) help: Option<String>,
    /// Further places with the same notice.
    pub(crate) repeats: usize,
}

impl Diagnostic {
    pub(crate) fn new(code: Code, span: Span, message: impl Into<String>) -> Self {
        let primary = Label { span, text: String::new() };
        Self {
            code,
            severity: code.severity(),
            message: message.into(),
            primary,
            others: Vec::new(),
            help: None,
            repeats: 0,
        }
    }

    /// Says something at the spot itself.
    pub(crate) fn label(mut self, text: impl Into<String>) -> Self {
        self.primary.text = text.into();
        self
    }

    /// Points at another spot too.
    pub(crate) fn also(mut self, span: Span, text: impl Into<String>) -> Self {
        self.others.push(Label { span, text: text.into() });
        self
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    /// As [`help`](Self::help), if there is something to say.
    pub(crate) fn maybe_help(mut self, text: Option<String>) -> Self {
        self.help = text.or(self.help);
        self
    }
}

/// How many diagnostics of each severity there are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) errors: usize,
    pub(crate) warnings: usize,
    pub(crate) notices: usize,
}

impl Tally {
    pub(crate) const fn of(&self, severity: Severity) -> usize {
        match severity {
            Severity::Error => self.errors,
            Severity::Warning => self.warnings,
            Severity::Notice => self.notices,
        }
    }

    /// One less of a severity.
    pub(crate) const fn remove(&mut self, severity: Severity) {
        let count = self.of_mut(severity);
        *count = count.saturating_sub(1);
    }

    const fn of_mut(&mut self, severity: Severity) -> &mut usize {
        match severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
            Severity::Notice => &mut self.notices,
        }
    }
}

/// Collects the diagnostics of one file.
#[derive(Debug, Default)]
pub(crate) struct Sink {
    policy: Policy,
    kept: Vec<Diagnostic>,
    tally: Tally,
    /// Of errors that are not warnings made errors.
    wrong: usize,
    lists: BTreeMap<Code, List>,
}

/// Words that share one notice, with how often each came.
#[derive(Debug)]
struct List {
    first: Span,
    words: Vec<(String, usize)>,
    /// Places with further words.
    more: usize,
}

impl Sink {
    pub(crate) fn new(policy: &Policy) -> Self {
        Self { policy: policy.clone(), ..Self::default() }
    }

    /// Takes a diagnostic. A notice is kept once per file, with the number of further places.
    pub(crate) fn push(&mut self, mut diagnostic: Diagnostic) {
        let Some(severity) = self.policy.severity(diagnostic.code) else { return };
        self.wrong += usize::from(diagnostic.code.severity() == Severity::Error);
        diagnostic.severity = severity;
        if severity == Severity::Notice
            && let Some(first) = self.kept.iter_mut().find(|kept| kept.code == diagnostic.code)
        {
            first.repeats += 1;
            return;
        }
        if !self.is_full(severity) {
            self.kept.push(diagnostic);
        }
        *self.tally.of_mut(severity) += 1;
    }

    /// Takes a word for a notice that lists such words: [`Code::NotActedOn`] or [`Code::Foreign`].
    pub(crate) fn list(&mut self, code: Code, word: &str, span: Span) {
        let list = self.lists.entry(code).or_insert_with(|| List {
            first: span,
            words: Vec::new(),
            more: 0,
        });
        if span.start() < list.first.start() {
            list.first = span;
        }
        let full = list.words.len() >= KEPT;
        match list.words.iter_mut().find(|(known, _)| known == word) {
            Some((_, count)) => *count += 1,
            None if full => list.more += 1,
            None => list.words.push((word.to_owned(), 1)),
        }
    }

    /// Whether a further diagnostic would only be counted, so that its text need not be worked out.
    pub(crate) const fn is_full(&self, severity: Severity) -> bool {
        self.tally.of(severity) >= KEPT
    }

    /// Whether a diagnostic of this code would only be counted, or not even that.
    pub(crate) fn only_counts(&self, code: Code) -> bool {
        self.policy.severity(code).is_none_or(|severity| self.is_full(severity))
    }

    /// Counts a diagnostic that is not worth working out.
    pub(crate) fn count(&mut self, code: Code) {
        if let Some(severity) = self.policy.severity(code) {
            self.wrong += usize::from(code.severity() == Severity::Error);
            *self.tally.of_mut(severity) += 1;
        }
    }

    pub(crate) const fn errors(&self) -> usize {
        self.tally.errors
    }

    /// Whether something could not be read, so that more would seem to be missing.
    pub(crate) const fn is_broken(&self) -> bool {
        self.wrong > 0
    }

    /// What was kept, in the order of the file, and how much there was altogether.
    pub(crate) fn finish(mut self) -> (Vec<Diagnostic>, Tally) {
        for (code, list) in std::mem::take(&mut self.lists) {
            let more = (list.more > 0).then(|| format!("and {} more", list.more));
            let words: Vec<String> = list.words.iter().map(counted).chain(more).collect();
            let (message, help) = match code {
                Code::Foreign => (
                    "skipped, for keepalived to go on with",
                    "nothing in them concerns xlvs; keepalived can run beside it for VRRP (`keepalived --vrrp`, or it does the services too)",
                ),
                _ => (
                    "understood, not acted on",
                    "`xlvs config explain KEYWORD` says what each means, `xlvs config show` shows it",
                ),
            };
            let message = format!("{message}: {}", words.join(", "));
            self.push(Diagnostic::new(code, list.first, message).help(help));
        }
        self.kept.sort_by_key(|diagnostic| diagnostic.primary.span.start());
        (self.kept, self.tally)
    }
}

fn counted((word, count): &(String, usize)) -> String {
    let word = quoted(word);
    if *count == 1 { word } else { format!("{word} ({count} times)") }
}

/// A word of the user's in backquotes: cut if it is long, control characters made visible.
pub(crate) fn quoted(word: &str) -> String {
    let shown: String = word.chars().take(QUOTED).flat_map(visible_char).collect();
    let rest = if word.chars().nth(QUOTED).is_some() { "…" } else { "" };
    format!("`{shown}{rest}`")
}

/// Text in which control characters are made visible, such as a file's name that is part of a line.
pub(crate) fn visible(text: &str) -> String {
    text.chars().flat_map(visible_char).collect()
}

fn visible_char(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = if c.is_control() { None } else { Some(c) };
    escaped.into_iter().flatten().chain(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(code: Code, start: usize) -> Diagnostic {
        Diagnostic::new(code, Span::new(start, start + 1), "x")
    }

    #[test]
    fn the_order_is_the_files() {
        let mut sink = Sink::default();
        sink.push(at(Code::BadPort, 9));
        sink.push(at(Code::BadNumber, 3));
        let (kept, _) = sink.finish();
        assert_eq!(
            kept.iter().map(|d| d.code).collect::<Vec<_>>(),
            [Code::BadNumber, Code::BadPort]
        );
    }

    #[test]
    fn a_notice_is_kept_once_and_counted() {
        let mut sink = Sink::default();
        for start in 0..3 {
            sink.push(at(Code::AliasSpelling, start));
        }
        let (kept, tally) = sink.finish();
        assert_eq!((kept.len(), kept[0].repeats, tally.notices), (1, 2, 1));
    }

    #[test]
    fn errors_beyond_the_bound_are_only_counted() {
        let mut sink = Sink::default();
        for start in 0..KEPT + 7 {
            sink.push(at(Code::BadPort, start));
        }
        sink.push(at(Code::Repeated, 0));
        let (kept, tally) = sink.finish();
        assert_eq!((kept.len(), tally.errors, tally.warnings), (KEPT + 1, KEPT + 7, 1));
    }

    #[test]
    fn a_list_of_words_has_an_end() {
        let mut sink = Sink::default();
        for number in 0..KEPT + 7 {
            sink.list(Code::Foreign, &format!("word{number}"), Span::new(number, number + 1));
        }
        let (kept, _) = sink.finish();
        assert!(kept[0].message.ends_with("`word99`, and 7 more"), "{}", kept[0].message);
    }

    #[test]
    fn quoting_hides_nothing_and_stays_short() {
        assert_eq!(quoted("a\u{1b}[1mb"), "`a\\u{1b}[1mb`");
        assert_eq!(quoted(&"x".repeat(100)), format!("`{}…`", "x".repeat(QUOTED)));
    }
}
