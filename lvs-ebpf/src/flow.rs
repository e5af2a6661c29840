//! Entries of the connection tables: their keys as words, their fields shared by all CPUs.

use core::ptr::{self, NonNull};

use lvs_common::{
    abi::{Flow, Head, NextHop, Tuple, V4, V6, split, words},
    env::FlowHandle,
};

use crate::atomic::compare_exchange;

/// An entry of a connection table. The kernel keeps the memory for as long as the program runs on this
/// packet, even if another CPU deletes the entry.
pub(crate) struct KernelFlow<A>(pub(crate) NonNull<Flow<A>>);

/// Stores one field of an entry that a handle points to.
macro_rules! store {
    ($flow:expr, $($field:ident).+, $value:expr) => {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned. Other CPUs
        // may access the field; it is a whole word or its bytes are only read together with the state
        // they belong to, and the verifier's view has no undefined value.
        unsafe { ptr::write_volatile(ptr::addr_of_mut!((*$flow.0.as_ptr()).$($field).+), $value) }
    };
}

pub(crate) use store;

impl<A: Copy> FlowHandle<A> for KernelFlow<A> {
    #[inline(always)]
    fn get<T>(&self, read: impl FnOnce(&Flow<A>) -> T) -> T {
        // SAFETY: valid and aligned as above; what another CPU changes at this moment is plain data, of which a
        // torn read costs at worst one packet.
        read(unsafe { self.0.as_ref() })
    }

    #[inline(always)]
    fn load(&self) -> Flow<A> {
        // SAFETY: as above.
        unsafe { self.0.as_ptr().read() }
    }

    #[inline(always)]
    fn set_seen(&self, now: u32) {
        store!(self, seen, now);
    }

    #[inline(always)]
    fn set_timeout(&self, seconds: u32) {
        let (low, high) = split(seconds);
        store!(self, limits.timeout, low);
        store!(self, limits.timeout_high, high);
    }

    #[inline(always)]
    fn set_half_open(&self, slot: u32) {
        let (low, high) = split(slot);
        store!(self, limits.half_open, low);
        store!(self, limits.half_open_high, high);
    }

    #[inline(always)]
    fn set_state(&self, state: u8) {
        store!(self, head.state, state);
    }

    #[inline(always)]
    fn swap_state(&self, old: Head, state: u8) -> bool {
        let new: u32 = zerocopy::transmute!(Head { state, ..old });
        let old: u32 = zerocopy::transmute!(old);
        // SAFETY: no access, only the field's address inside the valid entry.
        let head = unsafe { ptr::addr_of_mut!((*self.0.as_ptr()).head) };
        compare_exchange(head.cast(), old, new)
    }

    #[inline(always)]
    fn set_hop(&self, hop: NextHop, mtu: u16, checked: u32) {
        store!(self, hop, hop);
        store!(self, mtu, mtu);
        store!(self, hop_checked, checked);
    }
}

/// A key in words of eight bytes. The kernel hashes it by four bytes and compares it by eight; reading at once what was
/// written piece by piece would have the processor wait for the pieces to reach its cache: some 4 ns.
#[inline(always)]
pub(crate) fn key_words<A: KeyAddress>(key: &Tuple<A>) -> A::Key {
    let ports = u32::from(key.source_port) | u32::from(key.destination_port) << 16;
    A::key(key.source, key.destination, ports, key.protocol)
}

/// Two words, as they lie in memory, in one.
#[inline(always)]
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// An address in a key.
pub(crate) trait KeyAddress: Copy {
    /// The words of a key.
    type Key;
    fn key(source: Self, destination: Self, ports: u32, protocol: u32) -> Self::Key;
}

impl KeyAddress for V4 {
    type Key = [u64; 2];

    #[inline(always)]
    fn key(source: Self, destination: Self, ports: u32, protocol: u32) -> [u64; 2] {
        [pair(u32::from_ne_bytes(source), u32::from_ne_bytes(destination)), pair(ports, protocol)]
    }
}

impl KeyAddress for V6 {
    type Key = [u64; 5];

    #[inline(always)]
    fn key(source: Self, destination: Self, ports: u32, protocol: u32) -> [u64; 5] {
        let ([from, from_2, from_3, from_4], [to, to_2, to_3, to_4]) =
            (words(source), words(destination));
        [
            pair(from, from_2),
            pair(from_3, from_4),
            pair(to, to_2),
            pair(to_3, to_4),
            pair(ports, protocol),
        ]
    }
}
