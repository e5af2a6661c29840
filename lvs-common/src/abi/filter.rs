//! The filter (`FILTER`): which addresses and ports the services and real servers have, as one bit each of their
//! hashes. Most packets that are not ours end here, after a few instructions and without a look-up; a bit that
//! two share costs a look-up more, never a wrong decision.

use super::address::Address;

/// 64-bit words in the filter: 32 KiB, which fits the first-level cache.
pub const FILTER_WORDS: usize = 1 << FILTER_BITS;

const FILTER_BITS: u32 = 12;

/// A real server (a reply's source) or a virtual service (a request's destination) for this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Index of the word.
    pub word: u32,
    /// Bit in the word.
    pub bit: u32,
}

impl Mark {
    /// Set if a destination alone may not tell whether a packet is ours: there are services that take all ports of an
    /// address, or that go by firewall marks. (The place of nothing at all.)
    pub const WIDE: Self = Self { word: 0, bit: 0 };

    /// The place of an address, a port (host order) and a protocol.
    #[inline(always)]
    #[must_use]
    pub fn new<A: Address>(address: A, port: u16, protocol: u32) -> Self {
        // Fibonacci hashing: the golden ratio of 32 bits spreads what differs in few bits.
        let mixed = address.fold() ^ (u32::from(port) << 16 | protocol);
        let hash = mixed.wrapping_mul(0x9e37_79b1);
        Self { word: hash >> (32 - FILTER_BITS), bit: hash >> (26 - FILTER_BITS) & 63 }
    }
}
