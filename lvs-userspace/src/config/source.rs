//! The text of a configuration, where its lines are in which file, and where what was expanded comes from.
//!
//! All stages speak of the text in byte ranges ([`Span`]). A configuration of one file without includes and variables
//! is that file's text. Otherwise `evaluate` has made the text, of [`Part`]s that know their [`Place`] in a file, and
//! of [`Way`]s that say how they came here: included from a line, or standing for a variable. Only here spans are
//! turned into files, lines and columns. Lines end at a line feed; a carriage return before it belongs to the line's
//! blank end.

use std::{fmt, ops::Range, sync::Arc};

/// Spans from here on are of the files, not of the expanded text.
const FILES: usize = 1 << 31;

/// A byte range of the text. Both ends lie on character boundaries. There are millions of them, so that they are small: texts
/// are bounded far below 2 GiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    pub(crate) const fn start(self) -> usize {
        self.start as usize
    }

    pub(crate) const fn end(self) -> usize {
        self.end as usize
    }

    /// Whether it is of the files, not of the expanded text.
    pub(crate) const fn is_of_files(self) -> bool {
        self.start() >= FILES
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

/// A byte range of the files, which lie one behind the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Place {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Place {
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// As a span of what is in no expanded text, such as the line of an `include`.
    pub(crate) const fn span(self) -> Span {
        Span::new(FILES + self.start, FILES + self.end)
    }
}

/// Where a piece of expanded text comes from; it reaches to the next part.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    /// Where it begins in the text.
    pub(crate) at: u32,
    /// Where it begins in the files.
    pub(crate) start: u32,
    /// How long the place is that all of it stands for; absent if it is the file's text itself.
    pub(crate) stands_for: Option<u32>,
    pub(crate) way: Option<WayId>,
}

/// The number of a [`Way`].
pub(crate) type WayId = u32;

/// How text came to where it is.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) why: Why,
    /// The definition, or the line that includes or uses.
    pub(crate) place: Place,
    /// How that came to where it is.
    pub(crate) parent: Option<WayId>,
}

/// Why text is where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Why {
    /// It is in a file that is included.
    Included,
    /// It stands for a variable. The place is the definition.
    Variable { name: Arc<str>, serial: u32 },
    /// It is a line of a definition of several lines. The place is where that is used.
    Body { name: Arc<str>, serial: u32 },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Included => f.write_str("included from here"),
            Self::Variable { name, .. } => write!(f, "`${name}` has its value from here"),
            Self::Body { name, .. } => write!(f, "`${name}` is used here"),
        }
    }
}

/// A file's name as the user knows it, and where it lies.
#[derive(Debug, Clone)]
struct File {
    name: String,
    place: Place,
    /// The number of its first line among all lines.
    line: usize,
    /// How it came to be included.
    way: Option<WayId>,
}

#[derive(Debug, Clone)]
struct Expanded {
    text: String,
    parts: Vec<Part>,
}

/// The files of a configuration, and the text that they make.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    files: Vec<File>,
    raw: String,
    /// Where the lines of all files start.
    starts: Vec<u32>,
    ways: Vec<Way>,
    expanded: Option<Expanded>,
}

impl Source {
    /// A single file, which is the text.
    pub(crate) fn new(name: &str, text: impl Into<String>) -> Self {
        let mut source = Self {
            files: Vec::new(),
            raw: text.into(),
            starts: Vec::new(),
            ways: Vec::new(),
            expanded: None,
        };
        source.note(name, 0, None);
        source
    }

    /// A further file, and where it lies.
    pub(crate) fn add(&mut self, name: &str, text: &str, way: Option<WayId>) -> Place {
        if !self.files.is_empty() {
            // So that the end of one file is not the start of the next.
            self.raw.push('\n');
        }
        let start = self.raw.len();
        self.raw.push_str(text);
        self.note(name, start, way)
    }

    /// Notes the file that the rest of the text from here on is.
    fn note(&mut self, name: &str, start: usize, way: Option<WayId>) -> Place {
        let line = self.starts.len();
        let text = self.raw.as_bytes().get(start..).unwrap_or_default();
        let feeds = || (1..).zip(text).filter(|(_, byte)| **byte == b'\n');
        self.starts.reserve(1 + feeds().count());
        self.starts.push(start as u32);
        self.starts.extend(feeds().map(|(next, _): (usize, _)| (start + next) as u32));
        let place = Place::new(start, self.raw.len());
        self.files.push(File { name: name.to_owned(), place, line, way });
        place
    }

    /// Notes a way.
    pub(crate) fn way(&mut self, why: Why, place: Place, parent: Option<WayId>) -> WayId {
        let id = self.ways.len() as WayId;
        self.ways.push(Way { why, place, parent });
        id
    }

    /// A way and those that led to it, the last one first.
    pub(crate) fn ways(&self, id: Option<WayId>) -> impl Iterator<Item = &Way> {
        let get = |id: WayId| self.ways.get(id as usize);
        std::iter::successors(id.and_then(get), move |way| way.parent.and_then(get))
    }

    /// Takes the text that the files make. Parts ascend, the first one at 0.
    pub(crate) fn expand(&mut self, text: String, parts: Vec<Part>) {
        self.expanded = Some(Expanded { text, parts });
    }

    /// The name of the first file.
    pub(crate) fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }

    pub(crate) fn text(&self) -> &str {
        self.expanded.as_ref().map_or(&self.raw, |expanded| &expanded.text)
    }

    /// The text of all files.
    pub(crate) fn raw(&self) -> &str {
        &self.raw
    }

    /// The text of a span; empty if the span does not lie in this source.
    #[cfg(test)]
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.get(span).unwrap_or_default()
    }

    /// The text of a span, if it lies in this source.
    #[cfg(test)]
    pub(crate) fn get(&self, span: Span) -> Option<&str> {
        match span.start().checked_sub(FILES) {
            Some(start) => self.raw.get(start..span.end().checked_sub(FILES)?),
            None => self.text().get(span.start()..span.end()),
        }
    }

    /// Where a span is in the files.
    pub(crate) fn locate(&self, span: Span) -> Place {
        if let Some(start) = span.start().checked_sub(FILES) {
            return Place::new(start, span.end().saturating_sub(FILES).max(start));
        }
        let Some(Expanded { text, parts }) = &self.expanded else {
            return Place::new(span.start(), span.end().max(span.start()));
        };
        locate(parts, text.len(), span, |from, to| self.line_index(from) == self.line_index(to))
    }

    /// How a span came to where it is, the nearest reason first.
    pub(crate) fn ways_to(&self, span: Span) -> impl Iterator<Item = &Way> {
        let own = self.parts(span).find(|part| part.stands_for.is_some());
        let own = own.or_else(|| self.parts(span).next()).and_then(|part| part.way);
        let of_file = || self.file(self.locate(span).start)?.way;
        self.ways(own.or_else(of_file))
    }

    /// The parts that a span touches.
    fn parts(&self, span: Span) -> impl Iterator<Item = &Part> {
        let parts = self.expanded.as_ref().map_or(&[][..], |expanded| &expanded.parts);
        let first = parts.partition_point(|part| part.at as usize <= span.start()).max(1) - 1;
        let touched = parts.get(first..).unwrap_or_default();
        touched.iter().take_while(move |part| {
            let at = part.at as usize;
            span.start() < FILES && (at < span.end() || at <= span.start())
        })
    }

    fn file(&self, offset: usize) -> Option<&File> {
        let after = self.files.partition_point(|file| file.place.start <= offset);
        self.files.get(after.max(1) - 1)
    }

    pub(crate) fn same_file(&self, one: usize, other: usize) -> bool {
        let start = |offset| self.file(offset).map(|file| file.place.start);
        start(one) == start(other)
    }

    /// The name of the file that a place is in.
    pub(crate) fn file_name(&self, place: Place) -> &str {
        self.file(place.start).map_or("", |file| &file.name)
    }

    /// The number of a line among all lines of all files, from 1.
    fn line_index(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start as usize <= offset)
    }

    /// The line, counted from 1 in its file, that holds a place's start.
    pub(crate) fn line(&self, place: Place) -> usize {
        let first = self.file(place.start).map_or(0, |file| file.line);
        self.line_index(place.start) - first
    }

    /// The line, counted from 1 in its file, that a byte of the text comes from.
    pub(crate) fn line_of(&self, offset: usize) -> usize {
        self.line(self.locate(Span::new(offset, offset)))
    }

    /// The same as in "line {}", with the file if there are several.
    pub(crate) fn line_name(&self, offset: usize) -> String {
        let place = self.locate(Span::new(offset, offset));
        let line = self.line(place);
        if self.files.len() > 1 {
            format!("{line} of {}", self.file_name(place))
        } else {
            line.to_string()
        }
    }

    /// From the line that holds one byte of a file to the line that holds another, without the last line's end.
    pub(crate) fn lines(&self, first: usize, last: usize) -> Place {
        let start = self.start_of_line(first);
        let rest = self.raw.get(last..).unwrap_or_default();
        let end = last + rest.find('\n').unwrap_or(rest.len());
        let text = self.raw.get(start..end).unwrap_or_default();
        Place::new(start, start + text.trim_end_matches('\r').len())
    }

    pub(crate) fn position(&self, place: Place) -> Position {
        let before = self.before(place.start);
        Position { line: self.line(place), column: before.chars().count() + 1 }
    }

    /// How far a line is indented, looked at from any offset in it; a tab counts to the next multiple of eight.
    pub(crate) fn indentation(&self, offset: usize) -> usize {
        let start = self.start_of_line(self.locate(Span::new(offset, offset)).start);
        let line = self.raw.as_bytes().get(start..).unwrap_or_default();
        let blanks = line.iter().take_while(|c| matches!(c, b' ' | b'\t'));
        blanks.fold(0, |width, c| if *c == b'\t' { (width / 8 + 1) * 8 } else { width + 1 })
    }

    /// Whether nothing but blanks stands before an offset on its line.
    pub(crate) fn is_first_on_line(&self, offset: usize) -> bool {
        let start = self.locate(Span::new(offset, offset)).start;
        self.before(start).trim_ascii_start().is_empty()
    }

    /// Lines are short, so that this is faster than to look it up.
    fn start_of_line(&self, offset: usize) -> usize {
        let before = self.raw.as_bytes().get(..offset).unwrap_or_default();
        before.iter().rposition(|c| *c == b'\n').map_or(0, |feed| feed + 1)
    }

    fn before(&self, offset: usize) -> &str {
        self.raw.get(self.start_of_line(offset)..offset).unwrap_or_default()
    }
}

/// Where a range of a text of parts is in the files. Its ends are looked at together if they come from one line.
pub(crate) fn locate(
    parts: &[Part],
    length: usize,
    span: Span,
    same_line: impl Fn(usize, usize) -> bool,
) -> Place {
    let index = |offset: usize| parts.partition_point(|part| part.at as usize <= offset).max(1) - 1;
    // Where a part ends in the text, and the range that it is or stands for, up to an offset in it.
    let range = |index: usize, from: usize, to: usize| -> Option<Range<usize>> {
        let part = parts.get(index)?;
        let (at, start) = (part.at as usize, part.start as usize);
        Some(match part.stands_for {
            Some(length) => start..start + length as usize,
            None => start + from.saturating_sub(at)..start + to.saturating_sub(at),
        })
    };
    let end_of = |index: usize| parts.get(index + 1).map_or(length, |next| next.at as usize);
    let first = index(span.start());
    let Some(head) = range(first, span.start(), span.end().min(end_of(first)).max(span.start()))
    else {
        return Place::default();
    };
    if span.end() > end_of(first)
        && let last = index(span.end() - 1)
        && let Some(tail) =
            range(last, parts.get(last).map_or(0, |part| part.at as usize), span.end())
        && tail.end >= head.end
        && same_line(head.start, tail.end)
    {
        return Place::new(head.start, tail.end);
    }
    Place::new(head.start, head.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: usize) -> Place {
        Place::new(offset, offset)
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let source = Source::new("f", "aé b\r\n\n  x");
        assert_eq!(source.position(at(0)), Position { line: 1, column: 1 });
        assert_eq!(source.position(at(4)), Position { line: 1, column: 4 });
        assert_eq!(source.position(at(7)), Position { line: 2, column: 1 });
        assert_eq!(source.position(at(10)), Position { line: 3, column: 3 });
        assert_eq!(source.position(at(source.text().len())), Position { line: 3, column: 4 });
    }

    #[test]
    fn a_line_has_no_line_end() {
        let source = Source::new("f", "one\r\ntwo\n");
        let line = |offset| {
            let Place { start, end } = source.lines(offset, offset);
            &source.raw()[start..end]
        };
        assert_eq!([line(1), line(6), line(9)], ["one", "two", ""]);
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

    #[test]
    fn lines_are_counted_in_their_file() {
        let mut source = Source::new("a", "1\n2");
        let place = source.add("b", "1\n2\n", None);
        assert_eq!((source.line(at(2)), source.file_name(at(2))), (2, "a"));
        assert_eq!((source.line(at(3)), source.file_name(at(3))), (2, "a"));
        assert_eq!((source.line(place), source.file_name(place)), (1, "b"));
        assert_eq!((source.line(at(8)), source.file_name(at(8))), (3, "b"));
    }

    #[test]
    fn expanded_text_knows_its_place() {
        // `a $X b` of line 2 is `a 10 b`.
        let mut source = Source::new("f", "$X=10\na $X b");
        let way = source.way(Why::Variable { name: "X".into(), serial: 0 }, Place::new(3, 5), None);
        let part = |at, start, stands_for, way| Part { at, start, stands_for, way };
        let parts =
            vec![part(0, 6, None, None), part(2, 8, Some(2), Some(way)), part(4, 10, None, None)];
        source.expand("a 10 b\n".to_owned(), parts);
        let place = |start, end| source.locate(Span::new(start, end));
        assert_eq!(place(0, 1), Place::new(6, 7));
        assert_eq!(place(3, 4), Place::new(8, 10));
        assert_eq!(place(0, 6), Place::new(6, 12));
        assert_eq!(place(5, 6), Place::new(11, 12));
        assert_eq!(source.line_of(3), 2);
        assert_eq!(source.ways_to(Span::new(0, 4)).count(), 1);
        assert_eq!(source.ways_to(Span::new(0, 1)).count(), 0);
        assert_eq!(source.slice(Place::new(0, 2).span()), "$X");
    }
}
