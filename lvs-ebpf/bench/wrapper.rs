//! Restoring the packet.
//!
//! The stores are cut along the fields, addresses in pairs: a processor hands a value that was just
//! stored to a load at once only if one store holds all of it. A load across two stores waits until both
//! are in the cache, some 20 cycles, which no packet that comes from a network card costs. So whether the
//! program under test reads single fields, the words of a header or both addresses at once, one store
//! holds what it reads.

use core::arch::asm;

use crate::maps::{POSITION, TEMPLATE};

/// Copies a piece of the given size from one place to another.
macro_rules! copy {
    ($size:literal, $from:expr, $at:expr, $to:expr, $offset:expr) => {{
        // SAFETY: the callers have checked the end of the frame, the maps' values are as long as their
        // types say, and the verifier proves both again.
        unsafe {
            asm!(
                concat!("{word} = *(", $size, " *)({from} + {at})"),
                concat!("*(", $size, " *)({to} + {offset}) = {word}"),
                word = out(reg) _,
                from = in(reg) $from,
                at = const $at,
                to = in(reg) $to,
                offset = const $offset,
                options(nostack, preserves_flags),
            );
        }
    }};
}

/// Restores an IPv4 frame of 64 bytes. `variation` gives both addresses, then the ports.
#[inline(always)]
pub(crate) fn restore4(
    frame: usize,
    end: usize,
    variation: impl Fn(u32) -> Option<*const [u64; 2]>,
) -> Option<()> {
    if frame + 64 > end {
        return None;
    }
    let template = TEMPLATE.get_ptr(0)?;
    let variation = variation(next()?)?;
    // Ethernet.
    copy!("u64", template, 0, frame, 0);
    copy!("u32", template, 8, frame, 8);
    copy!("u16", template, 12, frame, 12);
    // IPv4.
    copy!("u64", template, 14, frame, 14);
    copy!("u32", template, 22, frame, 22);
    copy!("u64", variation, 0, frame, 26);
    // Transport and what it carries.
    copy!("u32", variation, 8, frame, 34);
    copy!("u64", template, 38, frame, 38);
    copy!("u64", template, 46, frame, 46);
    copy!("u64", template, 54, frame, 54);
    copy!("u16", template, 62, frame, 62);
    Some(())
}

/// Restores an IPv6 frame of 80 bytes. `variation` gives both addresses, then the ports.
#[inline(always)]
pub(crate) fn restore6(
    frame: usize,
    end: usize,
    variation: impl Fn(u32) -> Option<*const [u64; 5]>,
) -> Option<()> {
    if frame + 80 > end {
        return None;
    }
    let template = TEMPLATE.get_ptr(0)?;
    let variation = variation(next()?)?;
    // Ethernet.
    copy!("u64", template, 0, frame, 0);
    copy!("u32", template, 8, frame, 8);
    copy!("u16", template, 12, frame, 12);
    // IPv6.
    copy!("u64", template, 14, frame, 14);
    copy!("u64", variation, 0, frame, 22);
    copy!("u64", variation, 8, frame, 30);
    copy!("u64", variation, 16, frame, 38);
    copy!("u64", variation, 24, frame, 46);
    // Transport and what it carries.
    copy!("u32", variation, 32, frame, 54);
    copy!("u64", template, 58, frame, 58);
    copy!("u64", template, 66, frame, 66);
    copy!("u32", template, 74, frame, 74);
    copy!("u16", template, 78, frame, 78);
    Some(())
}

/// The index of the next variation.
#[inline(always)]
fn next() -> Option<u32> {
    let position = POSITION.get_ptr_mut(0)?;
    // SAFETY: valid and aligned; one run at a time uses it.
    let position = unsafe { &mut *position };
    let index = position.next;
    position.next = if index + 1 < position.end { index + 1 } else { position.first };
    Some(index)
}
