//! Routes and neighbours, as the kernel's own tables have them (`bpf_fib_lookup`).

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{
        BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH, BPF_FIB_LKUP_RET_SUCCESS,
        bpf_fib_lookup,
    },
    helpers::generated,
};
use lvs_common::{
    abi::{Address, NextHop, V4, V6, words},
    env::{Reach, Route},
};

use crate::maps::NOTES;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
#[expect(clippy::cast_possible_wrap, reason = "64 bytes")]
const QUERY_SIZE: i32 = size_of::<bpf_fib_lookup>() as i32;

/// An address in the query of a route.
pub(crate) trait FibAddress: Copy {
    const FAMILY: u8;
    fn ask(query: &mut bpf_fib_lookup, source: Self, destination: Self, class: u8);
    fn neighbour(query: &bpf_fib_lookup) -> Self;
}

impl FibAddress for V4 {
    const FAMILY: u8 = AF_INET;

    #[inline(always)]
    fn ask(query: &mut bpf_fib_lookup, source: Self, destination: Self, class: u8) {
        query.__bindgen_anon_2.tos = class;
        query.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source);
        query.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination);
    }

    #[inline(always)]
    fn neighbour(query: &bpf_fib_lookup) -> Self {
        // SAFETY: four bytes, whatever they mean.
        unsafe { query.__bindgen_anon_4.ipv4_dst }.to_ne_bytes()
    }
}

impl FibAddress for V6 {
    const FAMILY: u8 = AF_INET6;

    #[inline(always)]
    fn ask(query: &mut bpf_fib_lookup, source: Self, destination: Self, class: u8) {
        query.__bindgen_anon_2.flowinfo = (u32::from(class) << 20).to_be();
        query.__bindgen_anon_3.ipv6_src = words(source);
        query.__bindgen_anon_4.ipv6_dst = words(destination);
    }

    #[inline(always)]
    fn neighbour(query: &bpf_fib_lookup) -> Self {
        // SAFETY: sixteen bytes, whatever they mean.
        zerocopy::transmute!(unsafe { query.__bindgen_anon_4.ipv6_dst })
    }
}

/// Asks the kernel for a route.
#[inline(always)]
pub(crate) fn route<A: FibAddress + Address>(
    ctx: *mut c_void,
    ingress: u32,
    source: A,
    destination: A,
    protocol: u32,
    class: u8,
) -> Route<A> {
    let Some(notes) = NOTES.get_ptr_mut(0) else { return Route::nowhere(Reach::None) };
    // SAFETY: valid and aligned; the element is this CPU's own.
    let words = unsafe { &mut (*notes).route };
    for word in &mut *words {
        // Volatile: of plain stores LLVM makes a call of a loop over bytes.
        // SAFETY: a reference is valid and aligned.
        unsafe { ptr::from_mut(word).write_volatile(0) };
    }
    // SAFETY: the structure is made of plain integers, for which zero is a value, and fits into the
    // words at a lower alignment.
    let query = unsafe { &mut *words.as_mut_ptr().cast::<bpf_fib_lookup>() };
    query.family = A::FAMILY;
    query.l4_protocol = protocol as u8;
    query.ifindex = ingress;
    // Shorter than any MTU: a length that is not zero has the kernel tell the MTU.
    query.__bindgen_anon_1.tot_len = 1;
    A::ask(query, source, destination, class);
    // SAFETY: the context is the program's own, the query has the size that is given.
    let code = unsafe { generated::bpf_fib_lookup(ctx, query, QUERY_SIZE, 0) };
    // SAFETY: two bytes, whatever they mean.
    let told = unsafe { query.__bindgen_anon_1.mtu_result };
    // Without a neighbour the kernel says nothing, and what was asked is still there.
    let mtu = if told == 1 { u16::MAX } else { told };
    // An IPv4 route may lead through an IPv6 neighbour (RFC 5549); the stack can deal with that.
    let same_family = query.family == A::FAMILY;
    let reach = match (code as i32).cast_unsigned() {
        BPF_FIB_LKUP_RET_SUCCESS if same_family => Reach::Resolved,
        BPF_FIB_LKUP_RET_SUCCESS | BPF_FIB_LKUP_RET_NO_NEIGH => Reach::Unresolved,
        BPF_FIB_LKUP_RET_FWD_DISABLED => Reach::ForwardingDisabled,
        _ => Reach::None,
    };
    Route {
        reach,
        hop: NextHop {
            interface: query.ifindex,
            destination_mac: query.dmac,
            source_mac: query.smac,
        },
        neighbour: A::neighbour(query),
        mtu,
    }
}
