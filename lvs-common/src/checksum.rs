//! The Internet checksum by differences (RFC 1624, equation 3: `HC' = ~(~HC + ~m + m')`).
//!
//! A difference `~m + m'` is worked out once per connection and added to each packet's checksum. All
//! values are as they lie in memory: the one's complement sum of swapped words is the swapped sum
//! (RFC 1071, section 2 B), so that nothing is ever converted.

/// A one's complement sum that has not been folded to 16 bits yet; 2^16 words fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u32);

impl Sum {
    /// Replaces two bytes by others.
    #[inline(always)]
    #[must_use]
    pub const fn replace(self, old: u16, new: u16) -> Self {
        Self(self.0 + !old as u32 + new as u32)
    }

    /// Replaces four bytes, such as an address, by others; both in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn replace_word(self, old: u32, new: u32) -> Self {
        self.replace(old as u16, new as u16).replace((old >> 16) as u16, (new >> 16) as u16)
    }

    /// Adds two bytes in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn add(self, value: u16) -> Self {
        Self(self.0 + value as u32)
    }

    /// Adds four bytes in memory order.
    #[inline(always)]
    #[must_use]
    pub const fn add_word(self, value: u32) -> Self {
        self.add(value as u16).add((value >> 16) as u16)
    }

    /// The sum in 16 bits: a difference to be kept.
    #[inline(always)]
    #[must_use]
    pub const fn fold(self) -> u16 {
        // Both halves added in the upper one, with the carry that the lower one gives.
        (self.0.wrapping_add(self.0.rotate_left(16)) >> 16) as u16
    }
}

/// A checksum field after the bytes under it have changed by two differences.
#[inline(always)]
#[must_use]
pub const fn apply(checksum: u16, one: u16, other: u16) -> u16 {
    !Sum(!checksum as u32 + one as u32 + other as u32).fold()
}

/// The same for UDP, where a sum of zero is written as its complement (RFC 768).
#[inline(always)]
#[must_use]
pub const fn apply_nonzero(checksum: u16, one: u16, other: u16) -> u16 {
    match apply(checksum, one, other) {
        0 => 0xffff,
        sum => sum,
    }
}

/// What a TTL lower by one adds to the sum of its header (RFC 1141: the word loses 0x0100).
pub const TTL_DIFFERENCE: u16 = Sum(0).replace(0x0100_u16.to_be(), 0).fold();

/// What a hop limit lower by one adds to the sum of its bytes: it is the second byte of its word.
pub const HOP_LIMIT_DIFFERENCE: u16 = Sum(0).replace(0x0001_u16.to_be(), 0).fold();

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The checksum of `bytes` by the definition in RFC 1071.
    fn full(bytes: &[u8]) -> u16 {
        let mut sum = 0_u64;
        for pair in bytes.chunks(2) {
            sum += u64::from(u16::from_ne_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
        }
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !(sum as u16)
    }

    #[test]
    fn rfc_1624_example() {
        // Section 4: a header whose sum becomes zero, where RFC 1141's equation gives -0.
        let difference = Sum::default().replace(0x5555_u16.to_be(), 0x3285_u16.to_be()).fold();
        assert_eq!(u16::from_be(apply(0xdd2f_u16.to_be(), difference, 0)), 0x0000);
    }

    proptest! {
        #[test]
        fn a_difference_equals_the_full_sum(
            mut bytes in prop::collection::vec(any::<u8>(), 20..60),
            address: [u8; 4],
            port: u16,
        ) {
            prop_assume!(bytes.iter().skip(6).any(|&byte| byte != 0));
            let before = full(&bytes);
            let old_address = [bytes[0], bytes[1], bytes[2], bytes[3]];
            let old_port = u16::from_ne_bytes([bytes[4], bytes[5]]);
            bytes[..4].copy_from_slice(&address);
            bytes[4..6].copy_from_slice(&port.to_ne_bytes());
            let addresses = Sum::default().replace_word(u32::from_ne_bytes(old_address), u32::from_ne_bytes(address)).fold();
            let ports = Sum::default().replace(old_port, port).fold();
            prop_assert_eq!(apply(before, addresses, ports), full(&bytes));
        }

        #[test]
        fn the_ttl_difference_equals_the_full_sum(mut header: [u8; 20], ttl in 1_u8..) {
            header[8] = ttl;
            prop_assume!(header.iter().skip(9).any(|&byte| byte != 0));
            let before = full(&header);
            header[8] -= 1;
            prop_assert_eq!(apply(before, TTL_DIFFERENCE, 0), full(&header));
        }
    }
}
