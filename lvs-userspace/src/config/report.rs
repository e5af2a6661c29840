//! The diagnostics of one configuration, ready to be shown: as rustc shows them, or one line each for logs.
//!
//! What came in by an `include` or for a variable is shown with the line that included it, or the definition.

use std::{borrow::Cow, collections::HashSet, fmt};

use annotate_snippets::{
    AnnotationKind, Group, Level, Origin, Renderer, Snippet, normalize_untrusted_str,
};
use serde_json::{Value, json};

use super::{
    code::{Code, Severity},
    diag::{Diagnostic, Label, Sink, Tally, visible},
    source::{Place, Source},
};

/// Labels further apart than this many lines are shown as two excerpts.
const GAP: usize = 8;

/// So many includes and variables are shown for one diagnostic, the nearest ones.
const WAYS: usize = 8;

/// No excerpt is made of longer lines: nobody could read it.
const EXCERPT: usize = 16 * 1024;

/// What was found in a configuration, in the order of its files.
#[derive(Debug)]
pub struct Report {
    source: Box<Source>,
    diagnostics: Vec<Diagnostic>,
    tally: Tally,
}

impl Report {
    pub(crate) fn new(source: Source, sink: Sink) -> Self {
        let (mut diagnostics, mut tally) = sink.finish();
        // By file, and there by line: the order of the text is another one once it is expanded.
        diagnostics.sort_by_key(|diagnostic| {
            let span = diagnostic.primary.span;
            (source.locate(span).start, !span.is_of_files())
        });
        // That `${NAME}` is no address either need not be said when it is not defined.
        let place = |diagnostic: &Diagnostic| source.locate(diagnostic.primary.span);
        let left = diagnostics.iter().filter(|found| found.code.leaves_a_variable()).map(place);
        let left: Vec<Place> = left.collect();
        let open = |found: &&Diagnostic| found.code == Code::UnmatchedQuote;
        let open: Vec<Place> = diagnostics.iter().filter(open).map(place).collect();
        join_unreplaced(&mut diagnostics, &mut tally, place);
        // A line that is repeated is not wrong each time.
        let mut seen = HashSet::new();
        diagnostics.retain(|found| {
            let new = seen.insert((found.code, place(found), found.message.clone()));
            if !new {
                tally.remove(found.severity);
            }
            new
        });
        let before = diagnostics.len();
        diagnostics.retain(|found| {
            // What a quote without its end holds was not meant for one word.
            let holds = |open: &Place| {
                let here = place(found);
                open.start <= here.end && here.start <= open.end
            };
            if found.code != Code::UnmatchedQuote
                && found.severity == Severity::Error
                && open.iter().any(holds)
            {
                return false;
            }
            let follows = |left: &Place| {
                let whole = place(found);
                whole.start <= left.start && left.end <= whole.end
            };
            let error = found.code.severity() == Severity::Error;
            !error || !found.code.is_about_a_word() || !left.iter().any(follows)
        });
        tally.errors -= before - diagnostics.len();
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
            let place = self.source.locate(diagnostic.primary.span);
            let position = self.source.position(place);
            let help = help_text(diagnostic).map(|help| format!("; {help}")).unwrap_or_default();
            let from = self.ways(diagnostic).map(|(place, why)| {
                format!(
                    " ({why}: {}:{})",
                    visible(self.source.file_name(place)),
                    self.source.line(place)
                )
            });
            let from: String = from.collect();
            let line = format!(
                "{}:{}:{}: {}[{}]: {message}{from}{help}",
                visible(self.source.file_name(place)),
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
        let spot = |place: Place, text: &str| {
            let start = self.source.position(place);
            let end = self.source.position(Place::new(place.end, place.end));
            json!({
                "file": self.source.file_name(place),
                "line": start.line,
                "column": start.column,
                "end_line": end.line,
                "end_column": end.column,
                "text": text,
            })
        };
        let diagnostics = self.diagnostics.iter().map(|diagnostic| {
            let label = |label: &Label| spot(self.source.locate(label.span), &label.text);
            let ways = self.ways(diagnostic).map(|(place, why)| spot(place, &why));
            let labels: Vec<Value> = diagnostic.others.iter().map(label).chain(ways).collect();
            let further = json!({
                "severity": diagnostic.severity.as_str(),
                "code": diagnostic.code.id(),
                "message": diagnostic.message,
                "help": help_text(diagnostic),
                "labels": labels,
            });
            let mut entry = label(&diagnostic.primary);
            if let (Value::Object(entry), Value::Object(further)) = (&mut entry, further) {
                entry.extend(further);
            }
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
            let name = visible(self.source.name());
            (rest > 0).then(|| {
                (severity, format!("{name}: {rest} more of severity {}", severity.as_str()))
            })
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
                None => group.element(self.origin(excerpt.first.1)),
            };
        }
        match help {
            Some(help) => group.element(Level::HELP.message(help)),
            None => group,
        }
    }

    /// How what is complained of came to where it is, with the place to look at.
    fn ways(&self, diagnostic: &Diagnostic) -> impl Iterator<Item = (Place, String)> {
        let ways = self.source.ways_to(diagnostic.primary.span);
        ways.take(WAYS).map(|way| (way.place, way.why.to_string()))
    }

    /// The labels, those near each other together, those with the primary one first.
    fn excerpts<'a>(&self, diagnostic: &'a Diagnostic) -> Vec<Excerpt<'a>> {
        let primary = (AnnotationKind::Primary, &diagnostic.primary);
        let others = diagnostic.others.iter().map(|label| (AnnotationKind::Context, label));
        let labels = std::iter::once(primary).chain(others).map(|(kind, label)| Mark {
            kind,
            place: self.source.locate(label.span),
            text: Cow::Borrowed(&*label.text),
        });
        let ways = self.ways(diagnostic).map(|(place, why)| Mark {
            kind: AnnotationKind::Context,
            place,
            text: Cow::Owned(why),
        });
        let mut marks: Vec<_> = labels.chain(ways).collect();
        marks.sort_by_key(|mark| mark.place.start);
        let mut excerpts: Vec<Excerpt<'_>> = Vec::new();
        for mark in marks {
            let Place { start, end } = mark.place;
            let line = |offset| (self.source.line(Place::new(offset, offset)), offset);
            let (first, last) = (line(start), line(end));
            let near = |excerpt: &&mut Excerpt<'_>| {
                self.source.same_file(excerpt.first.1, start) && first.0 <= excerpt.last.0 + GAP
            };
            match excerpts.last_mut().filter(near) {
                Some(excerpt) => {
                    excerpt.last = excerpt.last.max(last);
                    excerpt.marks.push(mark);
                }
                None => excerpts.push(Excerpt { first, last, marks: vec![mark] }),
            }
        }
        excerpts.sort_by_key(|excerpt| {
            !excerpt.marks.iter().any(|mark| matches!(mark.kind, AnnotationKind::Primary))
        });
        excerpts
    }

    /// Only the lines in question are given to the renderer, whose work grows with the text.
    fn snippet<'a>(
        &'a self,
        excerpt: &Excerpt<'a>,
    ) -> Option<Snippet<'a, annotate_snippets::Annotation<'a>>> {
        let lines = self.source.lines(excerpt.first.1, excerpt.last.1);
        let Place { start, end } = lines;
        if end - start > EXCERPT {
            return None;
        }
        let annotations = excerpt.marks.iter().map(|mark| {
            let range = mark.place.start.min(end) - start..mark.place.end.min(end) - start;
            let text = (!mark.text.is_empty()).then(|| mark.text.clone());
            mark.kind.span(range).label(text)
        });
        let snippet = Snippet::source(self.source.raw().get(start..end).unwrap_or_default())
            .path(visible(self.source.file_name(lines)))
            .line_start(excerpt.first.0)
            .annotations(annotations);
        Some(snippet)
    }

    fn origin(&self, offset: usize) -> Origin<'_> {
        let place = Place::new(offset, offset);
        let position = self.source.position(place);
        Origin::path(visible(self.source.file_name(place)))
            .line(position.line)
            .char_column(position.column)
    }

    #[cfg(test)]
    pub(crate) fn parts(&self) -> (&Source, &[Diagnostic]) {
        (&self.source, &self.diagnostics)
    }
}

/// A value that is wrong because its `$NAME` stays as it is has one message, with the reason as its help.
fn join_unreplaced(
    diagnostics: &mut Vec<Diagnostic>,
    tally: &mut Tally,
    place: impl Fn(&Diagnostic) -> Place,
) {
    let bare = |found: &&Diagnostic| found.code == Code::NotReplaced;
    let causes: Vec<(Place, Diagnostic)> =
        diagnostics.iter().filter(bare).map(|cause| (place(cause), cause.clone())).collect();
    let mut joined = HashSet::new();
    for found in diagnostics.iter_mut().filter(|found| found.code.is_about_a_word()) {
        let whole = place(found);
        let inside = |(cause, _): &&(Place, Diagnostic)| {
            whole.start <= cause.start && cause.end <= whole.end
        };
        if let Some((cause, why)) = causes.iter().find(inside) {
            let help = why.help.as_deref().unwrap_or_default();
            found.help = Some(format!("{}; {help}", why.message));
            joined.insert(*cause);
        }
    }
    diagnostics.retain(|found| {
        let keep = found.code != Code::NotReplaced || !joined.contains(&place(found));
        if !keep {
            tally.remove(found.severity);
        }
        keep
    });
}

/// How many errors there are in which file.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.errors();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} error{plural} in {}", visible(self.source.name()))
    }
}

/// A place and what is said of it.
struct Mark<'a> {
    kind: AnnotationKind,
    place: Place,
    text: Cow<'a, str>,
}

/// Lines of a file and the labels on them.
struct Excerpt<'a> {
    /// The number of the line, and an offset in it.
    first: (usize, usize),
    last: (usize, usize),
    marks: Vec<Mark<'a>>,
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
