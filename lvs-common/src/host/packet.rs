//! A frame in a slice.
#![expect(
    clippy::indexing_slicing,
    reason = "constant offsets are checked against the window's length at compile time"
)]

use core::cell::Cell;

use crate::{
    checksum,
    packet::{Packet, Window},
};

/// A frame in a slice.
#[derive(Clone, Copy, Debug)]
pub struct SlicePacket<'p> {
    bytes: &'p [Cell<u8>],
}

impl<'p> SlicePacket<'p> {
    /// The frame in `bytes`, which the engine rewrites in place.
    pub fn new(bytes: &'p mut [u8]) -> Self {
        Self { bytes: Cell::from_mut(bytes).as_slice_of_cells() }
    }
}

impl<'p> Packet for SlicePacket<'p> {
    type Window<const N: usize> = SliceWindow<'p, N>;

    fn window<const N: usize>(&self, offset: usize) -> Option<SliceWindow<'p, N>> {
        let bytes = self.bytes.get(offset..offset.checked_add(N)?)?;
        Some(SliceWindow { bytes: bytes.try_into().ok()? })
    }

    fn ip_length(&self, total: u16) -> u32 {
        total.into()
    }

    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut SliceWindow<'p, N>,
        _start: usize,
        addresses: u16,
        ports: u16,
    ) {
        window.set_u16::<O>(checksum::apply(window.u16::<O>(), addresses, ports));
    }
}

/// `N` bytes of a [`SlicePacket`].
#[derive(Clone, Copy, Debug)]
pub struct SliceWindow<'p, const N: usize> {
    bytes: &'p [Cell<u8>; N],
}

impl<const N: usize> SliceWindow<'_, N> {
    fn get<const L: usize>(self, offset: usize) -> [u8; L] {
        core::array::from_fn(|index| self.bytes[offset + index].get())
    }

    fn set<const L: usize>(self, offset: usize, value: [u8; L]) {
        for (index, byte) in value.into_iter().enumerate() {
            self.bytes[offset + index].set(byte);
        }
    }
}

impl<const N: usize> Window for SliceWindow<'_, N> {
    fn u8<const O: usize>(&self) -> u8 {
        const { assert!(O < N) }
        self.bytes[O].get()
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
        self.bytes[O].set(value);
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
