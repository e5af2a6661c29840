//! [`Env`] on maps and helpers: the one place that calls them.

use core::{
    arch::asm,
    ffi::c_void,
    mem::offset_of,
    ptr::{self, NonNull},
};

use aya_ebpf::{
    Global,
    bindings::{
        BPF_ANY, BPF_FIB_LKUP_RET_FWD_DISABLED, BPF_FIB_LKUP_RET_NO_NEIGH,
        BPF_FIB_LKUP_RET_SUCCESS, BPF_NOEXIST, bpf_fib_lookup,
    },
    helpers::generated,
};
use lvs_common::{
    abi::{
        Address, Counter, Direction, Flow, Fragment, FragmentKey, Head, Interface, Mark, Neighbour,
        NextHop, Server, Service, ServiceKey, Settings, Statistics, Template, TemplateKey, Tuple,
        V4, V6, neighbour_state, words,
    },
    env::{Decision, Draft, Env, FlowHandle, InsertError, Reach, Route, Tables},
    fault::Fault,
};

use crate::{
    maps::{
        CONNECTIONS4, CONNECTIONS6, COUNTERS, CURSORS, DRAFT4, DRAFT6, FILTER, FRAGMENTS4,
        FRAGMENTS6, HALF_OPEN4, HALF_OPEN6, INTERFACES, LOADS, LOCALS, MEMBERS, NEIGHBOURS4,
        NEIGHBOURS6, NOTES, Notes, PORTS, ROUTE_WORDS, SCHEDULERS, SERVERS, SERVICES4, SERVICES6,
        SETTINGS, STATISTICS, TEMPLATES4, TEMPLATES6,
    },
    trace,
};

const EEXIST: i32 = -17;
const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
#[expect(clippy::cast_possible_wrap, reason = "64 bytes")]
const FIB_QUERY_SIZE: i32 = size_of::<bpf_fib_lookup>() as i32;

/// The length of a jiffy in ns, set by the controller before it loads the programs.
#[unsafe(no_mangle)]
static NS_PER_JIFFY: Global<u64> = Global::new(1_000_000);

/// ICMP errors that a CPU sends in a second: Linux's limit for all of them together
/// (`net.ipv4.icmp_msgs_per_sec`).
const ERRORS_PER_SECOND: u32 = 1000;

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

/// An entry of a connection table. The kernel keeps the memory for as long as the program runs on this
/// packet, even if another CPU deletes the entry.
pub(crate) struct KernelFlow<A>(NonNull<Flow<A>>);

/// Stores one field of an entry.
macro_rules! store {
    ($flow:expr, $($field:ident).+, $value:expr) => {
        // SAFETY: the pointer comes from a map look-up in this run and is valid and aligned. Other CPUs
        // may access the field; it is a whole word or its bytes are only read together with the state
        // they belong to, and the verifier's view has no undefined value.
        unsafe { ptr::write_volatile(ptr::addr_of_mut!((*$flow.0.as_ptr()).$($field).+), $value) }
    };
}

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
        store!(self, timeout, seconds);
    }

    #[inline(always)]
    fn set_half_open(&self, slot: u32) {
        store!(self, half_open, slot);
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

/// Adds to a number that all CPUs share and gives what it was.
#[inline(always)]
fn fetch_add(number: *mut u64, difference: u64) -> u64 {
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
fn compare_exchange(word: *mut u32, old: u32, new: u32) -> bool {
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

/// A field of the settings.
#[inline(always)]
fn setting<T>(read: impl FnOnce(&Settings) -> T) -> Option<T> {
    // SAFETY: a look-up gives a valid, aligned pointer; the controller writes whole words.
    SETTINGS.get_ptr(0).map(|settings| read(unsafe { &*settings }))
}

/// A key in words of eight bytes. The kernel hashes it by four bytes and compares it by eight; reading at once what was
/// written piece by piece would have the processor wait for the pieces to reach its cache: some 4 ns.
#[inline(always)]
fn key_words<A: FibAddress>(key: &Tuple<A>) -> A::Key {
    let ports = u32::from(key.source_port) | u32::from(key.destination_port) << 16;
    A::key(key.source, key.destination, ports, key.protocol)
}

/// Two words, as they lie in memory, in one.
#[inline(always)]
fn pair(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// An address in the query of a route, and in a key.
trait FibAddress: Copy {
    /// The words of a key.
    type Key;
    fn key(source: Self, destination: Self, ports: u32, protocol: u32) -> Self::Key;
    const FAMILY: u8;
    fn ask(query: &mut bpf_fib_lookup, source: Self, destination: Self, class: u8);
    fn neighbour(query: &bpf_fib_lookup) -> Self;
}

impl FibAddress for V4 {
    type Key = [u64; 2];

    #[inline(always)]
    fn key(source: Self, destination: Self, ports: u32, protocol: u32) -> [u64; 2] {
        [pair(u32::from_ne_bytes(source), u32::from_ne_bytes(destination)), pair(ports, protocol)]
    }

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
fn route<A: FibAddress + Address>(
    env: &KernelEnv,
    source: A,
    destination: A,
    protocol: u32,
    class: u8,
) -> Route<A> {
    let Some(notes) = NOTES.get_ptr_mut(0) else { return Route::nowhere(Reach::None) };
    // SAFETY: valid and aligned; the element is this CPU's own.
    let words = unsafe { &mut (*notes).route };
    *words = [0; ROUTE_WORDS];
    // SAFETY: the structure is made of plain integers, for which zero is a value, and fits into the
    // words at a lower alignment.
    let query = unsafe { &mut *words.as_mut_ptr().cast::<bpf_fib_lookup>() };
    query.family = A::FAMILY;
    query.l4_protocol = protocol as u8;
    query.ifindex = env.ingress;
    // Shorter than any MTU: a length that is not zero has the kernel tell the MTU.
    query.__bindgen_anon_1.tot_len = 1;
    A::ask(query, source, destination, class);
    // SAFETY: the context is the program's own, the query has the size that is given.
    let code = unsafe { generated::bpf_fib_lookup(env.ctx, query, FIB_QUERY_SIZE, 0) };
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

macro_rules! tables {
    ($family:ident, $connections:ident, $draft:ident, $half_open:ident, $cursor:literal, $services:ident, $templates:ident,
     $fragments:ident, $neighbours:ident) => {
        impl Tables<$family> for KernelEnv {
            type Flow = KernelFlow<$family>;

            #[inline(always)]
            fn flow(&self, key: &Tuple<$family>) -> Option<KernelFlow<$family>> {
                let words = key_words(key);
                // SAFETY: the words are the key's bytes, aligned as it is.
                let key = unsafe { &*words.as_ptr().cast::<Tuple<$family>>() };
                NonNull::new($connections.get_ptr_mut(key)?).map(KernelFlow)
            }

            #[inline(always)]
            fn insert_flow(
                &self,
                key: &Tuple<$family>,
                flow: &Flow<$family>,
            ) -> Result<(), InsertError> {
                inserted($connections.insert(key, flow, u64::from(BPF_NOEXIST)))
            }

            #[inline(always)]
            fn remove_flow(&self, key: &Tuple<$family>) {
                let _absent_is_fine = $connections.remove(key);
            }

            #[inline(always)]
            fn next_half_open(&self) -> Option<u32> {
                let slots = setting(|settings| settings.half_open)?;
                if slots == 0 {
                    return None;
                }
                let turn = fetch_add(CURSORS.get_ptr_mut($cursor)?, 1);
                Some((turn % u64::from(slots)) as u32)
            }

            #[inline(always)]
            fn half_open(&self, slot: u32) -> Option<Tuple<$family>> {
                copied($half_open.get_ptr(slot))
            }

            #[inline(always)]
            fn set_half_open(&self, slot: u32, key: &Tuple<$family>) {
                if let Some(place) = $half_open.get_ptr_mut(slot) {
                    // SAFETY: valid and aligned; a slot is given to one connection at a time.
                    unsafe { place.write(*key) };
                }
            }

            #[inline(always)]
            fn free_half_open(&self, slot: u32) {
                if let Some(place) = $half_open.get_ptr_mut(slot) {
                    // SAFETY: as above.
                    unsafe { (*place).protocol = 0 };
                }
            }

            #[inline(always)]
            fn draft<T>(&self, work: impl FnOnce(&mut Draft<$family>) -> T) -> Option<T> {
                // SAFETY: valid and aligned; the element is this CPU's own, and a program is not interrupted by
                // another one of its kind.
                $draft.get_ptr_mut(0).map(|draft| work(unsafe { &mut *draft }))
            }

            #[inline(always)]
            fn service(&self, key: &ServiceKey<$family>) -> Option<Service> {
                copied($services.get_ptr(key))
            }

            #[inline(always)]
            fn template(&self, key: &TemplateKey<$family>) -> Option<Template> {
                copied($templates.get_ptr(key))
            }

            #[inline(always)]
            fn insert_template(
                &self,
                key: &TemplateKey<$family>,
                template: &Template,
            ) -> Result<(), InsertError> {
                inserted($templates.insert(key, template, u64::from(BPF_NOEXIST)))
            }

            #[inline(always)]
            fn replace_template(
                &self,
                key: &TemplateKey<$family>,
                template: &Template,
            ) -> Result<(), InsertError> {
                inserted($templates.insert(key, template, u64::from(BPF_ANY)))
            }

            #[inline(always)]
            fn fragment(&self, key: &FragmentKey<$family>) -> Option<Fragment> {
                copied($fragments.get_ptr(key))
            }

            #[inline(always)]
            fn set_fragment(&self, key: &FragmentKey<$family>, fragment: &Fragment) {
                let _full_is_never = $fragments.insert(key, fragment, u64::from(BPF_ANY));
            }

            #[inline(always)]
            fn route(
                &self,
                source: $family,
                destination: $family,
                protocol: u32,
                class: u8,
            ) -> Route<$family> {
                route(self, source, destination, protocol, class)
            }

            #[inline(always)]
            fn use_neighbour(&self, interface: u32, neighbour: $family, resolved: bool) {
                let key = Neighbour { address: neighbour, interface };
                let (state, flags) = if resolved {
                    (neighbour_state::IN_USE, BPF_NOEXIST)
                } else {
                    (neighbour_state::UNRESOLVED, BPF_ANY)
                };
                let _full_or_there_is_fine = $neighbours.insert(key, state, u64::from(flags));
            }

            #[inline(always)]
            fn trace(&self, tuple: &Tuple<$family>, decision: Decision<$family>) {
                trace::note(tuple, decision);
            }
        }
    };
}

tables!(V4, CONNECTIONS4, DRAFT4, HALF_OPEN4, 0, SERVICES4, TEMPLATES4, FRAGMENTS4, NEIGHBOURS4);
tables!(V6, CONNECTIONS6, DRAFT6, HALF_OPEN6, 1, SERVICES6, TEMPLATES6, FRAGMENTS6, NEIGHBOURS6);

impl Env for KernelEnv {
    #[inline(always)]
    fn now(&self) -> u64 {
        // The kernel makes one load of this helper; even its coarse clock takes a call and 12 ns, a quarter of what a
        // packet costs. A jiffy is 1 to 10 ms, fine enough for time-outs.
        // SAFETY: the helper takes nothing.
        unsafe { generated::bpf_jiffies64() }.wrapping_mul(NS_PER_JIFFY.load())
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: the helper takes nothing.
        unsafe { generated::bpf_get_prandom_u32() }
    }

    #[inline(always)]
    fn ingress(&self) -> u32 {
        self.ingress
    }

    #[inline(always)]
    fn marked(&self, mark: Mark) -> bool {
        // SAFETY: only the controller writes it, by whole words.
        let words = unsafe { &*FILTER.0.get() };
        words.get(mark.word as usize).is_none_or(|word| {
            // SAFETY: as above; volatile because it changes behind the compiler's back.
            let word = unsafe { ptr::from_ref(word).read_volatile() };
            word >> mark.bit & 1 != 0
        })
    }

    #[inline(always)]
    fn timeout(&self, state: u8) -> u32 {
        setting(|settings| settings.timeouts.get(usize::from(state & 0x0f)).copied())
            .flatten()
            .unwrap_or_default()
    }

    #[inline(always)]
    fn settings_flags(&self) -> u32 {
        setting(|settings| settings.flags).unwrap_or_default()
    }

    #[inline(always)]
    fn ports(&self) -> u32 {
        setting(|settings| settings.ports).unwrap_or_default()
    }

    #[inline(always)]
    fn port(&self, index: u32) -> Option<u16> {
        copied(PORTS.get_ptr(index))
    }

    #[inline(always)]
    fn local(&self, slot: u32) -> Option<[u8; 16]> {
        copied(LOCALS.get_ptr(slot))
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
        // `turn` is the first field.
        Some(fetch_add(SCHEDULERS.get_ptr_mut(service)?.cast(), 1))
    }

    #[inline(always)]
    fn take_port_turn(&self, server: u32) -> Option<u64> {
        let load = LOADS.get_ptr_mut(server)?;
        // SAFETY: no access, only the field's address inside the valid element.
        Some(fetch_add(unsafe { ptr::addr_of_mut!((*load).port_cursor) }, 1))
    }

    #[inline(always)]
    fn add_load(&self, server: u32, difference: u64) {
        if let Some(load) = LOADS.get_ptr_mut(server) {
            // `inactive` and `active` are the first 64 bits.
            fetch_add(load.cast(), difference);
        }
    }

    #[inline(always)]
    fn interface<T>(&self, index: u32, read: impl FnOnce(&Interface) -> T) -> Option<T> {
        // SAFETY: a look-up gives a valid, aligned pointer to plain data.
        INTERFACES.get_ptr(index).map(|interface| read(unsafe { &*interface }))
    }

    #[inline(always)]
    fn set_fault(&self, fault: Fault) {
        if let Some(notes) = NOTES.get_ptr_mut(0) {
            // SAFETY: valid and aligned; the element is this CPU's own.
            unsafe { (*notes).fault = fault.to_bits() };
        }
    }

    #[inline(always)]
    fn fault(&self) -> Option<Fault> {
        // SAFETY: as above.
        Fault::from_bits(unsafe { (*NOTES.get_ptr(0)?).fault })
    }

    #[inline(always)]
    fn may_send_error(&self, now: u64) -> bool {
        let Some(notes) = NOTES.get_ptr_mut(0) else { return false };
        // SAFETY: as above.
        let Notes { second, errors, fault: _, trace: _, route: _ } = unsafe { &mut *notes };
        let current = now / 1_000_000_000;
        if *second != current {
            (*second, *errors) = (current, 0);
        }
        *errors += 1;
        *errors <= ERRORS_PER_SECOND
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
        // The fields of both directions lie behind each other in the same order: an offset instead of branches.
        let offset = offset_of!(Statistics, in_packets)
            + (direction as usize & 1)
                * (offset_of!(Statistics, out_packets) - offset_of!(Statistics, in_packets));
        // SAFETY: the offset is that of one of two pairs of numbers inside the element.
        let pair = unsafe { statistics.byte_add(offset) }.cast::<[u64; 2]>();
        // SAFETY: as in `count`.
        let pair = unsafe { &mut *pair };
        let [packets, sum] = pair;
        *packets += 1;
        *sum += u64::from(bytes);
    }
}
