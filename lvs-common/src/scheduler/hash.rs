//! The kernel's hash functions, as far as schedulers use them.

use crate::abi::Address;

/// `hash_32` in `linux/hash.h` (since 4.17), for tables of 2^`bits` buckets.
#[inline(always)]
#[must_use]
pub const fn hash_32(value: u32, bits: u32) -> u32 {
    value.wrapping_mul(0x61c8_8647) >> (32 - bits)
}

/// An address in one word, host order: IPv6 folded by exclusive or.
#[inline(always)]
pub fn folded<A: Address>(address: A) -> u32 {
    u32::from_be(address.fold())
}

/// `hsiphash_1u32` in `lib/siphash.c` on machines of 64 bits, with both halves of the key the same: `SipHash` with one round
/// for the data and three at the end, the four words of its state folded to 32 bits.
#[inline(always)]
#[must_use]
pub const fn hsiphash(value: u32, key: u64) -> u32 {
    let mut state = [
        0x736f_6d65_7073_6575 ^ key,
        0x646f_7261_6e64_6f6d ^ key,
        0x6c79_6765_6e65_7261 ^ key,
        0x7465_6462_7974_6573 ^ key,
    ];
    let block = 4 << 56 | value as u64;
    state[3] ^= block;
    state = round(state);
    state[0] ^= block;
    state[2] ^= 0xff;
    state = round(round(round(state)));
    (state[0] ^ state[1] ^ state[2] ^ state[3]) as u32
}

/// `SIPROUND`.
#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}
