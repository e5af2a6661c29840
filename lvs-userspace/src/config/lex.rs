//! Text to words and braces, line by line, as keepalived's `decomment()` and `alloc_strvec()` cut them.
//!
//! Words are separated by blanks. `#` and `!` start a comment outside quotes, `\#` and `\!` stand for the
//! characters themselves. `"…"` is one word, without escapes. A brace outside quotes stands for itself wherever
//! it is, except in `${NAME}`. There is no line continuation.

use std::borrow::Cow;

use super::{
    code::Code,
    diag::{Diagnostic, Sink},
    source::{Source, Span},
};

/// keepalived's `MAXBUF`: it ignores longer lines.
pub(crate) const LINE_LIMIT: usize = 1024;

/// A word: its value without quotes and escapes, and the place with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word<'s> {
    pub(crate) text: Cow<'s, str>,
    pub(crate) span: Span,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token<'s> {
    Word(Word<'s>),
    Open(Span),
    Close(Span),
}

impl Token<'_> {
    pub(crate) const fn span(&self) -> Span {
        match self {
            Self::Word(word) => word.span,
            Self::Open(span) | Self::Close(span) => *span,
        }
    }
}

/// Gives the lines of a source that have tokens, one after the other.
#[derive(Debug)]
pub(crate) struct Lines<'s> {
    text: &'s str,
    next: usize,
}

impl<'s> Lines<'s> {
    pub(crate) fn new(source: &'s Source) -> Self {
        Self { text: source.text(), next: 0 }
    }

    /// The tokens of the next line that has any; none at the end.
    pub(crate) fn next(&mut self, tokens: &mut Vec<Token<'s>>, sink: &mut Sink) {
        tokens.clear();
        while tokens.is_empty()
            && let Some(rest) = self.text.get(self.next..)
            && !rest.is_empty()
        {
            let length = rest.find('\n').unwrap_or(rest.len());
            let text = rest.get(..length).unwrap_or_default().trim_end_matches('\r');
            line(text, self.next, tokens, sink);
            self.next += length + 1;
        }
    }
}

/// Cuts one line, which begins at this offset.
fn line<'s>(text: &'s str, start: usize, tokens: &mut Vec<Token<'s>>, sink: &mut Sink) {
    let end = start + text.len();
    if text.len() > LINE_LIMIT {
        sink.push(
            Diagnostic::new(
                Code::LineTooLong,
                Span::new(start, end),
                format!(
                    "the line is longer than {LINE_LIMIT} bytes, and keepalived ignores such lines"
                ),
            )
            .help("break it up; a keyword and its arguments stand on one line"),
        );
        return;
    }
    let mut cursor = Cursor { rest: text, at: start };
    let mut typographic = false;
    while let Some(c) = cursor.peek() {
        let start = cursor.at;
        match c {
            '#' | '!' => break,
            '{' | '}' => {
                cursor.bump();
                let span = Span::new(start, cursor.at);
                tokens.push(if c == '{' { Token::Open(span) } else { Token::Close(span) });
            }
            '"' => {
                let Some(text) = cursor.quoted() else {
                    sink.push(unmatched_quote(Span::new(start, end)));
                    // The rest is taken for the word, so that nothing is missed that is there.
                    cursor.bump();
                    tokens.push(word(Cow::Borrowed(cursor.rest), start, end));
                    break;
                };
                tokens.push(word(Cow::Borrowed(text), start, cursor.at));
            }
            c if is_blank(c) => cursor.skip_while(is_blank),
            c if is_invisible(c) => {
                cursor.skip_while(is_invisible);
                sink.push(invisible(c, Span::new(start, cursor.at)));
            }
            _ => {
                let text = cursor.bare();
                // Once for a line: quotes come in pairs.
                if !typographic && let Some(quote) = typographic_quote(&text) {
                    typographic = true;
                    sink.push(not_a_quote(quote, Span::new(start, cursor.at)));
                }
                tokens.push(word(text, start, cursor.at));
            }
        }
    }
}

fn word(text: Cow<'_, str>, start: usize, end: usize) -> Token<'_> {
    Token::Word(Word { text, span: Span::new(start, end) })
}

fn unmatched_quote(span: Span) -> Diagnostic {
    Diagnostic::new(Code::UnmatchedQuote, span, "this `\"` has no partner on its line")
        .help("a quoted word ends on the line it began on")
}

fn invisible(c: char, span: Span) -> Diagnostic {
    let what = match c {
        '\u{a0}' => "a no-break space",
        '\u{feff}' => "a byte order mark",
        c if c.is_control() => "a control character",
        _ => "an invisible character",
    };
    let help = match c {
        '\u{feff}' => "save the file as UTF-8 without a byte order mark (BOM)",
        _ => {
            "delete it, or type a plain space; text copied from web pages often brings such characters along"
        }
    };
    let message = format!("{what} (U+{:04X}) stands here", u32::from(c));
    Diagnostic::new(Code::InvisibleCharacter, span, message).help(help)
}

/// The quotation mark of a book that a word begins or ends with.
fn typographic_quote(word: &str) -> Option<char> {
    let is_quote = |c: &char| matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}');
    if word.is_ascii() {
        return None;
    }
    word.chars().next().filter(is_quote).or_else(|| word.chars().next_back().filter(is_quote))
}

fn not_a_quote(quote: char, span: Span) -> Diagnostic {
    let message = format!("`{quote}` (U+{:04X}) does not quote", u32::from(quote));
    Diagnostic::new(Code::TypographicQuote, span, message).help(
        "write `\"`; word processors and web pages put such marks in its place. One that is meant stands between `\"`",
    )
}

/// What C's `isspace` takes for a blank.
const fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{b}' | '\u{c}')
}

/// keepalived would take these for part of a word, which nobody means and nobody sees.
fn is_invisible(c: char) -> bool {
    let format = matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}' | '\u{feff}');
    !is_blank(c) && (c.is_whitespace() || c.is_control() || format)
}

fn ends_word(c: char) -> bool {
    is_blank(c) || is_invisible(c) || matches!(c, '"' | '{' | '}' | '#' | '!')
}

/// A byte that always belongs to a word and means nothing else.
const fn is_plain(c: u8) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, b'_' | b'.' | b':' | b'-' | b'/' | b',' | b'+' | b'=')
}

/// What is left of the line, and its offset in the source.
struct Cursor<'s> {
    rest: &'s str,
    at: usize,
}

impl<'s> Cursor<'s> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) {
        let length = self.peek().map_or(0, char::len_utf8);
        self.take(length);
    }

    fn take(&mut self, length: usize) -> &'s str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.at += taken.len();
        self.rest = rest;
        taken
    }

    fn skip_while(&mut self, test: impl Fn(char) -> bool) {
        let length = self.rest.find(|c| !test(c)).unwrap_or(self.rest.len());
        self.take(length);
    }

    /// The word between two quotes; the cursor stands on the first one.
    fn quoted(&mut self) -> Option<&'s str> {
        let length = self.rest.get(1..)?.find('"')?;
        self.take(length + 2).get(1..=length)
    }

    /// A word without quotes.
    fn bare(&mut self) -> Cow<'s, str> {
        // Nearly all words are of these, which need no look at characters.
        let length = self.rest.bytes().take_while(|c| is_plain(*c)).count();
        let ends = self.rest.as_bytes().get(length).is_none_or(|c| matches!(c, b' ' | b'\t'));
        if ends {
            return Cow::Borrowed(self.take(length));
        }
        let mut text = Cow::Borrowed("");
        loop {
            let plain = self.rest.find(|c| ends_word(c) || matches!(c, '\\' | '$'));
            text += self.take(plain.unwrap_or(self.rest.len()));
            let next = match self.rest.as_bytes() {
                [b'\\', b'#' | b'!', ..] => {
                    self.bump();
                    1
                }
                [b'$', b'{', ..] => self.rest.find('}').map_or(2, |end| end + 1),
                [b'\\' | b'$', ..] => 1,
                _ => break,
            };
            text += self.take(next);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lex(text: &str) -> (Vec<String>, Vec<&'static str>) {
        let source = Source::new("f", text);
        let mut sink = Sink::default();
        let mut lines = Lines::new(&source);
        let next_line = || {
            let mut tokens = Vec::new();
            lines.next(&mut tokens, &mut sink);
            (!tokens.is_empty()).then_some(tokens)
        };
        let tokens = std::iter::from_fn(next_line)
            .flatten()
            .map(|token| match token {
                Token::Word(word) => word.text.into_owned(),
                Token::Open(_) => "<{>".to_owned(),
                Token::Close(_) => "<}>".to_owned(),
            })
            .collect();
        (tokens, sink.finish().0.iter().map(|d| d.code.id()).collect())
    }

    #[test]
    fn words_braces_comments_and_quotes() {
        let table: &[(&str, &[&str])] = &[
            ("a b\tc", &["a", "b", "c"]),
            ("a # b", &["a"]),
            ("a!b", &["a"]),
            ("! { x", &[]),
            (r"a\#b \! c\d", &["a#b", "!", r"c\d"]),
            (
                "real_server 1.2.3.4 80{weight 1}",
                &["real_server", "1.2.3.4", "80", "<{>", "weight", "1", "<}>"],
            ),
            (r#"a "b { # c" d"#, &["a", "b { # c", "d"]),
            (r#"a"b""""#, &["a", "b", ""]),
            ("a b\r\nc\r\n", &["a", "b", "c"]),
            ("a ${X} ${Y}z {", &["a", "${X}", "${Y}z", "<{>"]),
            ("a ${X", &["a", "${X"]),
            ("", &[]),
        ];
        for (text, words) in table {
            assert_eq!(
                lex(text),
                (words.iter().map(ToString::to_string).collect(), vec![]),
                "{text:?}"
            );
        }
    }

    #[test]
    fn an_open_quote_ends_with_its_line() {
        assert_eq!(
            lex("a \"b c\nd"),
            (vec!["a".into(), "b c".into(), "d".into()], vec!["XLVS010"])
        );
    }

    #[test]
    fn an_invisible_character_separates_words_and_is_reported_once() {
        assert_eq!(lex("a\u{a0}\u{a0}b"), (vec!["a".into(), "b".into()], vec!["XLVS012"]));
        assert_eq!(lex("\u{feff}a"), (vec!["a".into()], vec!["XLVS012"]));
        assert_eq!(lex("# caf\u{e9}\u{a0}"), (vec![], vec![]));
    }

    #[test]
    fn typographic_quotes_are_reported_once_for_a_line() {
        assert_eq!(lex("a \u{201c}b c\u{201d}").1, ["XLVS008"]);
        assert_eq!(lex("a \u{2018}b\u{2019}\na b\u{201d}").1, ["XLVS008", "XLVS008"]);
        assert_eq!(lex("a \"\u{201c}b\u{201d}\" it\u{2019}s # \u{201c}").1, Vec::<&str>::new());
    }

    #[test]
    fn a_line_longer_than_keepalived_reads_is_an_error() {
        assert_eq!(lex(&"a".repeat(LINE_LIMIT)).1, Vec::<&str>::new());
        assert_eq!(lex(&"a".repeat(LINE_LIMIT + 1)), (vec![], vec!["XLVS011"]));
    }

    #[test]
    fn spans_cover_quotes_and_escapes() {
        let source = Source::new("f", r#"a\# "b c""#);
        let mut tokens = Vec::new();
        line(source.text(), 0, &mut tokens, &mut Sink::default());
        let spans: Vec<&str> = tokens.iter().map(|token| source.slice(token.span())).collect();
        assert_eq!(spans, [r"a\#", r#""b c""#]);
    }
}
