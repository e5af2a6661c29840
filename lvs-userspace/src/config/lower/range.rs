//! Ranges of addresses, as in keepalived's `virtual_server_group`: `192.0.2.10-20`, `2001:db8::10-1f`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
    },
    value,
};

/// Addresses that differ in the last part only. Gives them one after the other.
pub(super) struct Range {
    first: IpAddr,
    /// The last parts that are still to come.
    last_parts: std::ops::RangeInclusive<u16>,
}

impl Range {
    /// Reads one address or a range.
    pub(super) fn read(word: &Word<'_>, sink: &mut Sink) -> Option<Self> {
        let numeric = is_numeric(&word.text);
        match word.text.split_once('-') {
            Some((first, last)) if numeric => match Self::parse(first, last) {
                Ok(range) => Some(range),
                Err(reason) => {
                    sink.push(bad(word, &reason));
                    None
                }
            },
            None if numeric && word.text.contains('/') => {
                sink.push(bad(word, "a mask cannot be given; write `192.0.2.1-254`"));
                None
            }
            _ => value::host(word, sink).map(|address| Self::new(address, last_part(address))),
        }
    }

    fn parse(first: &str, last: &str) -> Result<Self, String> {
        let first = first.parse().map_err(|_| "before the `-` stands a whole address")?;
        let (last, help) = match first {
            IpAddr::V4(_) => (
                value::digits(last).and_then(|last| u8::try_from(last).ok()).map(u16::from),
                "behind the `-` stands the last number of the last address, greater than that of the first: `192.0.2.10-20`",
            ),
            IpAddr::V6(_) => (
                hexadecimal(last),
                "behind the `-` stands the last group of the last address, greater than that of the first: `2001:db8::10-1f`",
            ),
        };
        let last = last.filter(|last| *last > last_part(first)).ok_or(help)?;
        let unfit = value::unfit(first).or_else(|| value::unfit(with_last_part(first, last)));
        match unfit {
            None => Ok(Self::new(first, last)),
            Some(reason) => Err(format!("one of its ends does not fit: {reason}")),
        }
    }

    fn new(first: IpAddr, last: u16) -> Self {
        Self { first, last_parts: last_part(first)..=last }
    }
}

impl Iterator for Range {
    type Item = IpAddr;

    fn next(&mut self) -> Option<IpAddr> {
        Some(with_last_part(self.first, self.last_parts.next()?))
    }
}

/// Whether it reads like a range, not like a name with a hyphen.
fn is_numeric(text: &str) -> bool {
    text.contains(['.', ':']) && text.bytes().all(|c| c.is_ascii_hexdigit() || b".:-/".contains(&c))
}

fn hexadecimal(text: &str) -> Option<u16> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

/// The last number of an IPv4 address, the last group of an IPv6 one.
const fn last_part(address: IpAddr) -> u16 {
    match address {
        IpAddr::V4(v4) => (v4.to_bits() & 0xff) as u16,
        IpAddr::V6(v6) => v6.to_bits() as u16,
    }
}

const fn with_last_part(address: IpAddr, part: u16) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & !0xff | part as u32)),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !0xffff | part as u128)),
    }
}

fn bad(word: &Word<'_>, help: &str) -> Diagnostic {
    let message = format!("{} is not a range of host addresses", quoted(&word.text));
    Diagnostic::new(Code::BadRange, word.span, message).help(help)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(first: &str, last: &str) -> Option<Vec<String>> {
        Some(Range::parse(first, last).ok()?.map(|address| address.to_string()).collect())
    }

    #[test]
    fn a_range_has_both_its_ends() {
        let list = |addresses: &[&str]| Some(addresses.iter().map(|a| (*a).to_owned()).collect());
        assert_eq!(all("10.0.0.9", "11"), list(&["10.0.0.9", "10.0.0.10", "10.0.0.11"]));
        assert_eq!(all("10.0.0.254", "255"), list(&["10.0.0.254", "10.0.0.255"]));
        assert_eq!(all("fd00::ffe", "FFF"), list(&["fd00::ffe", "fd00::fff"]));
        assert_eq!(all("fd00::fffe", "ffff"), list(&["fd00::fffe", "fd00::ffff"]));
    }

    #[test]
    fn ends_that_do_not_follow_are_refused() {
        for (first, last) in [
            ("10.0.0.9", "9"),
            ("10.0.0.9", "8"),
            ("10.0.0.9", "256"),
            ("10.0.0.9", "10.0.0.11"),
            ("10.0.0.9", "+10"),
            ("10.0.0.9", "a"),
            ("10.0.0.9", ""),
            ("10.0.0", "9"),
            ("0.0.0.0", "9"),
            ("255.255.255.250", "255"),
            ("239.0.0.1", "2"),
            ("fd00::9", "9"),
            ("fd00::9", "10000"),
            ("fd00::9", "00010"),
            ("fd00::9", "fd00::10"),
            ("fe80::1", "2"),
            ("", "9"),
        ] {
            assert_eq!(all(first, last), None, "{first}-{last}");
        }
    }
}
