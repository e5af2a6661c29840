//! Arguments to values, but for numbers. Each function reports what is wrong and then gives nothing.

use std::{
    fmt::Display,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::RangeInclusive,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::Family,
        source::Span,
        suggest,
        tree::Directive,
    },
    number,
};

/// The arguments, if there are as many as there should be. How it is written is asked for only where that is not so: most of
/// a large file is right.
pub(super) fn args<'d, 's>(
    directive: &'d Directive<'s>,
    count: RangeInclusive<usize>,
    usage: impl Display,
    sink: &mut Sink,
) -> Option<&'d [Word<'s>]> {
    let args = directive.args.as_slice();
    if args.len() < *count.start() {
        let end = directive.head().end();
        sink.push(missing_argument(&directive.keyword.text, end, usage));
        return None;
    }
    if let Some([first, .., last] | [first @ last]) = args.get(*count.end()..) {
        let why = if args.first().is_some_and(|word| word.text == "=") {
            "there is no `=` in this language"
        } else {
            "each keyword starts on a line of its own"
        };
        sink.push(
            Diagnostic::new(
                Code::ExtraArgument,
                first.span.to(last.span),
                format!("{} takes fewer arguments", quoted(&directive.keyword.text)),
            )
            .help(format!("write `{usage}`; {why}")),
        );
        return None;
    }
    Some(args)
}

/// Says that a word lacks what should follow it.
pub(super) fn missing_argument(word: &str, end: usize, usage: impl Display) -> Diagnostic {
    let message = format!("{} lacks an argument", quoted(word));
    Diagnostic::new(Code::MissingArgument, Span::new(end, end), message)
        .help(format!("write `{usage}`; what follows `#` or `!` is a comment"))
}

/// The address and port of a `virtual_server` or `real_server`. Without a port it is 0, as in keepalived.
pub(super) fn endpoint(directive: &Directive<'_>, sink: &mut Sink) -> Option<(IpAddr, u16)> {
    let usage = format_args!("{} ADDRESS PORT {{", directive.keyword.text);
    let args = args(directive, 1..=2, usage, sink)?;
    let address = host(args.first()?, sink);
    let port = args.get(1).map_or(Some(0), |word| number::port(word, sink));
    Some((address?, port?))
}

/// An address that one host can have.
pub(super) fn host(word: &Word<'_>, sink: &mut Sink) -> Option<IpAddr> {
    let bad = match word.text.parse::<IpAddr>() {
        Ok(address) => match unfit(address) {
            Some(reason) => reason,
            None => return Some(address),
        },
        Err(_) => shape(&word.text),
    };
    let message = format!("{} is not the address of a host", quoted(&word.text));
    sink.push(Diagnostic::new(Code::BadAddress, word.span, message).help(bad));
    None
}

/// Why an address cannot be the one of a virtual server, a real server or for full NAT.
pub(super) fn unfit(address: IpAddr) -> Option<&'static str> {
    match address {
        _ if address.is_unspecified() => Some("it stands for any address"),
        _ if address.is_multicast() => Some("it is a multicast address"),
        IpAddr::V4(v4) if v4.is_broadcast() => Some("it is the broadcast address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Some("it stands for an IPv4 address; write that one, without the `::ffff:`")
        }
        // Routers must not forward packets from or to these (RFC 4291, 2.5.6).
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Some("it is valid on one link only, and no interface can be named here")
        }
        _ => None,
    }
}

/// What is wrong with the shape of an address.
fn shape(text: &str) -> &'static str {
    let octal = |part: &str| part.len() > 1 && part.starts_with('0');
    let digit = text.starts_with(|c: char| c.is_ascii_digit());
    let colons = text.matches(':').count() > 1;
    if text.rsplit_once(':').is_some_and(|(before, _)| before.parse::<Ipv4Addr>().is_ok()) {
        "address and port are two words: `192.0.2.1 80`"
    } else if text.starts_with('[') {
        "write it without brackets, the port as a word of its own: `2001:db8::1 80`"
    } else if text.split_once('%').is_some_and(|(before, _)| before.parse::<Ipv6Addr>().is_ok()) {
        "no interface can be named here, so that link-local addresses cannot be used"
    } else if text.contains(['/', '-']) && (digit || colons) {
        "one address stands here, without a mask or range"
    } else if colons {
        "write groups of up to four hexadecimal digits with colons between them; one `::` may stand for zeros"
    } else if digit && text.split('.').any(octal) {
        "write its numbers without leading zeros, which some programs read as octal"
    } else if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        "host names are not looked up; write the address"
    } else {
        "write four numbers from 0 to 255 with dots between them"
    }
}

/// Says that something cannot be of use to a service of the other family.
pub(super) fn wrong_family(
    span: Span,
    what: &str,
    family: Family,
    service: &str,
    its: Family,
) -> Diagnostic {
    let message = format!("{what} is {family}, but the service {service} is {its}");
    Diagnostic::new(Code::WrongFamily, span, message)
        .help("neither NAT nor FNAT translates between the two")
}

/// One of the words that a keyword takes; if it is written in other letters, that is the help.
pub(super) fn word_of(
    directive: &Directive<'_>,
    word: &Word<'_>,
    words: &[&'static str],
    sink: &mut Sink,
) -> Option<&'static str> {
    // keepalived compares these two without regard to case, and all others with it.
    let any_case = matches!(&*directive.keyword.text, "protocol" | "type");
    let is = |name: &str| name == word.text || (any_case && name.eq_ignore_ascii_case(&word.text));
    let found = words.iter().copied().find(|name| is(name));
    if found.is_none() {
        let message =
            format!("{} does not take {}", quoted(&directive.keyword.text), quoted(&word.text));
        let help = match suggest::nearest(&word.text, words.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it takes `{}`", words.join("`, `")),
        };
        sink.push(Diagnostic::new(Code::BadChoice, word.span, message).help(help));
    }
    found
}

/// The words that a keyword takes.
pub(super) struct Choice<T: 'static> {
    /// As in "… is not a {}".
    pub(super) what: &'static str,
    pub(super) understood: &'static [(&'static str, T)],
    pub(super) any_case: bool,
}

impl<T: Copy> Choice<T> {
    pub(super) fn pick(&self, word: &Word<'_>, sink: &mut Sink) -> Option<T> {
        let is = |name: &str| {
            name == word.text || (self.any_case && name.eq_ignore_ascii_case(&word.text))
        };
        if let Some((_, value)) = self.understood.iter().find(|(name, _)| is(name)) {
            return Some(*value);
        }
        let names: Vec<&str> = self.understood.iter().map(|(name, _)| *name).collect();
        let understood = names.join("`, `");
        let near = suggest::nearest(&word.text, names);
        let help = near.map_or_else(
            || format!("this version has `{understood}`"),
            |near| format!("did you mean `{near}`?"),
        );
        sink.push(
            Diagnostic::new(
                Code::BadChoice,
                word.span,
                format!("{} is not a {}", quoted(&word.text), self.what),
            )
            .help(help),
        );
        None
    }
}
