//! The floor: the key's words from where they lie in a plain packet, one look-up, eight bytes written.

use core::arch::asm;

use crate::maps::{FLOOR4, FLOOR6};

/// The last word of each key, in the place of the protocol.
const PROTOCOL: u32 = 6;

/// Offset of the source address in a frame without options; destination and ports follow.
const IPV4_SOURCE: usize = 14 + 12;
const IPV6_SOURCE: usize = 14 + 8;

/// A word of the frame, which is not aligned as Rust wants it.
macro_rules! word {
    ($start:expr, $offset:expr) => {{
        let value: u64;
        // SAFETY: the callers have compared with the end of the frame; the verifier proves it again.
        unsafe {
            asm!(
                "{value} = *(u32 *)({start} + {offset})",
                value = lateout(reg) value,
                start = in(reg) $start,
                offset = const $offset,
                options(readonly, nostack, preserves_flags),
            );
        }
        value as u32
    }};
}

/// The look-up for IPv4; `None` if there is no entry.
#[inline(always)]
pub(crate) fn look_up4(start: usize, end: usize) -> Option<()> {
    if start + IPV4_SOURCE + 12 > end {
        return None;
    }
    let key = [
        word!(start, IPV4_SOURCE),
        word!(start, IPV4_SOURCE + 4),
        word!(start, IPV4_SOURCE + 8),
        PROTOCOL,
    ];
    touch(FLOOR4.get_ptr_mut(key)?);
    Some(())
}

/// The look-up for IPv6.
#[inline(always)]
pub(crate) fn look_up6(start: usize, end: usize) -> Option<()> {
    if start + IPV6_SOURCE + 36 > end {
        return None;
    }
    let key = [
        word!(start, IPV6_SOURCE),
        word!(start, IPV6_SOURCE + 4),
        word!(start, IPV6_SOURCE + 8),
        word!(start, IPV6_SOURCE + 12),
        word!(start, IPV6_SOURCE + 16),
        word!(start, IPV6_SOURCE + 20),
        word!(start, IPV6_SOURCE + 24),
        word!(start, IPV6_SOURCE + 28),
        word!(start, IPV6_SOURCE + 32),
        PROTOCOL,
    ];
    touch(FLOOR6.get_ptr_mut(key)?);
    Some(())
}

#[inline(always)]
fn touch(value: *mut u64) {
    // SAFETY: from a look-up in this run, so valid and aligned.
    unsafe { value.write_volatile(1) };
}
