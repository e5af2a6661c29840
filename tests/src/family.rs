//! The two versions of IP. Every host of the [topology](crate::topology) has an address of each, and
//! one can be told from the other: 192.168.1.100 is also `fd00:192:168:1::100`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// A version of IP.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// The address in this family of a host that is known by its IPv4 address.
    #[must_use]
    pub fn of(self, address: Ipv4Addr) -> IpAddr {
        match self {
            Self::V4 => address.into(),
            Self::V6 => {
                let [a, b, c, d] = address.octets().map(same_digits);
                Ipv6Addr::new(0xfd00, a, b, c, 0, 0, 0, d).into()
            }
        }
    }

    /// The option of `ip` that selects it.
    #[must_use]
    pub const fn option(self) -> &'static str {
        match self {
            Self::V4 => "-4",
            Self::V6 => "-6",
        }
    }

    /// How long the prefix of a network of the topology is.
    #[must_use]
    pub const fn prefix(self) -> u8 {
        match self {
            Self::V4 => 24,
            Self::V6 => 64,
        }
    }

    /// How long the prefix is that means one host.
    #[must_use]
    pub const fn host_prefix(self) -> u8 {
        match self {
            Self::V4 => 32,
            Self::V6 => 128,
        }
    }

    /// The length of the header without options.
    #[must_use]
    pub const fn header(self) -> usize {
        match self {
            Self::V4 => 20,
            Self::V6 => 40,
        }
    }

    /// Those that the running kernel has: one built or started without IPv6 has only the other.
    #[must_use]
    pub fn here() -> &'static [Self] {
        if Path::new("/proc/sys/net/ipv6").exists() { &Self::ALL } else { &[Self::V4] }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4",
            Self::V6 => "IPv6",
        })
    }
}

impl From<IpAddr> for Family {
    fn from(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The number that is written in hexadecimal as this one is in decimal.
fn same_digits(number: u8) -> u16 {
    let number = u16::from(number);
    number / 100 * 0x100 + number / 10 % 10 * 0x10 + number % 10
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_a_host_look_alike() {
        let of = |family: Family| family.of(Ipv4Addr::new(192, 168, 1, 100)).to_string();
        assert_eq!(of(Family::V4), "192.168.1.100");
        assert_eq!(of(Family::V6), "fd00:192:168:1::100");
    }
}
