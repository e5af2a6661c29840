//! Lines of tokens to a tree of directives, and what to make of braces that do not match.
//!
//! A missing or superfluous brace is noticed far from where it is missing, so two things are used to find the place
//! that helps: keywords that can only stand at one level (a `virtual_server` begins, so all before it has ended) and
//! indentation. After a repair the rest is read as its author probably meant it, so that one brace makes one error.

use smallvec::SmallVec;

use super::{
    code::{Code, Severity},
    diag::{Diagnostic, Sink, quoted},
    lex::{Lines, Token, Word},
    schema::{self, Meaning, Place},
    source::{Source, Span},
};

/// keepalived's blocks nest four deep; a bound keeps recursion over the tree harmless.
const DEPTH_LIMIT: usize = 16;

/// A keyword, its arguments, and its block if it has one.
#[derive(Debug)]
pub(crate) struct Directive<'s> {
    pub(crate) keyword: Word<'s>,
    /// Nearly always one at most.
    pub(crate) args: SmallVec<[Word<'s>; 1]>,
    /// The arguments as they are written, with quotes and escapes.
    pub(crate) raw: &'s str,
    pub(crate) block: Option<Box<Block<'s>>>,
}

/// What stands between two braces.
#[derive(Debug)]
pub(crate) struct Block<'s> {
    pub(crate) open: Span,
    pub(crate) children: Vec<Directive<'s>>,
    close: Option<Span>,
}

impl<'s> Directive<'s> {
    /// The next words, and the brace that ends them, if one does.
    fn take(
        tokens: &mut impl Iterator<Item = Token<'s>>,
        text: &'s str,
    ) -> (Option<Self>, Option<Brace>) {
        let keyword = match tokens.next() {
            Some(Token::Word(word)) => word,
            other => return (None, other.as_ref().and_then(Brace::of)),
        };
        let mut args = SmallVec::new();
        loop {
            match tokens.next() {
                Some(Token::Word(word)) => args.push(word),
                other => {
                    let raw = raw(&args, text);
                    let directive = Self { keyword, args, raw, block: None };
                    return (Some(directive), other.as_ref().and_then(Brace::of));
                }
            }
        }
    }

    /// Whether it is keepalived's business, at the top level.
    fn is_foreign(&self) -> bool {
        schema::is_foreign(Place::Top, &self.keyword.text)
    }

    /// From the first argument to the last.
    pub(crate) fn argument(&self) -> Option<Span> {
        Some(self.args.first()?.span.to(self.args.last()?.span))
    }

    /// From the keyword to the last argument.
    pub(crate) fn head(&self) -> Span {
        self.keyword.span.to(self.args.last().map_or(self.keyword.span, |last| last.span))
    }
}

/// The text that words were made of.
fn raw<'s>(words: &[Word<'_>], text: &'s str) -> &'s str {
    match words {
        [first, .., last] | [first @ last] => {
            text.get(first.span.start()..last.span.end()).unwrap_or_default()
        }
        [] => "",
    }
}

/// What ends words before their line does.
enum Brace {
    Open(Span),
    Close(Span),
}

impl Brace {
    const fn of(token: &Token<'_>) -> Option<Self> {
        match token {
            Token::Word(_) => None,
            Token::Open(span) => Some(Self::Open(*span)),
            Token::Close(span) => Some(Self::Close(*span)),
        }
    }
}

/// A block whose end has not been seen yet.
struct Frame<'s> {
    /// Absent if nothing stood before the `{`; the content is then dropped.
    directive: Option<Directive<'s>>,
    open: Span,
    /// How many directives stood in the blocks around it before it began.
    before: usize,
    suspect: Option<Suspect>,
}

/// A block inside that was closed by a `}` which, by its indentation, was meant for this one.
#[derive(Clone, Copy)]
struct Suspect {
    head: Span,
    close: Span,
}

impl Frame<'_> {
    fn head(&self) -> Span {
        self.directive.as_ref().map_or(self.open, Directive::head)
    }

    fn is_foreign(&self) -> bool {
        self.directive.as_ref().is_some_and(Directive::is_foreign)
    }

    fn is(&self, keyword: &str) -> bool {
        self.directive.as_ref().is_some_and(|directive| directive.keyword.text == keyword)
    }
}

struct Builder<'s, 'k> {
    source: &'s Source,
    sink: &'k mut Sink,
    root: Vec<Directive<'s>>,
    frames: Vec<Frame<'s>>,
    /// What stands in the blocks that are open, of the outermost one first.
    inner: Vec<Directive<'s>>,
    /// The last directive may still get its `{` on the next line.
    attachable: bool,
    too_deep: bool,
}

/// Reads the whole source.
pub(crate) fn build<'s>(source: &'s Source, sink: &mut Sink) -> Vec<Directive<'s>> {
    let mut lines = Lines::new(source);
    let (mut tokens, mut ahead) = (Vec::new(), Vec::new());
    lines.next(&mut ahead, sink);
    let mut builder = Builder {
        source,
        sink,
        root: Vec::new(),
        frames: Vec::new(),
        inner: Vec::new(),
        attachable: false,
        too_deep: false,
    };
    while !ahead.is_empty() {
        std::mem::swap(&mut tokens, &mut ahead);
        lines.next(&mut ahead, builder.sink);
        builder.line(&mut tokens, ahead.first());
        if builder.too_deep {
            return builder.root;
        }
    }
    builder.unwind(0, None);
    builder.root
}

impl<'s> Builder<'s, '_> {
    fn line(&mut self, tokens: &mut Vec<Token<'s>>, ahead: Option<&Token<'s>>) {
        let mut tokens = tokens.drain(..);
        while !self.too_deep {
            let (directive, end) = Directive::take(&mut tokens, self.source.text());
            match end {
                Some(Brace::Open(span)) => self.open(directive, span),
                Some(Brace::Close(span)) => {
                    if let Some(directive) = directive {
                        self.plain(directive, None);
                    }
                    self.close(span);
                }
                None => {
                    if let Some(directive) = directive {
                        self.attachable = true;
                        self.plain(directive, ahead);
                    }
                    return;
                }
            }
        }
    }

    /// A directive without `{` on its line.
    fn plain(&mut self, directive: Directive<'s>, ahead: Option<&Token<'s>>) {
        self.repair_before(&directive);
        let open_follows = matches!(ahead, Some(Token::Open(_)));
        if !open_follows
            && !self.in_foreign()
            && let Some(place) = schema::needs_block(&directive.keyword.text)
        {
            let head = directive.head();
            let end = Span::new(head.end(), head.end());
            self.sink.push(
                Diagnostic::new(
                    Code::MissingOpen,
                    head,
                    format!("{} without its `{{`", quoted(&directive.keyword.text)),
                )
                .help("put ` {` at the end of this line, and `}` on a line of its own after the block"),
            );
            if self.block_follows(&directive, place, ahead) {
                self.push_frame(Some(directive), end);
                return;
            }
        }
        self.children().push(directive);
    }

    /// Whether what comes next reads like the block of a directive that lacks its `{`.
    fn block_follows(
        &self,
        directive: &Directive<'_>,
        inner: Place,
        ahead: Option<&Token<'_>>,
    ) -> bool {
        let Some(token) = ahead else { return false };
        let own = self.source.indentation(directive.keyword.span.start());
        let next = self.source.indentation(token.span().start());
        let fits = match token {
            Token::Close(_) => true,
            Token::Open(_) => false,
            Token::Word(word) => schema::fits(inner, &word.text),
        };
        next > own || (next == own && fits)
    }

    fn open(&mut self, directive: Option<Directive<'s>>, open: Span) {
        let attachable = std::mem::take(&mut self.attachable);
        let directive = match directive {
            Some(directive) => {
                self.repair_before(&directive);
                Some(directive)
            }
            None if attachable => self.take_last(),
            None if self.in_foreign() => None,
            None => {
                self.sink.push(
                    Diagnostic::new(
                        Code::UnexpectedOpen,
                        open,
                        "no keyword stands before this `{`",
                    )
                    .help(
                        "delete it together with its `}`, or write the keyword that it belongs to",
                    ),
                );
                None
            }
        };
        self.push_frame(directive, open);
    }

    fn push_frame(&mut self, directive: Option<Directive<'s>>, open: Span) {
        self.attachable = false;
        if self.frames.len() >= DEPTH_LIMIT {
            if !std::mem::replace(&mut self.too_deep, true) {
                self.sink.push(
                    Diagnostic::new(
                        Code::TooDeep,
                        open,
                        format!("more than {DEPTH_LIMIT} blocks inside each other"),
                    )
                    .help("keepalived's blocks nest four deep; are `}` missing above? nothing after this is read"),
                );
            }
            return;
        }
        let before = self.inner.len();
        self.frames.push(Frame { directive, open, before, suspect: None });
    }

    /// Whether this is inside of a block that is keepalived's business.
    fn in_foreign(&self) -> bool {
        self.frames.first().is_some_and(Frame::is_foreign)
    }

    fn close(&mut self, close: Span) {
        self.attachable = false;
        let Some(frame) = self.frames.pop() else {
            self.close_nothing(close);
            return;
        };
        let suspect = frame.suspect.or_else(|| self.suspect(&frame, close));
        if let Some(outer) = self.frames.last_mut() {
            outer.suspect = outer.suspect.or(suspect);
        }
        self.store(frame, Some(close));
    }

    /// Whether a `}` stands further left than the block it closes, exactly where a block further out begins.
    fn suspect(&self, frame: &Frame<'s>, close: Span) -> Option<Suspect> {
        let indent = self.source.indentation(close.start());
        let fits_outer = || {
            self.frames.iter().any(|outer| self.source.indentation(outer.head().start()) == indent)
        };
        let suspicious = self.source.is_first_on_line(close.start())
            && indent < self.source.indentation(frame.head().start())
            && fits_outer();
        suspicious.then(|| Suspect { head: frame.head(), close })
    }

    /// A `}` too many. It may be any of those since the last block of the top level began, so what stands between
    /// that block's end and here is taken into it.
    fn close_nothing(&mut self, close: Span) {
        if let Some(last) = self.root.last()
            && last.is_foreign()
        {
            let line = self.source.line_name(last.keyword.span.start());
            self.sink.push(
                Diagnostic::new(Code::ForeignBraces, close, "a `}` too many")
                    .label("nothing is open here")
                    .help(format!(
                        "look at the block of line {line}, which is for keepalived to read"
                    )),
            );
            return;
        }
        let mut report = Diagnostic::new(Code::UnexpectedClose, close, "a `}` too many")
            .label("nothing is open here");
        if self.sink.is_full(Severity::Error) {
            self.sink.push(report);
            return;
        }
        let last =
            self.root.iter().rposition(|directive| schema::begins_at_top(&directive.keyword.text));
        if let Some(last) = last {
            let tail = self.root.split_off(last + 1);
            let directive = self.root.last_mut();
            let inner = directive.as_ref().and_then(|last| schema::needs_block(&last.keyword.text));
            let belongs = tail.iter().all(|directive| {
                let word = &directive.keyword.text;
                matches!(schema::meaning(Place::Top, word), Meaning::Elsewhere(_))
                    || inner.is_some_and(|inner| schema::fits(inner, word))
            });
            if let Some((head, block)) =
                directive.and_then(|last| Some((last.head(), last.block.as_mut()?)))
            {
                let line = self.source.line_name(head.start());
                if let Some(earlier) = block.close {
                    report =
                        report.also(earlier, format!("the block of line {line} has ended here"));
                }
                report = report.help(format!(
                    "delete one of the `}}` after line {line}, the one that ends a block too early"
                ));
                if belongs {
                    block.close = Some(close);
                    block.children.extend(tail);
                } else {
                    self.root.extend(tail);
                }
            } else {
                self.root.extend(tail);
            }
        }
        self.sink.push(report);
    }

    /// Closes blocks that cannot still be open where a directive begins that stands at one level only.
    fn repair_before(&mut self, directive: &Directive<'s>) {
        let keyword = &directive.keyword;
        if schema::begins_at_top(&keyword.text) {
            self.unwind(0, Some(keyword));
        } else if keyword.text == "real_server"
            && let [outer, inner, ..] = self.frames.as_slice()
            && outer.is("virtual_server")
            && inner.is("real_server")
        {
            self.unwind(1, Some(keyword));
        }
        let start = keyword.span.start();
        if let Some(frame) = self.frames.last_mut()
            && frame.suspect.is_some()
            && self.source.is_first_on_line(start)
            && self.source.indentation(start) > self.source.indentation(frame.head().start())
        {
            // Content indented like this block's: the `}` before it was odd, no more.
            frame.suspect = None;
        }
    }

    /// Closes all blocks but the outermost `depth` ones, and reports each: its `}` is missing.
    fn unwind(&mut self, depth: usize, before: Option<&Word<'s>>) {
        if depth == 0 && self.in_foreign() {
            self.leave_foreign(before);
            return;
        }
        let several = self.frames.len() > depth + 1;
        while self.frames.len() > depth
            && let Some(frame) = self.frames.pop()
        {
            let suspect = frame.suspect;
            if frame.directive.is_some() {
                self.missing_close(&frame, before);
            }
            // What such a block took in was partly meant for others; reading on would only report that again.
            if self.frames.is_empty() && (several || suspect.is_some()) {
                self.inner.clear();
                return;
            }
            self.store(frame, None);
        }
    }

    /// Ends a block that is keepalived's business where something of ours begins, so that it swallows nothing.
    fn leave_foreign(&mut self, before: Option<&Word<'s>>) {
        if let Some(second) = self.frames.get(1) {
            self.inner.truncate(second.before);
        }
        self.frames.truncate(1);
        let Some(frame) = self.frames.pop() else { return };
        let mut report =
            Diagnostic::new(Code::ForeignBraces, frame.head(), "the `}` of this block is missing");
        report = match before {
            Some(keyword) => report
                .also(keyword.span, format!("{} cannot stand inside of it", quoted(&keyword.text)))
                .help("xlvs reads on from there; keepalived itself would not"),
            None => report.help("put a `}` where it ends; the file ends before it does"),
        };
        self.sink.push(report);
        self.store(frame, None);
    }

    fn missing_close(&mut self, frame: &Frame<'s>, before: Option<&Word<'s>>) {
        let head = frame.suspect.map_or(frame.head(), |suspect| suspect.head);
        let mut report =
            Diagnostic::new(Code::MissingClose, head, "the `}` of this block is missing")
                .label("the block begins here");
        if let Some(suspect) = frame.suspect {
            let meant = self.source.line_name(frame.head().start());
            report = report
                .also(
                    suspect.close,
                    format!("ends it, but is indented like the end of line {meant}'s"),
                )
                .help("put a `}` before this one");
        } else if let Some(keyword) = before {
            report = report
                .also(keyword.span, format!("{} cannot stand inside of it", quoted(&keyword.text)))
                .help(format!(
                    "put a `}}` before line {}",
                    self.source.line_name(keyword.span.start())
                ));
        } else {
            report = report.help("put a `}` where it ends; the file ends before it does");
        }
        self.sink.push(report);
    }

    /// Puts a finished block where it belongs.
    fn store(&mut self, frame: Frame<'s>, close: Option<Span>) {
        let Frame { directive, open, before, suspect: _ } = frame;
        // In one piece: blocks with one or two lines are the most.
        let children = self.inner.drain(before.min(self.inner.len())..).collect();
        if let Some(mut directive) = directive {
            directive.block = Some(Box::new(Block { open, children, close }));
            self.children().push(directive);
        }
    }

    fn children(&mut self) -> &mut Vec<Directive<'s>> {
        match self.frames.last() {
            Some(_) => &mut self.inner,
            None => &mut self.root,
        }
    }

    /// The directive before, which gets a block.
    fn take_last(&mut self) -> Option<Directive<'s>> {
        let before = self.frames.last().map_or(0, |frame| frame.before);
        let children = self.children();
        if children.len() > before { children.pop() } else { None }
    }
}

#[cfg(test)]
mod tests;
