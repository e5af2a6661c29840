//! Atomic instructions on numbers in maps, which core does not offer for this target.

use core::arch::asm;

/// Adds to a number that all CPUs share and gives what it was.
#[inline(always)]
pub(crate) fn fetch_add(number: *mut u64, difference: u64) -> u64 {
    let mut value = difference;
    // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned; the instruction is an atomic
    // fetch-and-add, which core's atomics do not offer for this target.
    unsafe {
        asm!(
            "{value} = atomic_fetch_add((u64 *)({number} + 0), {value})",
            value = inout(reg) value,
            number = in(reg) number,
            options(nostack, preserves_flags),
        );
    }
    value
}

/// Replaces a word that all CPUs share if it is still `old`; tells whether it was.
#[inline(always)]
pub(crate) fn compare_exchange(word: *mut u32, old: u32, new: u32) -> bool {
    let seen: u32;
    // SAFETY: the pointer lies in an entry from a map look-up in this run and is aligned; the instruction is an atomic
    // compare-and-exchange, which core's atomics do not offer for this target.
    #[cfg(target_arch = "bpf")]
    unsafe {
        asm!(
            "w0 = cmpxchg32_32({word} + 0, w0, {new})",
            inout("w0") old => seen,
            word = in(reg) word,
            new = in(wreg) new,
            options(nostack, preserves_flags),
        );
    }
    // The lints run on the host, which has no such registers.
    #[cfg(not(target_arch = "bpf"))]
    {
        // SAFETY: as above.
        let word = unsafe { core::sync::atomic::AtomicU32::from_ptr(word) };
        let order = core::sync::atomic::Ordering::SeqCst;
        seen = word.compare_exchange(old, new, order, order).unwrap_or_else(|seen| seen);
    }
    seen == old
}

/// Adds to a word that all CPUs share and gives what it was.
#[inline(always)]
pub(crate) fn fetch_add_word(number: *mut u32, difference: u32) -> u32 {
    // SAFETY: the pointer lies in an entry from a map look-up in this run and is aligned; the instruction is an atomic
    // fetch-and-add, which core's atomics do not offer for this target.
    #[cfg(target_arch = "bpf")]
    {
        let mut value = difference;
        unsafe {
            asm!(
                "{value} = atomic_fetch_add((u32 *)({number} + 0), {value})",
                value = inout(wreg) value,
                number = in(reg) number,
                options(nostack, preserves_flags),
            );
        }
        value
    }
    // The lints run on the host, which has no such registers.
    #[cfg(not(target_arch = "bpf"))]
    {
        // SAFETY: as above.
        let number = unsafe { core::sync::atomic::AtomicU32::from_ptr(number) };
        number.fetch_add(difference, core::sync::atomic::Ordering::SeqCst)
    }
}
