//! The order of listings, which is that of ipvsadm: it compares by differences that overflow, so that what is far apart
//! comes in the wrong order, and in the same wrong order here.

use std::{
    cmp::Ordering,
    net::{IpAddr, Ipv4Addr},
};

use crate::{
    config::{Family, Protocol},
    inspect::{ServerView, ServiceName, ServiceView},
};

/// Services in the order of listings: marks last, by family, protocol, address and port.
pub(super) fn services(services: &mut Vec<&ServiceView>) {
    merge_sort(services, |one, other| compare_services(one.name, other.name));
}

/// Servers by address and port.
pub(super) fn servers(servers: &mut Vec<&ServerView>) {
    merge_sort(servers, |one, other| compare_servers(one, other));
}

/// The difference of two numbers as an `int`.
const fn difference(one: u32, other: u32) -> i32 {
    one.wrapping_sub(other).cast_signed()
}

fn compare_addresses(one: IpAddr, other: IpAddr) -> i32 {
    let words = |address: IpAddr| match address {
        IpAddr::V4(address) => vec![u32::from(address)],
        IpAddr::V6(address) => {
            let bits = u128::from(address);
            [96, 64, 32, 0].map(|shift| (bits >> shift) as u32).to_vec()
        }
    };
    let differences =
        words(one).into_iter().zip(words(other)).map(|(one, other)| difference(one, other));
    differences.into_iter().find(|difference| *difference != 0).unwrap_or_default()
}

fn compare_services(one: ServiceName, other: ServiceName) -> Ordering {
    let key = |name: ServiceName| {
        let family = match name.family() {
            Family::Ipv4 => libc::AF_INET,
            Family::Ipv6 => libc::AF_INET6,
        };
        let protocol = name.protocol().map_or(0, |protocol| match protocol {
            Protocol::Tcp => libc::IPPROTO_TCP,
            Protocol::Udp => libc::IPPROTO_UDP,
            Protocol::Sctp => libc::IPPROTO_SCTP,
        });
        match name {
            ServiceName::Address { address, port, .. } => (0, family, protocol, address, port),
            ServiceName::Mark { mark, .. } => {
                (mark, family, protocol, Ipv4Addr::UNSPECIFIED.into(), 0)
            }
        }
    };
    let (one, other) = (key(one), key(other));
    let steps = [
        difference(one.0, other.0),
        one.1 - other.1,
        one.2 - other.2,
        compare_addresses(one.3, other.3),
        i32::from(one.4) - i32::from(other.4),
    ];
    steps.into_iter().find(|step| *step != 0).unwrap_or_default().cmp(&0)
}

fn compare_servers(one: &ServerView, other: &ServerView) -> Ordering {
    match compare_addresses(one.address, other.address) {
        0 => one.port.cmp(&other.port),
        step => step.cmp(&0),
    }
}

/// Sorts as glibc's `qsort` does, whose result shows where the comparison contradicts itself. The standard library's may
/// panic then.
fn merge_sort<T: Copy>(items: &mut Vec<T>, compare: impl Fn(&T, &T) -> Ordering + Copy) {
    if items.len() < 2 {
        return;
    }
    let mut second = items.split_off(items.len() / 2);
    merge_sort(items, compare);
    merge_sort(&mut second, compare);
    let mut merged = Vec::with_capacity(items.len() + second.len());
    let (mut left, mut right) = (items.iter().peekable(), second.iter().peekable());
    while let (Some(one), Some(other)) = (left.peek(), right.peek()) {
        if compare(one, other) == Ordering::Greater {
            merged.extend(right.next());
        } else {
            merged.extend(left.next());
        }
    }
    merged.extend(left);
    merged.extend(right);
    *items = merged;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From a listing of ipvsadm: numbers are compared by a difference that overflows.
    #[test]
    fn far_addresses_are_sorted_as_wrongly_as_by_ipvsadm() {
        let name = |text: &str| ServiceName::Address {
            protocol: Protocol::Tcp,
            address: text.parse().unwrap(),
            port: 80,
        };
        let mut names = ["192.168.9.1", "10.64.4.1", "172.16.9.9", "200.1.1.1"].map(name).to_vec();
        merge_sort(&mut names, |one, other| compare_services(*one, *other));
        assert_eq!(names, ["172.16.9.9", "192.168.9.1", "200.1.1.1", "10.64.4.1"].map(name));
    }
}
