//! Addresses that follow each other.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use super::model::Family;

/// The addresses from one to another, both included; both of one family and in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddressRange {
    /// Absent if the second address is less than the first, or one of the other family.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// One address.
    #[must_use]
    pub const fn one(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// The lowest address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// The family of all of them.
    #[must_use]
    pub const fn family(&self) -> Family {
        Family::of(self.first)
    }

    /// How many they are; as many as can be counted if they are more.
    #[must_use]
    pub fn count(&self) -> usize {
        let more = bits(self.last) - bits(self.first);
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
    }

    /// Whether an address is one of them.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.first.is_ipv4() && self.first <= address && address <= self.last
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let family = self.family();
        (bits(self.first)..=bits(self.last)).map(move |bits| match family {
            // Between two IPv4 addresses there are no others.
            Family::Ipv4 => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
            Family::Ipv6 => IpAddr::V6(Ipv6Addr::from_bits(bits)),
        })
    }
}

/// As `virtual_server_group` writes them: one, or the first and the last with `-` between.
impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: &str, last: &str) -> Option<AddressRange> {
        AddressRange::new(first.parse().unwrap(), last.parse().unwrap())
    }

    #[test]
    fn a_range_has_both_its_ends() {
        for (first, last, expected) in [
            ("10.0.0.255", "10.0.1.1", vec!["10.0.0.255", "10.0.1.0", "10.0.1.1"]),
            ("255.255.255.254", "255.255.255.255", vec!["255.255.255.254", "255.255.255.255"]),
            ("fd00::ffff", "fd00::1:0", vec!["fd00::ffff", "fd00::1:0"]),
            ("fd00::1", "fd00::1", vec!["fd00::1"]),
        ] {
            let range = range(first, last).unwrap();
            let all: Vec<String> = range.iter().map(|address| address.to_string()).collect();
            assert_eq!(all, expected);
            assert_eq!(range.count(), expected.len());
            assert!(range.iter().all(|address| range.contains(address)));
            assert!(!range.contains("10.0.0.254".parse().unwrap()));
        }
    }

    #[test]
    fn counts_do_not_overflow() {
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(range("::", all).unwrap().count(), usize::MAX);
        assert_eq!(range("0.0.0.0", "255.255.255.255").unwrap().count(), 1 << 32);
    }

    #[test]
    fn ends_of_two_families_or_in_reverse_are_no_range() {
        assert_eq!(range("10.0.0.1", "fd00::1"), None);
        assert_eq!(range("10.0.0.2", "10.0.0.1"), None);
        assert_eq!(range("fd00::2", "fd00::1"), None);
    }
}
