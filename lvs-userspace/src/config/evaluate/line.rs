//! A line that is being worked on: its text, and where each piece of it comes from.

use super::super::source::{self, Part, Place, Source, Span, WayId};

/// What keepalived's `isblank` takes for a blank.
pub(super) const BLANKS: [char; 2] = [' ', '\t'];

/// Text and its parts, of which the first one begins at 0.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    text: String,
    parts: Vec<Part>,
}

impl Line {
    /// A piece of a file.
    pub(super) fn of_file(source: &Source, place: Place, way: Option<WayId>) -> Self {
        let text = source.raw().get(place.start..place.end).unwrap_or_default().to_owned();
        Self { text, parts: vec![Part { at: 0, start: place.start as u32, stands_for: None, way }] }
    }

    /// Text that stands for a place as a whole.
    pub(super) fn instead_of(place: Place, text: String, way: Option<WayId>) -> Self {
        let length = place.end.saturating_sub(place.start) as u32;
        let part = Part { at: 0, start: place.start as u32, stands_for: Some(length), way };
        Self { parts: vec![part], text }
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Where a range of the text is in the files.
    pub(super) fn place(&self, start: usize, end: usize) -> Place {
        source::locate(&self.parts, self.len(), Span::new(start, end), |_, _| true)
    }

    /// How the text at an offset came here.
    pub(super) fn way(&self, offset: usize) -> Option<WayId> {
        let after = self.parts.partition_point(|part| part.at as usize <= offset);
        self.parts.get(after.max(1) - 1)?.way
    }

    /// All of it has come this way too.
    pub(super) fn by(mut self, way: WayId) -> Self {
        for part in &mut self.parts {
            part.way = Some(way);
        }
        self
    }

    /// A piece of it. Both ends lie on character boundaries.
    pub(super) fn slice(&self, start: usize, end: usize) -> Self {
        let mut piece = self.clone();
        piece.replace(end, self.len(), &Self::default());
        piece.replace(0, start, &Self::default());
        piece
    }

    /// Takes out a range, and puts something in its place.
    pub(super) fn replace(&mut self, start: usize, end: usize, by: &Self) {
        let Some(_) = self.text.get(start..end) else { return };
        let mut parts = Vec::with_capacity(self.parts.len() + by.parts.len() + 1);
        parts.extend(self.parts.iter().filter(|part| (part.at as usize) < start));
        let new = by.parts.iter().filter(|_| !by.is_empty());
        parts.extend(new.map(|part| Part { at: part.at + start as u32, ..*part }));
        // What holds the end goes on behind it.
        let behind = self.parts.partition_point(|part| part.at as usize <= end);
        let begin = start + by.len();
        if let Some(part) = self.parts.get(behind.max(1) - 1)
            && end < self.len()
        {
            let skipped = if part.stands_for.is_none() { end - part.at as usize } else { 0 };
            parts.push(Part { at: begin as u32, start: part.start + skipped as u32, ..*part });
        }
        let rest = self.parts.get(behind..).unwrap_or_default();
        let moved = rest.iter().filter(|part| (part.at as usize) < self.text.len());
        parts.extend(
            moved.map(|part| Part { at: (part.at as usize - end + begin) as u32, ..*part }),
        );
        // Something must say where an empty line is.
        if parts.is_empty() {
            parts.extend(self.parts.first().map(|part| Part { at: 0, ..*part }));
        }
        self.text.replace_range(start..end, &by.text);
        self.parts = parts;
    }

    /// Takes out a range.
    pub(super) fn remove(&mut self, start: usize, end: usize) {
        self.replace(start, end, &Self::default());
    }

    /// Takes away blanks in front.
    pub(super) fn trim_start(&mut self) {
        let blanks = self.len() - self.text.trim_start_matches(BLANKS).len();
        if blanks > 0 {
            self.remove(0, blanks);
        }
    }

    /// Takes away blanks behind.
    pub(super) fn trim_end(&mut self) {
        let end = self.text.trim_end_matches(BLANKS).len();
        if end < self.len() {
            self.remove(end, self.len());
        }
    }

    /// As keepalived's `decomment()`: takes away the comment and outer blanks, and makes `\#` and `\!` the characters.
    /// A `\` at the end stays, without blanks before it. Gives where a comment has begun.
    pub(super) fn decomment(&mut self) -> Option<Place> {
        self.trim_start();
        let mut quoted = false;
        let mut at = 0;
        let mut comment = None;
        let mut continues = false;
        while let Some(c) = self.text.as_bytes().get(at).copied() {
            match c {
                b'"' => quoted = !quoted,
                b'\\' => match self.text.as_bytes().get(at + 1) {
                    None => {
                        continues = true;
                        break;
                    }
                    Some(b'#' | b'!') if !quoted => self.remove(at, at + 1),
                    Some(next) if next.is_ascii() => at += 1,
                    Some(_) => {}
                },
                b'#' | b'!' if !quoted => {
                    comment = Some(self.place(at, at + 1));
                    self.remove(at, self.len());
                    break;
                }
                _ => {}
            }
            at += 1;
        }
        if continues {
            let end = self.len() - 1;
            let before = self.text.get(..end).unwrap_or_default();
            self.remove(before.trim_end_matches(BLANKS).len(), end);
        } else {
            self.trim_end();
        }
        comment
    }

    /// Where a comment would begin, were it text of a file. This is the place for a `\` in front.
    pub(super) fn comment(&self, from: usize) -> Option<usize> {
        let mut quoted = false;
        let before = self.text.as_bytes().iter().enumerate();
        before.into_iter().find_map(|(at, c)| {
            quoted ^= *c == b'"';
            let escaped =
                at.checked_sub(1).and_then(|at| self.text.as_bytes().get(at)) == Some(&b'\\');
            (at >= from && !quoted && !escaped && matches!(c, b'#' | b'!')).then_some(at)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line {
        Line::of_file(&Source::new("f", text), Place::new(0, text.len()), None)
    }

    /// What the places of all single bytes are.
    fn places(line: &Line) -> Vec<(usize, usize)> {
        let place = |at| line.place(at, at + 1);
        (0..line.len()).map(place).map(|place| (place.start, place.end)).collect()
    }

    #[test]
    fn what_is_replaced_keeps_the_places_around_it() {
        let mut text = line("a $X bc");
        let value = Line::instead_of(Place::new(2, 4), "1".to_owned(), None);
        text.replace(2, 4, &value);
        assert_eq!(text.text(), "a 1 bc");
        assert_eq!(places(&text), [(0, 1), (1, 2), (2, 4), (4, 5), (5, 6), (6, 7)]);
        text.remove(2, 3);
        assert_eq!(places(&text), [(0, 1), (1, 2), (4, 5), (5, 6), (6, 7)]);
        assert_eq!(text.slice(2, 4).text(), " b");
        assert_eq!(places(&text.slice(2, 4)), [(4, 5), (5, 6)]);
        assert_eq!(text.place(0, 5), Place::new(0, 7));
        text.remove(0, 5);
        assert_eq!(text.place(0, 0).start, 0);
    }

    #[test]
    fn a_comment_goes_and_its_escape_too() {
        let table = [
            ("  a b  # c", "a b"),
            (r"a\#b !c", "a#b"),
            (r#""a # b" \"#, r#""a # b"\"#),
            (r#""a\# b""#, r#""a\# b""#),
            (r"a \ # b", r"a \"),
            (r"a\\# b", r"a\\"),
            ("# a", ""),
            (r"\", r"\"),
            ("\\é#x", "\\é"),
        ];
        for (raw, left) in table {
            let mut text = line(raw);
            let comment = text.decomment();
            assert_eq!(text.text(), left, "{raw}");
            assert_eq!(
                comment.is_some(),
                raw.contains(['c', 'x']) || raw.ends_with(" b") || raw == "# a"
            );
        }
        let mut text = line(r" x\#y");
        text.decomment();
        assert_eq!(places(&text), [(1, 2), (3, 4), (4, 5)]);
        assert_eq!(text.comment(0), Some(1));
        assert_eq!(line(r#""a#b" c"#).comment(0), None);
    }
}
