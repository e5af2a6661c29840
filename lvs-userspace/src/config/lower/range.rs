//! Addresses as keepalived's `virtual_server_group` writes them: `192.0.2.10`, `192.0.2.10-20`,
//! `192.0.2.10-192.0.3.9`, `192.0.2.0/24`, and the same for IPv6.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    super::{
        addresses::AddressRange,
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
    },
    number, value,
};

/// Reads one address, or a range that names the last part of its last address: all that DPVS's groups take.
pub(super) fn by_last_part(word: &Word<'_>, sink: &mut Sink) -> Option<AddressRange> {
    read(word, sink, |text| match text.split_once('-') {
        Some((first, last)) => last_part_range(first, last),
        None => Err("a mask cannot be given; write `192.0.2.1-254`".to_owned()),
    })
}

/// Reads one address or a range in any of the forms.
pub(super) fn any(word: &Word<'_>, sink: &mut Sink) -> Option<AddressRange> {
    read(word, sink, |text| match (text.split_once('/'), text.split_once('-')) {
        (Some((network, length)), _) => prefix(network, length),
        (None, Some((first, last))) if last.contains(['.', ':']) => whole_range(first, last),
        (None, Some((first, last))) => last_part_range(first, last),
        (None, None) => Err("write `192.0.2.1-254`".to_owned()),
    })
}

fn read(
    word: &Word<'_>,
    sink: &mut Sink,
    parse: impl FnOnce(&str) -> Result<AddressRange, String>,
) -> Option<AddressRange> {
    if !is_range(&word.text) {
        return value::host(word, sink).map(AddressRange::one);
    }
    match parse(&word.text) {
        Ok(range) => Some(range),
        Err(reason) => {
            let message = format!("{} is not a range of host addresses", quoted(&word.text));
            sink.push(Diagnostic::new(Code::BadRange, word.span, message).help(reason));
            None
        }
    }
}

/// Whether it reads like a range, not like an address, nor like a name with a hyphen.
pub(super) fn is_range(text: &str) -> bool {
    let numeric = text.bytes().all(|c| c.is_ascii_hexdigit() || b".:-/".contains(&c));
    numeric && text.contains(['.', ':']) && text.contains(['-', '/'])
}

fn last_part_range(first: &str, last: &str) -> Result<AddressRange, String> {
    let first = first.parse().map_err(|_| "before the `-` stands a whole address")?;
    let (last, help) = match first {
        IpAddr::V4(v4) => {
            let part = number::digits(last).and_then(|last| u8::try_from(last).ok());
            let whole = |part| Ipv4Addr::from_bits(v4.to_bits() & !0xff | u32::from(part));
            (
                part.map(|part| IpAddr::V4(whole(part))),
                "behind the `-` stands the last number of the last address, greater than that of the first: `192.0.2.10-20`",
            )
        }
        IpAddr::V6(v6) => {
            let whole = |part| Ipv6Addr::from_bits(v6.to_bits() & !0xffff | u128::from(part));
            (
                hexadecimal(last).map(|part| IpAddr::V6(whole(part))),
                "behind the `-` stands the last group of the last address, greater than that of the first: `2001:db8::10-1f`",
            )
        }
    };
    let last = last.filter(|last| *last > first).ok_or(help)?;
    fit(first, last)
}

fn whole_range(first: &str, last: &str) -> Result<AddressRange, String> {
    let help = "write the first address, `-`, and the last one of the same family, which is not less: `192.0.2.10-192.0.3.9`";
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if AddressRange::new(first, last).is_some() => fit(first, last),
        _ => Err(help.to_owned()),
    }
}

/// All of a network; keepalived takes its first and last address too.
fn prefix(network: &str, length: &str) -> Result<AddressRange, String> {
    let first = network.parse().map_err(|_| "before the `/` stands a whole address")?;
    let width: u32 = if matches!(first, IpAddr::V4(_)) { 32 } else { 128 };
    let length = number::digits(length)
        .and_then(|length| u32::try_from(length).ok())
        .filter(|length| (1..=width).contains(length))
        .ok_or_else(|| format!("behind the `/` stands the prefix's length, from 1 to {width}"))?;
    // The length is at least 1, so that not all bits are shifted out.
    let hosts = u128::MAX.checked_shr(128 - width + length).unwrap_or(0);
    let (bits, last) = match first {
        IpAddr::V4(v4) => {
            let bits = v4.to_bits();
            (u128::from(bits), IpAddr::V4(Ipv4Addr::from_bits(bits | hosts as u32)))
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            (bits, IpAddr::V6(Ipv6Addr::from_bits(bits | hosts)))
        }
    };
    if bits & hosts != 0 {
        return Err(format!(
            "the bits behind a prefix of {length} are not 0; begin with the network's first address"
        ));
    }
    fit(first, last)
}

/// A range whose ends can be addresses of hosts. Those between can be too unless they are millions.
fn fit(first: IpAddr, last: IpAddr) -> Result<AddressRange, String> {
    match value::unfit(first).or_else(|| value::unfit(last)) {
        None => AddressRange::new(first, last).ok_or_else(|| "its ends do not follow".to_owned()),
        Some(reason) => Err(format!("one of its ends does not fit: {reason}")),
    }
}

fn hexadecimal(text: &str) -> Option<u16> {
    let plain = (1..=4).contains(&text.len()) && text.bytes().all(|c| c.is_ascii_hexdigit());
    plain.then(|| u16::from_str_radix(text, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(range: Result<AddressRange, String>) -> Option<Vec<String>> {
        Some(range.ok()?.iter().map(|address| address.to_string()).collect())
    }

    fn list(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(|a| (*a).to_owned()).collect()
    }

    #[test]
    fn a_range_has_both_its_ends() {
        for (first, last, expected) in [
            ("10.0.0.9", "11", ["10.0.0.9", "10.0.0.10", "10.0.0.11"].as_slice()),
            ("10.0.0.254", "255", &["10.0.0.254", "10.0.0.255"]),
            ("fd00::ffe", "FFF", &["fd00::ffe", "fd00::fff"]),
            ("fd00::fffe", "ffff", &["fd00::fffe", "fd00::ffff"]),
        ] {
            assert_eq!(all(last_part_range(first, last)), Some(list(expected)), "{first}-{last}");
        }
        for (first, last, expected) in [
            ("10.0.0.255", "10.0.1.0", ["10.0.0.255", "10.0.1.0"].as_slice()),
            ("10.0.0.1", "10.0.0.1", &["10.0.0.1"]),
            ("fd00::ffff", "fd00::1:0", &["fd00::ffff", "fd00::1:0"]),
        ] {
            assert_eq!(all(whole_range(first, last)), Some(list(expected)), "{first}-{last}");
        }
    }

    #[test]
    fn a_prefix_is_all_of_its_network() {
        for (network, length, expected) in [
            ("10.0.0.8", "31", ["10.0.0.8", "10.0.0.9"].as_slice()),
            ("10.0.0.9", "32", &["10.0.0.9"]),
            ("fd00::2", "127", &["fd00::2", "fd00::3"]),
            ("fd00::3", "128", &["fd00::3"]),
        ] {
            assert_eq!(all(prefix(network, length)), Some(list(expected)), "{network}/{length}");
        }
        assert_eq!(prefix("128.0.0.0", "2").map(|range| range.count()), Ok(1 << 30));
        assert_eq!(
            prefix("8000::", "1").map(|range| range.count()),
            Err("one of its ends does not fit: it is a multicast address".to_owned())
        );
        for (network, length) in [
            ("10.0.0.8", "0"),
            ("10.0.0.8", "33"),
            ("10.0.0.8", "28"),
            ("10.0.0.8", "255.255.255.0"),
            ("10.0.0.8", ""),
            ("10.0.0", "24"),
            ("fd00::", "129"),
            ("fd00::1", "64"),
            ("224.0.0.0", "24"),
        ] {
            assert_eq!(all(prefix(network, length)), None, "{network}/{length}");
        }
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
            assert_eq!(all(last_part_range(first, last)), None, "{first}-{last}");
        }
        for (first, last) in [
            ("10.0.0.9", "10.0.0.8"),
            ("10.0.0.9", "fd00::1"),
            ("10.0.0.9", "10.0.1"),
            ("10.0.0.9", "255.255.255.255"),
            ("fd00::2", "fd00::1"),
        ] {
            assert_eq!(all(whole_range(first, last)), None, "{first}-{last}");
        }
    }
}
