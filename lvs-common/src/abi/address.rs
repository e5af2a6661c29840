//! The two address families. Everything that lies in the maps or walks a packet is written once, generic over
//! the type of its addresses.

use core::{fmt::Debug, hash::Hash};

use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::checksum::Sum;

/// An IPv4 address as on the wire.
pub type V4 = [u8; 4];

/// An IPv6 address as on the wire.
pub type V6 = [u8; 16];

/// An address of one family: [`V4`] or [`V6`].
pub trait Address:
    Copy + Debug + Eq + Hash + FromBytes + IntoBytes + Immutable + Send + Sync + 'static
{
    /// 4 or 6.
    const VERSION: u8;
    /// All zeros.
    const UNSPECIFIED: Self;

    /// Adds to a checksum difference that this address was replaced by another.
    fn replaced_by(self, new: Self, sum: Sum) -> Sum;
    /// All its bits in one word, for hashing: the words' exclusive or, as `ip_vs_sh.c` folds IPv6.
    fn fold(self) -> u32;
    /// Whether a client can have it: neither unspecified, loopback, multicast nor reserved, nor (IPv6)
    /// link-local, which is never forwarded.
    fn is_of_a_client(self) -> bool;
    /// In the 16 bytes that tables for both families hold; IPv4 in the first four.
    fn widen(self) -> [u8; 16];
    /// Out of such 16 bytes.
    fn narrow(wide: [u8; 16]) -> Self;
    /// Whether all bytes are zero.
    fn is_unspecified(self) -> bool;
    /// Whether it is this address, compared by words: for bytes LLVM would call a loop.
    fn is(self, other: Self) -> bool;
    /// As much of the address as persistence tells apart: see [`Service::granularity`](super::Service::granularity).
    #[must_use]
    fn masked(self, granularity: u32) -> Self;
}

impl Address for V4 {
    const VERSION: u8 = 4;
    const UNSPECIFIED: Self = [0; 4];

    #[inline(always)]
    fn replaced_by(self, new: Self, sum: Sum) -> Sum {
        sum.replace_word(u32::from_ne_bytes(self), u32::from_ne_bytes(new))
    }

    #[inline(always)]
    fn fold(self) -> u32 {
        u32::from_ne_bytes(self)
    }

    #[inline(always)]
    fn is_of_a_client(self) -> bool {
        let [network, ..] = self;
        network != 0 && network != 127 && network < 224
    }

    #[inline(always)]
    fn widen(self) -> [u8; 16] {
        zerocopy::transmute!([u32::from_ne_bytes(self), 0, 0, 0])
    }

    #[inline(always)]
    fn narrow(wide: [u8; 16]) -> Self {
        let [first, ..]: [u32; 4] = zerocopy::transmute!(wide);
        first.to_ne_bytes()
    }

    #[inline(always)]
    fn is_unspecified(self) -> bool {
        u32::from_ne_bytes(self) == 0
    }

    #[inline(always)]
    fn is(self, other: Self) -> bool {
        u32::from_ne_bytes(self) == u32::from_ne_bytes(other)
    }

    #[inline(always)]
    fn masked(self, granularity: u32) -> Self {
        (u32::from_ne_bytes(self) & granularity).to_ne_bytes()
    }
}

impl Address for V6 {
    const VERSION: u8 = 6;
    const UNSPECIFIED: Self = [0; 16];

    #[inline(always)]
    #[expect(clippy::many_single_char_names, reason = "the words of two addresses")]
    fn replaced_by(self, new: Self, sum: Sum) -> Sum {
        let [a, b, c, d] = words(self);
        let [e, f, g, h] = words(new);
        sum.replace_word(a, e).replace_word(b, f).replace_word(c, g).replace_word(d, h)
    }

    #[inline(always)]
    fn fold(self) -> u32 {
        let [a, b, c, d] = words(self);
        a ^ b ^ c ^ d
    }

    #[inline(always)]
    fn is_of_a_client(self) -> bool {
        let [a, b, c, d] = words(self);
        let first = u32::from_be(a);
        // ::/127 holds the unspecified and the loopback address; ::ffff:0:0/96 is IPv4 in disguise.
        let low = a == 0 && b == 0 && (c == 0 && u32::from_be(d) <= 1 || u32::from_be(c) == 0xffff);
        !low && first >> 24 != 0xff && first >> 22 != 0xfe80 >> 6
    }

    #[inline(always)]
    fn widen(self) -> [u8; 16] {
        self
    }

    #[inline(always)]
    fn narrow(wide: [u8; 16]) -> Self {
        wide
    }

    #[inline(always)]
    fn is_unspecified(self) -> bool {
        let [a, b, c, d] = words(self);
        a | b | c | d == 0
    }

    #[inline(always)]
    #[expect(clippy::many_single_char_names, reason = "the words of two addresses")]
    fn is(self, other: Self) -> bool {
        let [a, b, c, d] = words(self);
        let [e, f, g, h] = words(other);
        a == e && b == f && c == g && d == h
    }

    #[inline(always)]
    fn masked(self, granularity: u32) -> Self {
        let mut left = granularity;
        zerocopy::transmute!(words(self).map(|word| {
            let bits = if left > 32 { 32 } else { left };
            left -= bits;
            let mask = if bits == 0 { 0 } else { u32::MAX << (32 - bits) };
            word & mask.to_be()
        }))
    }
}

/// In words of memory order: on arrays of bytes LLVM would call loops.
#[inline(always)]
#[must_use]
pub fn words(address: V6) -> [u32; 4] {
    zerocopy::transmute!(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_have_unicast_addresses_that_are_forwarded() {
        for (address, client) in [
            ("10.0.0.1", true),
            ("0.0.0.1", false),
            ("127.0.0.1", false),
            ("224.0.0.5", false),
            ("255.255.255.255", false),
        ] {
            let address: core::net::Ipv4Addr = address.parse().unwrap();
            assert_eq!(address.octets().is_of_a_client(), client, "{address}");
        }
        for (address, client) in [
            ("fd00::1", true),
            ("2001:db8::1", true),
            ("64:ff9b::1", true),
            ("::2", true),
            ("::", false),
            ("::1", false),
            ("::ffff:10.0.0.1", false),
            ("fe80::1", false),
            ("febf::1", false),
            ("fec0::1", true),
            ("ff02::1", false),
        ] {
            let address: core::net::Ipv6Addr = address.parse().unwrap();
            assert_eq!(address.octets().is_of_a_client(), client, "{address}");
        }
        assert!(V4::UNSPECIFIED.is_unspecified() && V6::UNSPECIFIED.is_unspecified());
        assert!(![1, 0, 0, 0].is_unspecified());
    }

    #[test]
    fn wide_addresses_come_back() {
        assert_eq!(V4::narrow([10, 1, 2, 3].widen()), [10, 1, 2, 3]);
        let address = core::net::Ipv6Addr::from(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10).octets();
        assert_eq!(V6::narrow(address.widen()), address);
    }
}
