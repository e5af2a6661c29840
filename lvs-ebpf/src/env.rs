//! [`Env`] on maps and helpers: the one place that calls them.

use core::{
    arch::asm,
    ffi::c_void,
    ptr::{self, NonNull},
};

use aya_ebpf::{
    bindings::{
        BPF_ANY, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST, bpf_fib_lookup,
    },
    helpers::generated,
};
use lvs_common::{
    abi::{
        Counter, Direction, Flow4, Interface, Neighbour4, NextHop, Server, Service, ServiceKey4,
        Statistics, Template4, TemplateKey4, Tuple4, neighbour_state,
    },
    env::{Env, FlowHandle, InsertError, Route},
};

use crate::maps::{
    CONNECTIONS4, COUNTERS, INTERFACES, MEMBERS, NEIGHBOURS4, SCHEDULERS, SERVERS, SERVICES4,
    STATISTICS, TEMPLATES4,
};

const EEXIST: i32 = -17;
const AF_INET: u8 = 2;
#[expect(clippy::cast_possible_wrap, reason = "64 bytes")]
const FIB_QUERY_SIZE: i32 = size_of::<bpf_fib_lookup>() as i32;

/// Sends the frame out of an interface; gives the action to return.
#[inline(always)]
pub(crate) fn redirect(interface: u32) -> i32 {
    // SAFETY: the helper takes two integers.
    unsafe { generated::bpf_redirect(interface, 0) as i32 }
}

/// The surroundings of a packet.
pub(crate) struct KernelEnv {
    ctx: *mut c_void,
    ingress: u32,
}

impl KernelEnv {
    /// For the packet in `ctx`, an XDP or a TC context, that came in on the interface `ingress`.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut c_void, ingress: u32) -> Self {
        Self { ctx, ingress }
    }
}

/// An entry of `CONNECTIONS4`. The kernel keeps the memory for as long as the program runs on this
/// packet, even if another CPU deletes the entry.
pub(crate) struct KernelFlow(NonNull<Flow4>);

/// Stores one field of an entry.
macro_rules! store {
    ($flow:expr, $field:ident, $value:expr) => {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned. Other CPUs
        // may access the field; it is a whole word or its bytes are only read together with the state
        // they belong to, and the verifier's view has no undefined value.
        unsafe { ptr::write_volatile(ptr::addr_of_mut!((*$flow.0.as_ptr()).$field), $value) }
    };
}

impl FlowHandle for KernelFlow {
    #[inline(always)]
    fn load(&self) -> Flow4 {
        // SAFETY: valid and aligned as above; a torn read of a next hop that another CPU refreshes at
        // this moment costs at worst one packet.
        unsafe { self.0.as_ptr().read() }
    }

    #[inline(always)]
    fn set_seen(&self, now: u64) {
        store!(self, seen, now);
    }

    #[inline(always)]
    fn set_state(&self, state: u8, timeout: u32) {
        store!(self, timeout, timeout);
        store!(self, state, state);
    }

    #[inline(always)]
    fn set_hop(&self, hop: NextHop, checked: u64) {
        store!(self, hop, hop);
        store!(self, hop_checked, checked);
    }
}

#[inline(always)]
fn inserted(result: Result<(), i32>) -> Result<(), InsertError> {
    result.map_err(|error| if error == EEXIST { InsertError::Exists } else { InsertError::Full })
}

/// A copy of a value behind a pointer from a map look-up.
#[inline(always)]
fn copied<T: Copy>(pointer: Option<*const T>) -> Option<T> {
    // SAFETY: a look-up gives a valid, aligned pointer; the values are plain data that the controller
    // replaces as a whole (hash maps) or writes before anything refers to them (arrays).
    pointer.map(|pointer| unsafe { pointer.read() })
}

impl Env for KernelEnv {
    type Flow = KernelFlow;

    #[inline(always)]
    fn now(&self) -> u64 {
        // The coarse clock saves reading the TSC; its 1 to 10 ms are fine enough for time-outs.
        // SAFETY: the helper takes nothing.
        unsafe { generated::bpf_ktime_get_coarse_ns() }
    }

    #[inline(always)]
    fn flow(&self, key: &Tuple4) -> Option<KernelFlow> {
        NonNull::new(CONNECTIONS4.get_ptr_mut(key)?).map(KernelFlow)
    }

    #[inline(always)]
    fn insert_flow(&self, key: &Tuple4, flow: &Flow4) -> Result<(), InsertError> {
        inserted(CONNECTIONS4.insert(key, flow, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn remove_flow(&self, key: &Tuple4) {
        let _absent_is_fine = CONNECTIONS4.remove(key);
    }

    #[inline(always)]
    fn service(&self, key: &ServiceKey4) -> Option<Service> {
        copied(SERVICES4.get_ptr(key))
    }

    #[inline(always)]
    fn server(&self, id: u32) -> Option<Server> {
        copied(SERVERS.get_ptr(id))
    }

    #[inline(always)]
    fn member(&self, slot: u32) -> Option<u32> {
        copied(MEMBERS.get_ptr(slot))
    }

    #[inline(always)]
    fn take_turn(&self, service: u32) -> Option<u64> {
        let turn = SCHEDULERS.get_ptr_mut(service)?.cast::<u64>();
        let mut value = 1_u64;
        // SAFETY: the pointer is valid and aligned, and `turn` is the first field; the instruction is
        // an atomic fetch-and-add, which core's atomics do not offer for this target.
        unsafe {
            asm!(
                "{value} = atomic_fetch_add((u64 *)({turn} + 0), {value})",
                value = inout(reg) value,
                turn = in(reg) turn,
                options(nostack, preserves_flags),
            );
        }
        Some(value)
    }

    #[inline(always)]
    fn template(&self, key: &TemplateKey4) -> Option<Template4> {
        copied(TEMPLATES4.get_ptr(key))
    }

    #[inline(always)]
    fn insert_template(&self, key: &TemplateKey4, template: &Template4) -> Result<(), InsertError> {
        inserted(TEMPLATES4.insert(key, template, u64::from(BPF_NOEXIST)))
    }

    #[inline(always)]
    fn replace_template(
        &self,
        key: &TemplateKey4,
        template: &Template4,
    ) -> Result<(), InsertError> {
        inserted(TEMPLATES4.insert(key, template, u64::from(BPF_ANY)))
    }

    #[inline(always)]
    fn route(&self, source: [u8; 4], destination: [u8; 4], tos: u8) -> Route {
        // Eight words: at the alignment of the structure itself LLVM would call a loop over 64 bytes.
        let mut words = [0_u64; size_of::<bpf_fib_lookup>() / size_of::<u64>()];
        // SAFETY: the structure is made of plain integers, for which zero is a value, and fits into the
        // words at a lower alignment.
        let query = unsafe { &mut *words.as_mut_ptr().cast::<bpf_fib_lookup>() };
        query.family = AF_INET;
        query.l4_protocol = lvs_common::wire::PROTOCOL_TCP;
        query.ifindex = self.ingress;
        query.__bindgen_anon_2.tos = tos;
        query.__bindgen_anon_3.ipv4_src = u32::from_ne_bytes(source);
        query.__bindgen_anon_4.ipv4_dst = u32::from_ne_bytes(destination);
        // SAFETY: the context is the program's own, the query has the size that is given.
        let code = unsafe { generated::bpf_fib_lookup(self.ctx, query, FIB_QUERY_SIZE, 0) };
        // SAFETY: four bytes, whatever they mean; the helper puts the next hop's address here.
        let neighbour = unsafe { query.__bindgen_anon_4.ipv4_dst }.to_ne_bytes();
        match u32::try_from(code) {
            Ok(BPF_FIB_LKUP_RET_SUCCESS) => Route::Via {
                hop: NextHop {
                    interface: query.ifindex,
                    destination_mac: query.dmac,
                    source_mac: query.smac,
                },
                neighbour,
            },
            Ok(BPF_FIB_LKUP_RET_NO_NEIGH) => {
                Route::Unresolved { interface: query.ifindex, neighbour }
            }
            Ok(BPF_FIB_LKUP_RET_FWD_DISABLED) => Route::ForwardingDisabled,
            _ => Route::None,
        }
    }

    #[inline(always)]
    fn interface(&self, index: u32) -> Option<Interface> {
        copied(INTERFACES.get_ptr(index))
    }

    #[inline(always)]
    fn use_neighbour(&self, interface: u32, neighbour: [u8; 4], resolved: bool) {
        let key = Neighbour4 { address: neighbour, interface };
        let (state, flags) = if resolved {
            (neighbour_state::IN_USE, BPF_NOEXIST)
        } else {
            (neighbour_state::UNRESOLVED, BPF_ANY)
        };
        let _full_or_there_is_fine = NEIGHBOURS4.insert(key, state, u64::from(flags));
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress
    }

    #[inline(always)]
    fn count(&self, counter: Counter) {
        if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
            // SAFETY: valid and aligned; the element is this CPU's own.
            unsafe { *value += 1 };
        }
    }

    #[inline(always)]
    fn count_connection(&self, server: u32) {
        if let Some(statistics) = STATISTICS.get_ptr_mut(server) {
            // SAFETY: as in `count`.
            unsafe { (*statistics).connections += 1 };
        }
    }

    #[inline(always)]
    fn count_packet(&self, server: u32, direction: Direction, bytes: u32) {
        let Some(statistics) = STATISTICS.get_ptr_mut(server) else { return };
        // SAFETY: as in `count`.
        let Statistics { in_packets, in_bytes, out_packets, out_bytes, connections: _ } =
            unsafe { &mut *statistics };
        let (packets, sum) = match direction {
            Direction::ToServer => (in_packets, in_bytes),
            Direction::ToClient => (out_packets, out_bytes),
        };
        *packets += 1;
        *sum += u64::from(bytes);
    }
}
