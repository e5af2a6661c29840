//! Numbers: whole ones, seconds and ports. What is none is reported with what to write instead, if that can be told.

use std::{ops::RangeInclusive, time::Duration};

use super::super::{
    code::Code,
    diag::{Diagnostic, Sink, quoted},
    lex::Word,
    tree::Directive,
};

/// keepalived counts microseconds in 64 bits.
const MICROSECONDS: u64 = 1_000_000;

/// keepalived's `LVS_MAX_TIMEOUT` in seconds: 31 days.
pub(super) const TIMEOUT_LIMIT: u32 = 31 * 24 * 60 * 60;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Seconds,
    Other,
}

/// A decimal number without a sign, which `parse` alone would accept.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// A port, or 0.
pub(super) fn port(word: &Word<'_>, sink: &mut Sink) -> Option<u16> {
    port_from(0, word, sink)
}

/// A port that is not 0.
pub(super) fn port_not_zero(word: &Word<'_>, sink: &mut Sink) -> Option<u16> {
    port_from(1, word, sink)
}

fn port_from(least: u16, word: &Word<'_>, sink: &mut Sink) -> Option<u16> {
    let port = digits(&word.text).and_then(|number| u16::try_from(number).ok());
    let port = port.filter(|port| *port >= least);
    if port.is_none() {
        let message = format!("{} is not a port", quoted(&word.text));
        let help = "a port is a number from 1 to 65535".to_owned();
        sink.push(
            Diagnostic::new(Code::BadPort, word.span, message)
                .help(help)
                .maybe_help(instead(&word.text, Unit::Other)),
        );
    }
    port
}

/// A whole number within a range, the argument of a keyword; with a sign if the range has such numbers.
pub(super) fn integer(
    directive: &Directive<'_>,
    word: &Word<'_>,
    range: RangeInclusive<i64>,
    unit: Unit,
    sink: &mut Sink,
) -> Option<i64> {
    let (negative, plain) = match word.text.strip_prefix('-') {
        Some(plain) => (true, plain),
        None => (false, &*word.text),
    };
    let value = digits(plain).and_then(|value| i64::try_from(value).ok());
    let value = value.map(|value| if negative { -value } else { value });
    let good = value.filter(|value| range.contains(value));
    if good.is_none() {
        let (low, high) = range.into_inner();
        let unit_name = if unit == Unit::Seconds { " of seconds" } else { "" };
        let expected = format!("a whole number{unit_name} from {low} to {high}");
        let help = match value {
            Some(0) => Some("to switch it off, leave the line out".to_owned()),
            Some(value) if value < 0 && low == 0 => {
                Some("it cannot be negative; `0` is the least".to_owned())
            }
            Some(value) if value < low => Some(format!("write at least `{low}`")),
            Some(value) if value > high => Some(format!("write at most `{high}`")),
            _ => instead(&word.text, unit),
        };
        sink.push(bad_number(directive, word, &expected).maybe_help(help));
    }
    good
}

/// Whole seconds up to a limit.
pub(super) fn seconds(
    directive: &Directive<'_>,
    word: &Word<'_>,
    range: RangeInclusive<u32>,
    sink: &mut Sink,
) -> Option<u32> {
    let range = i64::from(*range.start())..=i64::from(*range.end());
    let value = integer(directive, word, range, Unit::Seconds, sink)?;
    u32::try_from(value).ok()
}

/// Whether it is the 0 that keepalived ignores; then that is said, with what holds instead.
pub(super) fn is_ignored_zero(
    directive: &Directive<'_>,
    word: &Word<'_>,
    instead: &str,
    sink: &mut Sink,
) -> bool {
    let zero = digits(&word.text) == Some(0);
    if zero {
        let message = format!(
            "{} does not take 0; the line is ignored, as in keepalived, so {instead}",
            quoted(&directive.keyword.text)
        );
        sink.push(
            Diagnostic::new(Code::ZeroIgnored, word.span, message).help("leave the line out"),
        );
    }
    zero
}

/// keepalived's TIMER: seconds, to the microsecond; the range is in microseconds.
pub(super) fn timer_within(
    directive: &Directive<'_>,
    word: &Word<'_>,
    range: RangeInclusive<u64>,
    sink: &mut Sink,
) -> Option<Duration> {
    let good = micros(&word.text).filter(|micros| range.contains(micros));
    if good.is_none() {
        let expected = match (range.start(), range.end()) {
            (0, _) => "seconds, at least 0".to_owned(),
            (1, most) if *most <= 0xffff_ffff => {
                format!("seconds, at least a microsecond and at most {}", most / MICROSECONDS)
            }
            (1, _) => "seconds, at least a microsecond".to_owned(),
            (least, most) => format!(
                "seconds, from {:?} to {:?}",
                Duration::from_micros(*least),
                Duration::from_micros(*most)
            ),
        };
        let help = "write them without a unit, such as `20` or `0.5`".to_owned();
        sink.push(
            bad_number(directive, word, &expected)
                .help(help)
                .maybe_help(instead(&word.text, Unit::Seconds)),
        );
    }
    good.map(Duration::from_micros)
}

/// Seconds with up to six decimals.
fn micros(text: &str) -> Option<u64> {
    let Some((whole, fraction)) = text.split_once('.') else {
        return digits(text)?.checked_mul(MICROSECONDS);
    };
    let fraction = (fraction.len() <= 6).then(|| format!("{fraction:0<6}"))?;
    let seconds = digits(if whole.is_empty() { "0" } else { whole })?;
    seconds.checked_mul(MICROSECONDS)?.checked_add(digits(&fraction)?)
}

fn bad_number(directive: &Directive<'_>, word: &Word<'_>, expected: &str) -> Diagnostic {
    let keyword = quoted(&directive.keyword.text);
    let message = format!("{keyword} takes {expected}, not {}", quoted(&word.text));
    Diagnostic::new(Code::BadNumber, word.span, message)
}

/// What was probably meant by a text that is no number.
fn instead(text: &str, unit: Unit) -> Option<String> {
    let ascii: String = text.chars().map(ascii_digit).collect();
    if ascii != text && micros(&ascii).is_some() {
        return Some(format!("these digits only look like those of ASCII; write `{ascii}`"));
    }
    if let Some(plain) = text.strip_prefix(['+', '-']).filter(|plain| micros(plain).is_some()) {
        return Some(if text.starts_with('+') {
            format!("write it without the sign: `{plain}`")
        } else {
            "it cannot be negative".to_owned()
        });
    }
    if let Some(plain) = text.strip_suffix([';', ',']).filter(|plain| micros(plain).is_some()) {
        return Some(format!("nothing ends a line but its end; write `{plain}`"));
    }
    let length = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, letters) = text.split_at_checked(length)?;
    if number.is_empty() || !letters.chars().all(char::is_alphabetic) {
        return None;
    }
    if unit == Unit::Other {
        return Some(format!("it is a number without a unit: `{number}`"));
    }
    let factor = match &*letters.to_ascii_lowercase() {
        "us" => 1,
        "ms" => 1_000,
        "s" | "sec" | "secs" | "second" | "seconds" => MICROSECONDS,
        "m" | "min" | "mins" | "minute" | "minutes" => 60 * MICROSECONDS,
        "h" | "hour" | "hours" => 3_600 * MICROSECONDS,
        "d" | "day" | "days" => 86_400 * MICROSECONDS,
        _ => return Some("it is in seconds, without a unit".to_owned()),
    };
    // Six decimals of any unit but the smallest two are whole microseconds; those may round down.
    let whole = u128::from(micros(number)?) * u128::from(factor) / u128::from(MICROSECONDS);
    let (seconds, rest) = (whole / u128::from(MICROSECONDS), whole % u128::from(MICROSECONDS));
    let shown = format!("{seconds}.{rest:06}");
    let shown = shown.trim_end_matches('0').trim_end_matches('.');
    Some(format!("it is in seconds, without a unit: write `{shown}`"))
}

/// The ASCII digit that a full-width one looks like.
fn ascii_digit(c: char) -> char {
    let value = u32::from(c).checked_sub(0xff10).filter(|value| *value < 10);
    value.and_then(|value| char::from_digit(value, 10)).unwrap_or(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_meant_is_guessed() {
        for (text, unit, wanted) in [
            ("10s", Unit::Seconds, Some("it is in seconds, without a unit: write `10`")),
            ("1h", Unit::Seconds, Some("it is in seconds, without a unit: write `3600`")),
            ("1.5m", Unit::Seconds, Some("it is in seconds, without a unit: write `90`")),
            ("250ms", Unit::Seconds, Some("it is in seconds, without a unit: write `0.25`")),
            ("3x", Unit::Seconds, Some("it is in seconds, without a unit")),
            ("10s", Unit::Other, Some("it is a number without a unit: `10`")),
            ("+3", Unit::Other, Some("write it without the sign: `3`")),
            ("-0.5", Unit::Seconds, Some("it cannot be negative")),
            (
                "\u{ff11}\u{ff12}",
                Unit::Other,
                Some("these digits only look like those of ASCII; write `12`"),
            ),
            ("6;", Unit::Seconds, Some("nothing ends a line but its end; write `6`")),
            ("http", Unit::Other, None),
            ("", Unit::Other, None),
            ("8080-8090", Unit::Other, None),
        ] {
            assert_eq!(instead(text, unit).as_deref(), wanted, "{text}");
        }
    }
}
