//! What a block says: each keyword's value, read as the tables tell.

use std::{
    fmt::{self, Display},
    net::IpAddr,
    time::Duration,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{Script, ScriptUser},
        schema::{self, Entry, Form, Keyword},
        source::Span,
        tree::Directive,
    },
    keyword,
    number::{self, Unit},
    shell, value,
};

/// How a keyword is written; worked out only where somebody is told.
struct Usage<'e>(&'e Entry);

impl Display for Usage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.form.usage(self.0.name))
    }
}

/// A value.
#[derive(Debug, Clone)]
enum Given {
    Truth(bool),
    Time(Duration),
    Number(i64),
    Address(IpAddr),
    Port(u16),
    Endpoint(IpAddr, u16),
    Script(Script),
    User(ScriptUser),
    /// Text, a choice, and whatever has a reader of its own.
    Words(Vec<String>),
}

/// The values of a block. A wrong one counts as set, so that nobody is told twice.
#[derive(Default)]
pub(super) struct Values {
    all: Vec<Line>,
    /// Keywords that were probably meant by words that are none.
    guessed: Vec<Keyword>,
}

/// A keyword, what stands behind it, and the places of both together and of the latter alone.
struct Line {
    keyword: Keyword,
    value: Option<Given>,
    head: Span,
    argument: Option<Span>,
}

impl Values {
    /// Reads the value of a keyword. As in keepalived, the last one of several stays.
    pub(super) fn read(&mut self, entry: &Entry, child: &Directive<'_>, sink: &mut Sink) {
        let value = given(entry, child, sink);
        let (keyword, head, argument) = (entry.keyword, child.head(), child.argument());
        let line = Line { keyword, value, head, argument };
        match self.all.iter_mut().find(|known| known.keyword == keyword) {
            Some(known) => {
                repeated(&child.keyword.text, head, known.head, sink);
                *known = line;
            }
            None => self.all.push(line),
        }
    }

    /// Takes note of what an unknown word was probably meant to be.
    pub(super) fn guess(&mut self, keyword: Option<Keyword>) {
        self.guessed.extend(keyword);
    }

    /// Whether a keyword is there, right or wrong, or misspelt.
    pub(super) fn is_meant(&self, keyword: Keyword) -> bool {
        self.head(keyword).is_some() || self.guessed.contains(&keyword)
    }

    fn get(&self, keyword: Keyword) -> Option<&Given> {
        self.all.iter().find(|line| line.keyword == keyword)?.value.as_ref()
    }

    /// Where a keyword stands, right or wrong.
    pub(super) fn head(&self, keyword: Keyword) -> Option<Span> {
        self.all.iter().find(|line| line.keyword == keyword).map(|line| line.head)
    }

    /// What stands behind the keyword of a line, from its first character to its last.
    pub(super) fn argument(&self, keyword: Keyword) -> Option<Span> {
        self.all.iter().find(|entry| entry.keyword == keyword)?.argument
    }

    /// The first of several that is there.
    pub(super) fn first_of(&self, keywords: &[Keyword]) -> Option<Span> {
        keywords.iter().find_map(|keyword| self.head(*keyword))
    }

    pub(super) fn truth(&self, keyword: Keyword) -> Option<bool> {
        match self.get(keyword)? {
            Given::Truth(truth) => Some(*truth),
            _ => None,
        }
    }

    pub(super) fn is_on(&self, keyword: Keyword) -> bool {
        self.truth(keyword) == Some(true)
    }

    pub(super) fn time(&self, keyword: Keyword) -> Option<Duration> {
        match self.get(keyword)? {
            Given::Time(time) => Some(*time),
            _ => None,
        }
    }

    /// A number that the tables keep within the type.
    pub(super) fn number<T: TryFrom<i64>>(&self, keyword: Keyword) -> Option<T> {
        match self.get(keyword)? {
            Given::Number(number) => T::try_from(*number).ok(),
            _ => None,
        }
    }

    pub(super) fn address(&self, keyword: Keyword) -> Option<IpAddr> {
        match self.get(keyword)? {
            Given::Address(address) => Some(*address),
            _ => None,
        }
    }

    pub(super) fn port(&self, keyword: Keyword) -> Option<u16> {
        match self.get(keyword)? {
            Given::Port(port) => Some(*port),
            _ => None,
        }
    }

    pub(super) fn endpoint(&self, keyword: Keyword) -> Option<(IpAddr, u16)> {
        match self.get(keyword)? {
            Given::Endpoint(address, port) => Some((*address, *port)),
            _ => None,
        }
    }

    pub(super) fn script(&self, keyword: Keyword) -> Option<Script> {
        match self.get(keyword)? {
            Given::Script(script) => Some(script.clone()),
            _ => None,
        }
    }

    pub(super) fn user(&self, keyword: Keyword) -> Option<ScriptUser> {
        match self.get(keyword)? {
            Given::User(user) => Some(user.clone()),
            _ => None,
        }
    }

    pub(super) fn words(&self, keyword: Keyword) -> Option<&[String]> {
        match self.get(keyword)? {
            Given::Words(words) => Some(words),
            _ => None,
        }
    }

    pub(super) fn text(&self, keyword: Keyword) -> Option<String> {
        self.words(keyword)?.first().cloned()
    }
}

/// Says that a keyword stands there twice.
pub(super) fn repeated(name: &str, head: Span, first: Span, sink: &mut Sink) {
    sink.push(
        Diagnostic::new(Code::Repeated, head, format!("{} is set a second time", quoted(name)))
            .label("this one counts")
            .also(first, "set here before")
            .help("delete one of the two"),
    );
}

/// Reads what stands behind a keyword; if that is wrong, it is reported.
fn given(entry: &Entry, child: &Directive<'_>, sink: &mut Sink) -> Option<Given> {
    let usage = Usage(entry);
    if !matches!(entry.form, Form::Block(..) | Form::List(_)) {
        keyword::refuse_block(child, sink);
    }
    if matches!(entry.form, Form::Script) {
        return script(child, &usage, sink).map(Given::Script);
    }
    if matches!(entry.form, Form::Command | Form::Quoted(_)) {
        value::args(child, 1..=usize::MAX, &usage, sink)?;
        let [word] = relex(child, sink)?.try_into().ok().or_else(|| {
            sink.push(too_many(child, &usage));
            None
        })?;
        return match entry.form {
            Form::Quoted(_) => Some(Given::Words(vec![word])),
            _ => command(child, &word, sink)
                .map(|command| Given::Script(Script { command, user: None })),
        };
    }
    let (least, most) = match entry.form {
        Form::Bare | Form::List(_) => (0, 0),
        Form::Flag | Form::OptionalNumber(..) | Form::OptionalText(_) => (0, 1),
        Form::Endpoint | Form::User => (1, 2),
        Form::Words(_, least, most) => (least, most),
        Form::Own(_) | Form::Block(..) => (0, usize::MAX),
        _ => (1, 1),
    };
    let args = value::args(child, least..=most, &usage, sink)?;
    refuse_backslash(args, sink)?;
    let first = args.first();
    match entry.form {
        Form::Bare => Some(Given::Truth(true)),
        Form::Flag => first.map_or(Some(true), |word| truth(child, word, sink)).map(Given::Truth),
        Form::Timer(least, most) => {
            number::timer_within(child, first?, least..=most, sink).map(Given::Time)
        }
        Form::Number(least, most, unit) | Form::OptionalNumber(least, most, unit) => {
            let quorum = entry.keyword == Keyword::Quorum;
            if quorum && number::is_ignored_zero(child, first?, "the quorum is 1", sink) {
                return None;
            }
            let unit = if unit == "seconds" { Unit::Seconds } else { Unit::Other };
            number::integer(child, first?, least..=most, unit, sink).map(Given::Number)
        }
        Form::Choice(words) => {
            let word = value::word_of(child, first?, words, sink)?;
            Some(Given::Words(vec![word.to_owned()]))
        }
        Form::Address => peer(first?, sink).map(Given::Address),
        Form::Port => number::port_not_zero(first?, sink).map(Given::Port),
        Form::Endpoint => {
            let (address, port) = value::endpoint(child, sink)?;
            Some(Given::Endpoint(address, port))
        }
        Form::User => user(args).map(Given::User),
        Form::List(of) => list(child, of, sink).map(Given::Words),
        Form::Text(_) | Form::OptionalText(_) | Form::Own(_) | Form::Words(..) => {
            Some(Given::Words(args.iter().map(|word| word.text.clone().into_owned()).collect()))
        }
        Form::Block(..) | Form::Script | Form::Command | Form::Quoted(_) => None,
    }
}

/// Refuses a word that ends with `\` before one with a `#` or `!`: keepalived's `decomment()` takes `\"` for a quote that
/// does not end the word, its `alloc_strvec()` does not.
pub(super) fn refuse_backslash(words: &[Word<'_>], sink: &mut Sink) -> Option<()> {
    let first = words.iter().position(|word| word.text.ends_with('\\'));
    let behind = words.get(first.map_or(words.len(), |first| first + 1)..).unwrap_or_default();
    let Some(word) = behind.iter().find(|word| word.text.contains(['#', '!'])) else {
        return Some(());
    };
    let message = format!("{} may begin a comment, or may not", quoted(&word.text));
    sink.push(Diagnostic::new(Code::BadText, word.span, message).help(
        "a word before it ends with `\\`, which keepalived reads in two ways; leave that out",
    ));
    None
}

/// An address that is used from this host only, so it may be one of a link.
fn peer(word: &Word<'_>, sink: &mut Sink) -> Option<IpAddr> {
    match word.text.parse() {
        Ok(IpAddr::V6(v6)) if v6.is_unicast_link_local() => Some(IpAddr::V6(v6)),
        _ => value::host(word, sink),
    }
}

/// keepalived's `check_true_false()`: these words, in small letters.
fn truth(child: &Directive<'_>, word: &Word<'_>, sink: &mut Sink) -> Option<bool> {
    match &*word.text {
        "on" | "true" | "yes" => Some(true),
        "off" | "false" | "no" => Some(false),
        _ => {
            let message = format!(
                "{} takes a truth value, not {}",
                quoted(&child.keyword.text),
                quoted(&word.text)
            );
            sink.push(
                Diagnostic::new(Code::BadChoice, word.span, message)
                    .help("write `on`, `off`, `true`, `false`, `yes` or `no`, in small letters"),
            );
            None
        }
    }
}

/// A user, and perhaps a group, which may have a colon before it.
fn user(words: &[Word<'_>]) -> Option<ScriptUser> {
    let [user, group @ ..] = words else { return None };
    let group = group.first().map(|word| word.text.trim_start_matches(':').to_owned());
    Some(ScriptUser { user: user.text.clone().into_owned(), group })
}

/// A program with its arguments in quotes, and as whom it runs. keepalived takes both layers of quotes off.
fn script(child: &Directive<'_>, usage: impl Display, sink: &mut Sink) -> Option<Script> {
    value::args(child, 1..=usize::MAX, &usage, sink)?;
    let words = relex(child, sink)?;
    let command = command(child, words.first()?, sink)?;
    let user = match words.get(1..) {
        Some([user]) => Some(ScriptUser { user: user.clone(), group: None }),
        Some([user, group]) => {
            let group = Some(group.trim_start_matches(':').to_owned());
            Some(ScriptUser { user: user.clone(), group })
        }
        Some([_, _, _, ..]) => {
            sink.push(too_many(child, &usage));
            return None;
        }
        _ => None,
    };
    Some(Script { command, user })
}

fn too_many(child: &Directive<'_>, usage: impl Display) -> Diagnostic {
    let message = format!("{} takes fewer arguments", quoted(&child.keyword.text));
    Diagnostic::new(Code::ExtraArgument, child.head(), message)
        .help(format!("write `{usage}`: what belongs together stands in quotes"))
}

/// The program and its arguments, of the text that stands for both.
pub(super) fn command(child: &Directive<'_>, text: &str, sink: &mut Sink) -> Option<Vec<String>> {
    let command = shell::words(text).filter(|words| words.first().is_some_and(|w| !w.is_empty()));
    if command.is_none() {
        let message = format!("{} names no program", quoted(&child.keyword.text));
        sink.push(
            Diagnostic::new(Code::BadText, child.head(), message).help(
                "write its path and arguments together in quotes: `\"/path/program argument\"`",
            ),
        );
    }
    command
}

/// The words of a line in keepalived's other way of quoting.
pub(super) fn relex(child: &Directive<'_>, sink: &mut Sink) -> Option<Vec<String>> {
    let words = shell::words(child.raw);
    if words.is_none() {
        let message =
            format!("a quote or a `\\` does not end behind {}", quoted(&child.keyword.text));
        sink.push(Diagnostic::new(Code::BadText, child.head(), message).help(
            "here `'` quotes as well as `\"`, and `\\` stands before a character that is to be taken as it is",
        ));
    }
    words
}

/// The words in a block of lines.
fn list(child: &Directive<'_>, of: &str, sink: &mut Sink) -> Option<Vec<String>> {
    let Some(block) = &child.block else {
        sink.push(missing_open(child));
        return None;
    };
    let mut all = Vec::new();
    for line in &block.children {
        let words = std::iter::once(&line.keyword).chain(&line.args);
        let begins_block =
            |text: &str| schema::needs_block(text).is_some() || schema::begins_at_top(text);
        if let Some(word) = words.clone().find(|word| begins_block(&word.text)) {
            let message = format!("{} is no {of}", quoted(&word.text));
            sink.push(
                Diagnostic::new(Code::BadText, line.head(), message)
                    .help("is a `}` missing above?"),
            );
            continue;
        }
        keyword::refuse_block(line, sink);
        all.extend(words.map(|word| word.text.clone().into_owned()));
    }
    Some(all)
}

/// Says that a keyword lacks its block.
pub(super) fn missing_open(child: &Directive<'_>) -> Diagnostic {
    let message = format!("{} without its `{{`", quoted(&child.keyword.text));
    Diagnostic::new(Code::MissingOpen, child.head(), message)
        .help("put ` {` at the end of this line, and `}` on a line of its own after the block")
}
