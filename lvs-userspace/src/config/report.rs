//! The diagnostics of one file, ready to be shown: as rustc shows them, or one line each for logs.

use std::fmt;

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};

use serde_json::{Value, json};

use super::{
    code::Severity,
    diag::{Diagnostic, Label, Sink, Tally},
    source::{Source, Span},
};

/// Labels further apart than this many lines are shown as two excerpts.
const GAP: usize = 8;

/// No excerpt is made of longer lines: nobody could read it.
const EXCERPT: usize = 16 * 1024;

/// What was found in a configuration file, in the order of the file.
#[derive(Debug)]
pub struct Report {
    source: Box<Source>,
    diagnostics: Vec<Diagnostic>,
    tally: Tally,
}

impl Report {
    pub(crate) fn new(source: Source, sink: Sink) -> Self {
        let (diagnostics, tally) = sink.finish();
        Self { source: Box::new(source), diagnostics, tally }
    }

    /// Whether there is nothing to say about the file.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.diagnostics.is_empty()
    }

    /// How many errors there are, also those beyond the hundred that are shown.
    #[must_use]
    pub fn errors(&self) -> usize {
        self.tally.errors
    }

    /// Excerpts of the file with the spots underlined. Ends with a line feed unless it is empty.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let blocks = self.diagnostics.iter().map(|diagnostic| {
            let help = help_text(diagnostic).map(|help| normalize_untrusted_str(&help));
            let group = self.group(diagnostic, help.as_deref());
            renderer.render(&[group]) + "\n"
        });
        blocks.chain(self.rest().map(|(_, line)| line + "\n")).collect::<Vec<_>>().join("\n")
    }

    /// One line each, `file:line:column: warning[XLVS061]: …`, for logs and editors.
    pub fn lines(&self) -> impl Iterator<Item = (Severity, String)> {
        let lines = self.diagnostics.iter().map(|diagnostic| {
            let Diagnostic { code, message, .. } = diagnostic;
            let position = self.source.position(diagnostic.primary.span.start);
            let help = help_text(diagnostic).map(|help| format!("; {help}")).unwrap_or_default();
            let line = format!(
                "{}:{}:{}: {}[{}]: {message}{help}",
                self.source.name(),
                position.line,
                position.column,
                diagnostic.severity.as_str(),
                code.id(),
            );
            (diagnostic.severity, line)
        });
        lines.chain(self.rest())
    }

    /// The same as a JSON document: `diagnostics` with `file`, `line`, `column`, `end_line`, `end_column` (from 1, in
    /// characters, the end behind the last one), `severity`, `code`, `message`, `help` and `labels`, and the counts.
    #[must_use]
    pub fn json(&self) -> Value {
        let spot = |label: &Label| {
            let start = self.source.position(label.span.start);
            let end = self.source.position(label.span.end);
            json!({
                "file": self.source.name(),
                "line": start.line,
                "column": start.column,
                "end_line": end.line,
                "end_column": end.column,
                "text": label.text,
            })
        };
        let diagnostics = self.diagnostics.iter().map(|diagnostic| {
            let mut entry = spot(&diagnostic.primary);
            entry["severity"] = diagnostic.severity.as_str().into();
            entry["code"] = diagnostic.code.id().into();
            entry["message"] = diagnostic.message.clone().into();
            entry["help"] = help_text(diagnostic).into();
            entry["labels"] = diagnostic.others.iter().map(spot).collect();
            entry
        });
        json!({
            "diagnostics": diagnostics.collect::<Vec<_>>(),
            "errors": self.tally.errors,
            "warnings": self.tally.warnings,
            "notices": self.tally.notices,
        })
    }

    /// How many diagnostics of a severity there are.
    #[must_use]
    pub const fn count(&self, severity: Severity) -> usize {
        self.tally.of(severity)
    }

    /// What was counted only.
    fn rest(&self) -> impl Iterator<Item = (Severity, String)> {
        Severity::ALL.into_iter().filter_map(|severity| {
            let of_it = |diagnostic: &&Diagnostic| diagnostic.severity == severity;
            let shown = self.diagnostics.iter().filter(of_it).count();
            let rest = self.tally.of(severity) - shown;
            let name = self.source.name();
            (rest > 0)
                .then(|| (severity, format!("{name}: {rest} more of severity {}", severity.as_str())))
        })
    }

    fn group<'a>(&'a self, diagnostic: &'a Diagnostic, help: Option<&'a str>) -> Group<'a> {
        let severity = diagnostic.severity;
        let level = match severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Notice => Level::NOTE,
        };
        let title = level
            .with_name(severity.as_str())
            .primary_title(diagnostic.message.as_str())
            .id(diagnostic.code.id());
        let mut group = Group::with_title(title);
        for excerpt in self.excerpts(diagnostic) {
            group = match self.snippet(&excerpt) {
                Some(snippet) => group.element(snippet),
                None => group.element(self.origin(diagnostic.primary.span)),
            };
        }
        match help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// The labels, those near each other together, those with the primary one first.
    fn excerpts<'a>(&self, diagnostic: &'a Diagnostic) -> Vec<Excerpt<'a>> {
        let primary = (AnnotationKind::Primary, &diagnostic.primary);
        let others = diagnostic.others.iter().map(|label| (AnnotationKind::Context, label));
        let mut labels: Vec<_> = std::iter::once(primary).chain(others).collect();
        labels.sort_by_key(|(_, label)| label.span.start);
        let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
        for (kind, label) in labels {
            let first = self.source.line_of(label.span.start);
            let last = self.source.line_of(label.span.end);
            match excerpts.last_mut() {
                Some(excerpt) if first <= excerpt.last + GAP => {
                    excerpt.last = excerpt.last.max(last);
                    excerpt.labels.push((kind, label));
                }
                _ => excerpts.push(Excerpt { first, last, labels: vec![(kind, label)] }),
            }
        }
        excerpts.sort_by_key(|excerpt| {
            !excerpt.labels.iter().any(|(kind, _)| matches!(kind, AnnotationKind::Primary))
        });
        excerpts
    }

    /// Only the lines in question are given to the renderer, whose work grows with the text.
    fn snippet<'a>(
        &'a self,
        excerpt: &Excerpt<'a>,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let start = self.source.line_span(excerpt.first).start;
        let end = self.source.line_span(excerpt.last).end;
        if end - start > EXCERPT {
            return None;
        }
        let annotations = excerpt.labels.iter().map(|(kind, label)| {
            let range = label.span.start.min(end) - start..label.span.end.min(end) - start;
            let text = (!label.text.is_empty()).then_some(label.text.as_str());
            kind.span(range).label(text)
        });
        let snippet = Snippet::source(self.source.slice(Span::new(start, end)))
            .path(self.source.name())
            .line_start(excerpt.first)
            .annotations(annotations);
        Some(snippet)
    }

    fn origin(&self, span: Span) -> Origin<'_> {
        let position = self.source.position(span.start);
        Origin::path(self.source.name()).line(position.line).char_column(position.column)
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&Source, &[Diagnostic]) {
        (&self.source, &self.diagnostics)
    }
}

/// How many errors there are in which file.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} error{plural} in {}", self.source.name())
    }
}

/// Lines of the file and the labels on them.
struct Excerpt<'a> {
    first: usize,
    last: usize,
    labels: Vec<(AnnotationKind, &'a Label)>,
}

fn help_text(diagnostic: &Diagnostic) -> Option<String> {
    let places = match diagnostic.repeats {
        0 => None,
        1 => Some("the same holds in one further place".to_owned()),
        more => Some(format!("the same holds in {more} further places")),
    };
    let parts: Vec<String> = diagnostic.help.clone().into_iter().chain(places).collect();
    (!parts.is_empty()).then(|| parts.join("; "))
}
