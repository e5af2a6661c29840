//! `HTTP_GET` and `SSL_GET`.

use std::ops::RangeInclusive;

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        model::{Connection, HttpCheck, HttpVersion, Url, UrlRegex},
        regex::RegexError,
        schema::{Keyword as K, Place},
        source::Span,
        tree::Directive,
    },
    checker::{self, Block, Inherited},
    number,
    values::Values,
};

/// PCRE's options, by keepalived's names: `regex_options` in its `check_http.c`.
static OPTIONS: [&str; 24] = [
    "allow_empty_class",
    "alt_bsux",
    "alt_circumflex",
    "alt_verbnames",
    "auto_callout",
    "caseless",
    "dollar_endonly",
    "dotall",
    "dupnames",
    "extended",
    "firstline",
    "match_unset_backref",
    "multiline",
    "never_backslash_c",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "ucp",
    "ungreedy",
    "use_offset_limit",
    "utf",
];

/// Makes the check of what its block says.
pub(super) fn lower(
    block: &Block<'_, '_>,
    inherited: &Inherited<'_>,
    sink: &mut Sink,
) -> Option<HttpCheck> {
    let values = &block.values;
    let tls = block.place == Place::SslGet;
    let host = values.text(K::Virtualhost).or_else(|| inherited.virtualhost.clone());
    let compliant = values.is_on(K::TlsCompliant);
    let urls: Vec<Url> = block
        .inner
        .iter()
        .map(|page| url(page, host.as_ref(), tls.then_some(compliant), sink))
        .collect();
    if urls.is_empty() {
        // Of one that cannot be used that has been said.
        if !values.is_meant(K::Url) {
            let help = "add `url {` with a `path` in it";
            sink.push(checker::left_out(block, "has no `url` that can be asked for", help));
        }
        return None;
    }
    let sni_name = values.text(K::SniName);
    Some(HttpCheck {
        tls,
        connection: Connection::of(values, inherited),
        version: match values.text(K::HttpProtocol).as_deref() {
            Some("1.0C") => HttpVersion::V10Close,
            Some("1.1") => HttpVersion::V11,
            _ => HttpVersion::V10,
        },
        sni: values.is_on(K::EnableSni) || values.words(K::SniName).is_some(),
        sni_name,
        fast_recovery: values.is_on(K::FastRecovery),
        urls,
    })
}

/// Whether a page has a path; if not, it is left out, as in keepalived.
pub(super) fn is_usable(page: &Values, child: &Directive<'_>, sink: &mut Sink) -> bool {
    let usable = page.head(K::Path).is_some();
    if !page.is_meant(K::Path) {
        let message = "this `url` has no `path`, so it is left out, as in keepalived";
        sink.push(
            Diagnostic::new(Code::CheckIncomplete, child.head(), message)
                .help("add `path /`, or whatever the page is called"),
        );
    }
    usable
}

fn url(page: &Values, host: Option<&String>, compliant: Option<bool>, sink: &mut Sink) -> Url {
    let digest = page.text(K::Digest).and_then(|text| {
        let digest = md5(&text);
        if digest.is_none() {
            let message = format!("{} is no MD5 sum", quoted(&text));
            report(
                page,
                K::Digest,
                message,
                "write 32 hexadecimal digits; `genhash` of keepalived works them out",
                sink,
            );
        }
        digest
    });
    let own = page.truth(K::TlsCompliant);
    Url {
        path: page.text(K::Path).unwrap_or_default(),
        digest,
        status_codes: status_codes(page, sink),
        virtualhost: page.text(K::Virtualhost).or_else(|| host.cloned()),
        regex: regex(page, sink),
        tls_compliant: compliant.is_some_and(|compliant| own.unwrap_or(compliant)),
    }
}

fn report(page: &Values, keyword: K, message: impl Into<String>, help: &str, sink: &mut Sink) {
    if let Some(head) = page.head(keyword) {
        sink.push(Diagnostic::new(Code::BadText, head, message).help(help));
    }
}

fn md5(text: &str) -> Option<[u8; 16]> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let pairs = digits.filter(|digits| digits.len() == 32)?;
    let bytes =
        pairs.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8));
    bytes.collect::<Vec<u8>>().try_into().ok()
}

/// Ranges in order that neither overlap nor touch, as keepalived's bits would show them.
fn status_codes(page: &Values, sink: &mut Sink) -> Vec<RangeInclusive<u16>> {
    let mut ranges = Vec::new();
    for word in page.words(K::StatusCode).unwrap_or_default() {
        let (first, last) = word.split_once('-').unwrap_or((word, word));
        let code = |text| number::digits(text).and_then(|code| u16::try_from(code).ok());
        let pair = code(first).zip(code(last)).filter(|(first, last)| {
            (100..=599).contains(first) && (100..=599).contains(last) && first <= last
        });
        if let Some((first, last)) = pair {
            ranges.push(first..=last);
            continue;
        }
        let message = format!("{} is neither a status code nor a range of them", quoted(word));
        let help = "write numbers and ranges from 100 to 599: `200 301-302`";
        report(page, K::StatusCode, message, help, sink);
    }
    if ranges.is_empty() {
        return vec![Url::STATUS_CODES];
    }
    ranges.sort_by_key(|range| *range.start());
    let mut joined: Vec<RangeInclusive<u16>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if *range.start() <= last.end().saturating_add(1) => {
                *last = *last.start()..=(*last.end()).max(*range.end());
            }
            _ => joined.push(range),
        }
    }
    joined
}

fn regex(page: &Values, sink: &mut Sink) -> Option<UrlRegex> {
    let options = page.words(K::RegexOptions).unwrap_or_default();
    let mut known: Vec<&'static str> = Vec::new();
    for option in options {
        match OPTIONS.iter().find(|name| *name == option) {
            Some(name) => known.push(name),
            None => report(
                page,
                K::RegexOptions,
                format!("{} is no option of regular expressions", quoted(option)),
                "keepalived has `caseless`, `multiline`, `dotall`, `extended` and others of PCRE's, in small letters",
                sink,
            ),
        }
    }
    known.sort_unstable();
    known.dedup();
    let stack = page.words(K::RegexStack).and_then(|words| {
        let sizes: Option<Vec<u64>> = words.iter().map(|word| number::digits(word)).collect();
        let pair = match sizes.as_deref() {
            Some([start, most]) if 0 < *start && start <= most => Some((*start, *most)),
            _ => None,
        };
        if pair.is_none() {
            let message =
                "`regex_stack` takes two sizes in bytes, the second not less than the first";
            report(page, K::RegexStack, message, "write `regex_stack 32768 524288`", sink);
        }
        pair
    });
    let others =
        [K::RegexOptions, K::RegexNoMatch, K::RegexMinOffset, K::RegexMaxOffset, K::RegexStack];
    let Some(pattern) = page.text(K::Regex) else {
        if page.head(K::Regex).is_none()
            && let Some(head) = page.first_of(&others)
        {
            let message =
                "this is about a regular expression, and there is no `regex` in this `url`";
            sink.push(
                Diagnostic::new(Code::WithoutEffect, head, message)
                    .help("add `regex \"EXPRESSION\"`, or delete the line"),
            );
        }
        return None;
    };
    let mut offsets = (page.number(K::RegexMinOffset), page.number(K::RegexMaxOffset));
    if let (Some(least), Some(most)) = offsets
        && least > most
    {
        let head = page.first_of(&[K::RegexMinOffset, K::RegexMaxOffset]);
        let message = format!("no match begins at {least} or later and at {most} or earlier");
        if let Some(head) = head {
            sink.push(
                Diagnostic::new(Code::WithoutEffect, head, message)
                    .help("exchange the two; as it is both are ignored, as in keepalived"),
            );
        }
        offsets = (None, None);
    }
    let regex = UrlRegex {
        pattern,
        no_match: page.is_on(K::RegexNoMatch),
        options: known,
        min_offset: offsets.0.filter(|least: &u64| *least > 0),
        max_offset: offsets.1,
        stack,
    };
    if let Err(error) = regex.compile(false) {
        refuse_regex(&regex, error, page, sink);
    }
    Some(regex)
}

/// Says why an expression cannot be used. keepalived would go on without it.
fn refuse_regex(regex: &UrlRegex, error: RegexError, page: &Values, sink: &mut Sink) {
    let (reason, offset) = match error {
        RegexError::Option(option) => {
            if let Some(head) = page.head(K::RegexOptions) {
                let message = format!("`regex_options {option}` cannot be had in this version");
                sink.push(Diagnostic::new(Code::ValueNotYet, head, message).help(
                    "delete it; what it does can often be said in the expression, such as `\\\\z` for the very end",
                ));
            }
            return;
        }
        RegexError::Pattern { reason, offset } => (reason, offset),
    };
    let Some(whole) = page.argument(K::Regex) else { return };
    let pattern = &regex.pattern;
    // Each escape takes a backslash away, so with as many bytes nothing stands for anything else.
    let quotes = (whole.end() - whole.start()).checked_sub(pattern.len());
    let character = pattern.char_indices().take_while(|(at, _)| *at <= offset).last();
    let place = match (quotes, character) {
        (Some(quotes @ (0 | 2)), Some((at, character))) => {
            let start = whole.start() + quotes / 2 + at;
            Span::new(start, start + character.len_utf8())
        }
        _ => whole,
    };
    let near = pattern.get(offset..).unwrap_or_default();
    let spot = match near {
        "" => "at its end".to_owned(),
        near => format!("at {}", quoted(near)),
    };
    let message = format!("{} is no regular expression: {reason}, {spot}", quoted(pattern));
    sink.push(Diagnostic::new(Code::BadRegex, place, message).help(
        "they are PCRE's; a `\\` that is part of one is written `\\\\`, as in `\\\\.` for a dot",
    ));
}
