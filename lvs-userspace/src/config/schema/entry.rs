//! What the tables say about a keyword.

use super::{Keyword, Place};

/// A keyword in a kind of block.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    pub(crate) keyword: Keyword,
    pub(crate) form: Form,
    /// What holds without it; empty if that is nothing.
    pub(crate) default: &'static str,
    /// A sentence without its full stop.
    pub(crate) about: &'static str,
    pub(crate) effect: Effect,
}

/// Whether a keyword changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// This version acts on it.
    Acted,
    /// It is checked, and shown by `xlvs config show`, but this version does not act on it yet.
    NotYet,
    /// It is for keepalived's own processes, or for nothing at all.
    Never,
}

/// What stands behind a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Nothing.
    Bare,
    /// Nothing, which means true, or a truth value.
    Flag,
    /// Seconds to the microsecond, from the number of microseconds to the other.
    Timer(u64, u64),
    /// A whole number, and its unit.
    Number(i64, i64, &'static str),
    /// The same, or nothing.
    OptionalNumber(i64, i64, &'static str),
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One word, called so.
    Text(&'static str),
    /// The same, or nothing.
    OptionalText(&'static str),
    /// A host's address.
    Address,
    /// A port that is not 0.
    Port,
    /// A host's address, and perhaps a port.
    Endpoint,
    /// A program with its arguments in quotes, and perhaps a user and a group.
    Script,
    /// A program with its arguments in quotes.
    Command,
    /// One word in keepalived's other way of quoting, called so.
    Quoted(&'static str),
    /// A user, and perhaps a group.
    User,
    /// Something of its own, described so.
    Own(&'static str),
    /// The same, with at least and at most so many words; checked no further.
    Words(&'static str, usize, usize),
    /// A block, with these words before it.
    Block(&'static str, Place),
    /// Lines of words in braces, called so.
    List(&'static str),
}

/// What keepalived counts microseconds up to where it keeps them in an `unsigned`.
pub(crate) const SHORT: u64 = 0xffff_ffff;
/// And where it keeps them in an `unsigned long`.
pub(crate) const LONG: u64 = u64::MAX / 2;
/// `UINT_MAX`.
pub(crate) const UINT: i64 = 0xffff_ffff;
/// `INT_MAX`.
pub(crate) const INT: i64 = 0x7fff_ffff;

impl Form {
    /// How the whole line is written.
    pub(crate) fn usage(self, name: &str) -> String {
        let behind = self.argument();
        let gap = if behind.is_empty() { "" } else { " " };
        match self {
            Self::Block(..) | Self::List(_) => format!("{name}{gap}{behind} {{"),
            _ => format!("{name}{gap}{behind}"),
        }
    }

    /// What stands behind the keyword, in words.
    pub(crate) fn argument(self) -> String {
        match self {
            Self::Bare | Self::List(_) => String::new(),
            Self::Flag => "[on|off]".to_owned(),
            Self::Timer(..) => "SECONDS".to_owned(),
            Self::Number(.., unit) => unit.to_uppercase(),
            Self::OptionalNumber(.., unit) => format!("[{}]", unit.to_uppercase()),
            Self::Choice(words) => words.join("|"),
            Self::OptionalText(name) => format!("[{name}]"),
            Self::Address => "ADDRESS".to_owned(),
            Self::Port => "PORT".to_owned(),
            Self::Endpoint => "ADDRESS [PORT]".to_owned(),
            Self::Script => "\"PROGRAM ARGUMENTS\" [USER [GROUP]]".to_owned(),
            Self::Command => "\"PROGRAM ARGUMENTS\"".to_owned(),
            Self::User => "USER [GROUP]".to_owned(),
            Self::Text(usage)
            | Self::Quoted(usage)
            | Self::Own(usage)
            | Self::Words(usage, ..)
            | Self::Block(usage, _) => usage.to_owned(),
        }
    }

    /// What kind of value it is, as `config explain` and the manual call it.
    pub(crate) fn kind(self) -> String {
        match self {
            Self::Bare => "no argument".to_owned(),
            Self::Flag => {
                "truth value (`on`, `off`, `true`, `false`, `yes`, `no`); alone it means `on`"
                    .to_owned()
            }
            Self::Timer(..) => "time in seconds, to the microsecond, such as `1.5`".to_owned(),
            Self::Number(_, _, "seconds") => "whole seconds".to_owned(),
            Self::OptionalNumber(_, _, "seconds") => "whole seconds, or nothing".to_owned(),
            Self::Number(..) => "whole number".to_owned(),
            Self::OptionalNumber(..) => "whole number, or nothing".to_owned(),
            Self::Choice(_) => "one word of those".to_owned(),
            Self::Text(_) => "text: one word, or several in quotes".to_owned(),
            Self::OptionalText(_) => "text, or nothing".to_owned(),
            Self::Address => "IPv4 or IPv6 address of a host".to_owned(),
            Self::Port => "port".to_owned(),
            Self::Endpoint => "address and port".to_owned(),
            Self::Script | Self::Command => {
                "program with its arguments, together in quotes".to_owned()
            }
            Self::Quoted(_) => "text: one word, or several in `\"` or `'`, with escapes".to_owned(),
            Self::User => "user, and perhaps group".to_owned(),
            Self::Own(_) | Self::Words(..) => "see the form above".to_owned(),
            Self::Block(..) => "block".to_owned(),
            Self::List(_) => "block of lines".to_owned(),
        }
    }

    /// The values allowed; nothing if the kind says it all.
    pub(crate) fn range(self) -> Option<String> {
        match self {
            Self::Timer(least, most) => {
                let least = if least == 0 { "0" } else { "0.000001" };
                let most = if most == SHORT { ", at most 4294.967295" } else { "" };
                Some(format!("at least {least}{most}"))
            }
            Self::Number(least, most, _) | Self::OptionalNumber(least, most, _) => {
                Some(format!("{least} to {most}"))
            }
            Self::Choice(words) => Some(format!("`{}`", words.join("`, `"))),
            Self::Port => Some("1 to 65535".to_owned()),
            Self::List(of) => Some(format!("one {of} a line")),
            _ => None,
        }
    }
}
