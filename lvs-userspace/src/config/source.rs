//! The text of one configuration file and where things are in it.
//!
//! Every later stage speaks of the text in byte ranges ([`Span`]); only here are they turned into lines and
//! columns. Lines end at a line feed; a carriage return before it belongs to the line's blank end.

/// A byte range of the source text. Both ends lie on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this span to the end of `last`.
    pub(crate) const fn to(self, last: Self) -> Self {
        Self { start: self.start, end: last.end }
    }
}

/// A place as people count it: both from 1, the column in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// A file's name as the user gave it, its text, and where its lines start.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    name: String,
    text: String,
    starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Self {
        let after_feeds = text.match_indices('\n').map(|(at, _)| at + 1);
        let starts = std::iter::once(0).chain(after_feeds).collect();
        Self { name: name.to_owned(), text: text.to_owned(), starts }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The text of a span; empty if the span does not lie in this source.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text.get(span.start..span.end).unwrap_or_default()
    }

    pub(crate) fn line_count(&self) -> usize {
        self.starts.len()
    }

    /// The byte range of a line counted from 1, without its line end.
    pub(crate) fn line_span(&self, line: usize) -> Span {
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or(self.text.len());
        let next = self.starts.get(line).map_or(self.text.len(), |next| next - 1);
        let text = self.text.get(start..next).unwrap_or_default();
        Span::new(start, start + text.trim_end_matches('\r').len())
    }

    /// The line, counted from 1, that holds a byte offset.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    pub(crate) fn position(&self, offset: usize) -> Position {
        let line = self.line_of(offset);
        let before = self.before(offset);
        Position { line, column: before.chars().count() + 1 }
    }

    /// How far a line is indented, looked at from any offset in it; a tab counts to the next multiple of eight.
    pub(crate) fn indentation(&self, offset: usize) -> usize {
        let line = self.slice(self.line_span(self.line_of(offset)));
        let blanks = line.chars().take_while(|c| matches!(c, ' ' | '\t'));
        blanks.fold(0, |width, c| if c == '\t' { (width / 8 + 1) * 8 } else { width + 1 })
    }

    /// Whether nothing but blanks stands before an offset on its line.
    pub(crate) fn is_first_on_line(&self, offset: usize) -> bool {
        self.before(offset).trim_ascii_start().is_empty()
    }

    fn before(&self, offset: usize) -> &str {
        let start = self.line_span(self.line_of(offset)).start;
        self.text.get(start..offset).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("f", "aé b\r\n\n  x");
        assert_eq!(source.position(0), Position { line: 1, column: 1 });
        assert_eq!(source.position(4), Position { line: 1, column: 4 });
        assert_eq!(source.position(7), Position { line: 2, column: 1 });
        assert_eq!(source.position(10), Position { line: 3, column: 3 });
        assert_eq!(source.position(source.text().len()), Position { line: 3, column: 4 });
    }

    #[test]
    fn a_line_has_no_line_end() {
        let source = Source::new("f", "one\r\ntwo\n");
        let lines: Vec<&str> = (1..=3).map(|line| source.slice(source.line_span(line))).collect();
        assert_eq!(source.line_count(), 3);
        assert_eq!(lines, ["one", "two", ""]);
    }

    #[test]
    fn indentation_counts_tabs_as_eight() {
        let source = Source::new("f", "  a\n \tb\n\t\tc");
        assert_eq!(source.indentation(2), 2);
        assert_eq!(source.indentation(6), 8);
        assert_eq!(source.indentation(10), 16);
        assert!(source.is_first_on_line(2));
        assert!(!source.is_first_on_line(3));
    }
}
