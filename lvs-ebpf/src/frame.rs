//! Access to packet memory. `Frame` is what XDP and TC have in common: the bytes from the Ethernet header to
//! the end of the linear part.

use core::arch::asm;

use lvs_common::packet::Window;

/// The linear part of the frame at hand.
#[derive(Clone, Copy)]
pub(crate) struct Frame {
    start: usize,
    end: usize,
}

impl Frame {
    /// From the context's `data` and `data_end`.
    #[inline(always)]
    pub(crate) const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// The `N` bytes from `offset` on, if they lie before the end.
    #[inline(always)]
    pub(crate) fn window<const N: usize>(self, offset: usize) -> Option<FrameWindow<N>> {
        let start = self.start + offset;
        // The form of the comparison that the verifier learns a pointer's range from.
        if start + N > self.end {
            return None;
        }
        Some(FrameWindow { start: start as *mut u8 })
    }
}

/// `N` bytes of the frame, checked against its end.
pub(crate) struct FrameWindow<const N: usize> {
    start: *mut u8,
}

// Fields in a frame are not aligned as Rust wants its integers, though the BPF instructions do not
// mind; and byte by byte LLVM would need ten instructions for four bytes. Assembly says what is meant.
macro_rules! load {
    ($window:expr, $offset:expr, $length:literal, $size:literal) => {{
        const { assert!($offset + ($length - 1) < N) }
        let value: u64;
        // SAFETY: `window` has shown that N bytes from `start` on lie in the frame, and the assertion
        // that this field lies in those; the verifier proves both again.
        unsafe {
            asm!(
                concat!("{value} = *(", $size, " *)({start} + {offset})"),
                value = lateout(reg) value,
                start = in(reg) $window.start,
                offset = const $offset,
                options(readonly, nostack, preserves_flags),
            );
        }
        value
    }};
}

macro_rules! store {
    ($window:expr, $offset:expr, $length:literal, $size:literal, $value:expr) => {{
        const { assert!($offset + ($length - 1) < N) }
        // SAFETY: as in `load`; nothing else refers to the frame's memory as a Rust place.
        unsafe {
            asm!(
                concat!("*(", $size, " *)({start} + {offset}) = {value}"),
                value = in(reg) u64::from($value),
                start = in(reg) $window.start,
                offset = const $offset,
                options(nostack, preserves_flags),
            );
        }
    }};
}

impl<const N: usize> Window for FrameWindow<N> {
    #[inline(always)]
    fn u8<const O: usize>(&self) -> u8 {
        load!(self, O, 1, "u8") as u8
    }

    #[inline(always)]
    fn u16<const O: usize>(&self) -> u16 {
        load!(self, O, 2, "u16") as u16
    }

    #[inline(always)]
    fn u32<const O: usize>(&self) -> u32 {
        load!(self, O, 4, "u32") as u32
    }

    #[inline(always)]
    fn set_u8<const O: usize>(&mut self, value: u8) {
        store!(self, O, 1, "u8", value);
    }

    #[inline(always)]
    fn set_u16<const O: usize>(&mut self, value: u16) {
        store!(self, O, 2, "u16", value);
    }

    #[inline(always)]
    fn set_u32<const O: usize>(&mut self, value: u32) {
        store!(self, O, 4, "u32", value);
    }
}
