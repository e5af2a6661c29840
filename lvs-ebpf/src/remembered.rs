//! Persistence templates, and what lblc and lblcr remember: entries whose fields all CPUs share; and the ways to servers
//! that a CPU has found a moment ago, which it has for itself.

use core::ptr::{self, NonNull};

use lvs_common::{
    abi::{Destination, Template},
    env::{DestinationHandle, RecentHandle, TemplateHandle},
    recent::Recent,
};

use crate::{atomic::fetch_add_word, flow::store};

/// A template. The kernel keeps the memory for as long as the program runs on this packet, even if another CPU deletes
/// the entry.
pub(crate) struct KernelTemplate(pub(crate) NonNull<Template>);

impl TemplateHandle for KernelTemplate {
    #[inline(always)]
    fn load(&self) -> Template {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned; each field is a whole word.
        unsafe { self.0.as_ptr().read_volatile() }
    }

    #[inline(always)]
    fn prolong(&self, expires: u64, timeout: u32) {
        store!(self, expires, expires);
        store!(self, timeout, timeout);
    }

    #[inline(always)]
    fn add_connection(&self) {
        fetch_add_word(self.connections(), 1);
    }

    #[inline(always)]
    fn remove_connection(&self) {
        if fetch_add_word(self.connections(), 0_u32.wrapping_sub(1)) == 0 {
            fetch_add_word(self.connections(), 1);
        }
    }
}

impl KernelTemplate {
    #[inline(always)]
    const fn connections(&self) -> *mut u32 {
        // SAFETY: no access, only the field's address inside the valid entry.
        unsafe { ptr::addr_of_mut!((*self.0.as_ptr()).connections) }
    }
}

/// A destination. The kernel keeps the memory as above.
pub(crate) struct KernelDestination(pub(crate) NonNull<Destination>);

impl DestinationHandle for KernelDestination {
    #[inline(always)]
    fn get<T>(&self, read: impl FnOnce(&Destination) -> T) -> T {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned; what another CPU changes at
        // this moment is a whole word or half, which has one value or the other.
        read(unsafe { self.0.as_ref() })
    }

    #[inline(always)]
    fn change(&self, change: impl FnOnce(&mut Destination)) {
        // SAFETY: as above.
        change(unsafe { &mut *self.0.as_ptr() });
    }
}

/// A way that this CPU has found a moment ago.
pub(crate) struct KernelRecent<A>(pub(crate) NonNull<Recent<A>>);

impl<A: Copy> RecentHandle<A> for KernelRecent<A> {
    #[inline(always)]
    fn get<T>(&self, read: impl FnOnce(&Recent<A>) -> T) -> T {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned; the element is this CPU's
        // own, and a program is not interrupted by another one of its kind.
        read(unsafe { self.0.as_ref() })
    }

    #[inline(always)]
    fn set(&self, recent: &Recent<A>) {
        // SAFETY: as above.
        unsafe { self.0.as_ptr().write(*recent) };
    }
}
