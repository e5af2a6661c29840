//! A frame in memory, with the abilities of one in an XDP or TC program.
#![expect(
    clippy::indexing_slicing,
    reason = "constant offsets are checked against the window's length at compile time"
)]

use core::{cell::Cell, iter};
use std::{rc::Rc, vec::Vec};

use crate::{
    checksum,
    packet::{Change, Packet, Window},
};

/// A frame in memory. Its checksums are complete.
#[derive(Clone, Debug)]
pub struct MemoryPacket {
    bytes: Rc<[Cell<u8>]>,
    socket_buffer: bool,
}

impl MemoryPacket {
    /// A frame of these bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.iter().copied().map(Cell::new).collect(), socket_buffer: false }
    }

    /// The same in a socket buffer, as a TC program sees it: a length of 0 in an IPv4 header is all that the buffer
    /// holds.
    #[must_use]
    pub fn in_socket_buffer(bytes: &[u8]) -> Self {
        Self { socket_buffer: true, ..Self::new(bytes) }
    }

    /// The frame as it is now.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.bytes.iter().map(Cell::get).collect()
    }
}

impl Packet for MemoryPacket {
    type Window<const N: usize> = MemoryWindow<N>;

    fn window<const N: usize>(&self, offset: usize) -> Option<MemoryWindow<N>> {
        let end = offset.checked_add(N)?;
        (end <= self.bytes.len()).then(|| MemoryWindow { bytes: self.bytes.clone(), offset })
    }

    fn ip_length(&self, total: u16, offset: usize) -> u32 {
        if total == 0 && self.socket_buffer {
            u32::try_from(self.bytes.len().saturating_sub(offset)).unwrap_or(u32::MAX)
        } else {
            total.into()
        }
    }

    fn wire_length(&self, length: u32, _headers: u32) -> u32 {
        length
    }

    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut MemoryWindow<N>,
        _start: usize,
        change: Change,
    ) {
        let old = window.u16::<O>();
        if !change.zero_is_none {
            window.set_u16::<O>(checksum::apply(old, change.addresses, change.ports));
        } else if old != 0 {
            window.set_u16::<O>(checksum::apply_nonzero(old, change.addresses, change.ports));
        }
    }

    fn note_change(&self, _difference: u16) {}

    /// As the kernel's helpers: a frame that is shorter than `length` grows by zeros, and there is no room for more
    /// than a driver leaves.
    fn reshape(&mut self, length: u32, room: u32) -> bool {
        const HEADROOM: u32 = 256;
        if room > HEADROOM {
            return false;
        }
        let zeros = || iter::repeat_with(Cell::default);
        let rest = self.bytes.iter().cloned().chain(zeros()).take(length as usize);
        self.bytes = zeros().take(room as usize).chain(rest).collect();
        true
    }
}

/// `N` bytes of a [`MemoryPacket`].
#[derive(Clone, Debug)]
pub struct MemoryWindow<const N: usize> {
    bytes: Rc<[Cell<u8>]>,
    offset: usize,
}

impl<const N: usize> MemoryWindow<N> {
    fn get<const L: usize>(&self, offset: usize) -> [u8; L] {
        core::array::from_fn(|index| self.bytes[self.offset + offset + index].get())
    }

    fn set<const L: usize>(&self, offset: usize, value: [u8; L]) {
        for (index, byte) in value.into_iter().enumerate() {
            self.bytes[self.offset + offset + index].set(byte);
        }
    }
}

impl<const N: usize> Window for MemoryWindow<N> {
    fn u8<const O: usize>(&self) -> u8 {
        const { assert!(O < N) }
        let [byte] = self.get(O);
        byte
    }

    fn u16<const O: usize>(&self) -> u16 {
        const { assert!(O + 2 <= N) }
        u16::from_ne_bytes(self.get(O))
    }

    fn u32<const O: usize>(&self) -> u32 {
        const { assert!(O + 4 <= N) }
        u32::from_ne_bytes(self.get(O))
    }

    fn set_u8<const O: usize>(&mut self, value: u8) {
        const { assert!(O < N) }
        self.set(O, [value]);
    }

    fn set_u16<const O: usize>(&mut self, value: u16) {
        const { assert!(O + 2 <= N) }
        self.set(O, value.to_ne_bytes());
    }

    fn set_u32<const O: usize>(&mut self, value: u32) {
        const { assert!(O + 4 <= N) }
        self.set(O, value.to_ne_bytes());
    }
}
