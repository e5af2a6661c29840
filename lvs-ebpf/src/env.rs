//! [`Env`] on maps and helpers: the one place that calls them.

use core::{
    ffi::{c_long, c_void},
    mem::offset_of,
    ptr::{self, NonNull},
};

use aya_ebpf::{
    Global,
    bindings::{BPF_ANY, BPF_NOEXIST},
    helpers::generated,
};
use lvs_common::{
    abi::{
        Counter, Destination, DestinationKey, Direction, Flow, Fragment, FragmentKey, Interface,
        Load, MEMBERS_EACH, Mark, Neighbour, Run, Server, Service, ServiceKey, Settings,
        Statistics, Template, TemplateKey, Tuple, V4, V6, neighbour_state,
    },
    env::{Decision, Draft, Env, InsertError, Route, Step, Tables},
    fault::Fault,
};

use crate::{
    atomic::fetch_add,
    fib::route,
    flow::{KernelFlow, key_words},
    maps::{
        CONNECTIONS4, CONNECTIONS6, COUNTERS, CURSORS, DESTINATIONS, DRAFT4, DRAFT6, FILTER,
        FRAGMENTS4, FRAGMENTS6, HALF_OPEN4, HALF_OPEN6, INTERFACES, LOADS, LOCALS, MEMBERS,
        NEIGHBOURS4, NEIGHBOURS6, NOTES, Notes, PORTS, RECENT4, RECENT6, RUNS, SCHEDULERS, SERVERS,
        SERVICES4, SERVICES6, SETTINGS, STATISTICS, TEMPLATES4, TEMPLATES6,
    },
    remembered::{KernelDestination, KernelRecent, KernelTemplate},
    trace,
};

const EEXIST: i32 = -17;

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

/// The callback of `bpf_loop`: the verifier walks it once, however often it runs. Steps need maps only, not the packet.
extern "C" fn once<S: Step<KernelEnv>>(index: u32, step: *mut S) -> c_long {
    // SAFETY: what `repeat` gave to the helper.
    let step = unsafe { &mut *step };
    c_long::from(!step.step(&KernelEnv::new(ptr::null_mut(), 0), index))
}

/// The surroundings of a packet.
pub(crate) struct KernelEnv {
    ctx: *mut c_void,
    ingress: u32,
    mark: u32,
}

impl KernelEnv {
    /// For the packet in `ctx`, an XDP or a TC context, that came in on the interface `ingress`.
    #[inline(always)]
    pub(crate) const fn new(ctx: *mut c_void, ingress: u32) -> Self {
        Self { ctx, ingress, mark: 0 }
    }

    /// For a packet that carries this firewall mark.
    #[inline(always)]
    pub(crate) const fn with_mark(self, mark: u32) -> Self {
        Self { mark, ..self }
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

/// A field of the settings.
#[inline(always)]
fn setting<T>(read: impl FnOnce(&Settings) -> T) -> Option<T> {
    // SAFETY: a look-up gives a valid, aligned pointer; the controller writes whole words.
    SETTINGS.get_ptr(0).map(|settings| read(unsafe { &*settings }))
}

macro_rules! tables {
    ($family:ident, $connections:ident, $draft:ident, $half_open:ident, $cursor:literal, $services:ident, $templates:ident,
     $fragments:ident, $neighbours:ident, $recent:ident) => {
        impl Tables<$family> for KernelEnv {
            type Flow = KernelFlow<$family>;
            type Template = KernelTemplate;
            type Recent = KernelRecent<$family>;

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
            fn is_half_open_taken(&self, slot: u32) -> bool {
                // SAFETY: valid and aligned; a whole word.
                $half_open.get_ptr(slot).is_some_and(|place| unsafe { (*place).protocol } != 0)
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
            fn template(&self, key: &TemplateKey<$family>) -> Option<KernelTemplate> {
                NonNull::new($templates.get_ptr_mut(key)?).map(KernelTemplate)
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
                route(self.ctx, self.ingress, source, destination, protocol, class)
            }

            #[inline(always)]
            fn recent(&self, place: u32) -> Option<KernelRecent<$family>> {
                NonNull::new($recent.get_ptr_mut(place)?).map(KernelRecent)
            }

            #[inline(always)]
            fn use_neighbour(&self, interface: u32, neighbour: $family, resolved: bool) {
                let key = Neighbour { address: neighbour, interface };
                // It is there nearly always: to look costs less than to insert in vain, which locks the bucket, the same
                // one for all CPUs.
                if resolved && $neighbours.get_ptr(key).is_some() {
                    return;
                }
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

tables!(
    V4,
    CONNECTIONS4,
    DRAFT4,
    HALF_OPEN4,
    0,
    SERVICES4,
    TEMPLATES4,
    FRAGMENTS4,
    NEIGHBOURS4,
    RECENT4
);
tables!(
    V6,
    CONNECTIONS6,
    DRAFT6,
    HALF_OPEN6,
    1,
    SERVICES6,
    TEMPLATES6,
    FRAGMENTS6,
    NEIGHBOURS6,
    RECENT6
);

impl Env for KernelEnv {
    type Destination = KernelDestination;

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
    fn mark(&self) -> u32 {
        self.mark
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
    fn load(&self, id: u32) -> Option<Load> {
        copied(LOADS.get_ptr(id))
    }

    #[inline(always)]
    fn member(&self, place: u32) -> Option<u32> {
        let each = MEMBERS_EACH as u32;
        let element = MEMBERS.get_ptr(place / each)?.cast::<u32>();
        // SAFETY: one of the numbers of the element.
        let number = unsafe { element.add((place % each) as usize) };
        copied(Some(number))
    }

    #[inline(always)]
    fn run(&self, slot: u32) -> Option<Run> {
        copied(RUNS.get_ptr(slot))
    }

    #[inline(always)]
    fn destination(&self, key: &DestinationKey) -> Option<KernelDestination> {
        NonNull::new(DESTINATIONS.get_ptr_mut(key)?).map(KernelDestination)
    }

    #[inline(always)]
    fn add_destination(&self, key: &DestinationKey, destination: &Destination) {
        let _full_is_never = DESTINATIONS.insert(key, destination, u64::from(BPF_ANY));
    }

    #[inline(always)]
    fn repeat<S: Step<Self>>(&self, times: u32, step: &mut S) {
        let callback = once::<S> as *mut c_void;
        // SAFETY: the callback takes an index and the pointer that is given here, which outlives the call.
        unsafe { generated::bpf_loop(times, callback, ptr::from_mut(step).cast(), 0) };
    }

    #[inline(always)]
    fn take_turns(&self, state: u32, turns: u64) -> Option<u64> {
        // `turn` is the first field.
        Some(fetch_add(SCHEDULERS.get_ptr_mut(state)?.cast(), turns))
    }

    #[inline(always)]
    fn restart_turns(&self, state: u32, turns: u64) {
        let Some(state) = SCHEDULERS.get_ptr_mut(state) else { return };
        let turn = fetch_add(state.cast(), turns).wrapping_add(turns);
        // SAFETY: no access, only the field's address inside the valid element.
        let restart = unsafe { ptr::addr_of_mut!((*state).restart) };
        // SAFETY: the field is aligned; it is a whole word, which only counts if it equals the turn.
        unsafe { restart.write_volatile(turn) };
    }

    #[inline(always)]
    fn take_port_turn(&self, server: u32) -> Option<u64> {
        let load = LOADS.get_ptr_mut(server)?;
        // SAFETY: no access, only the field's address inside the valid element.
        Some(fetch_add(unsafe { ptr::addr_of_mut!((*load).port_cursor) }, 1))
    }

    #[inline(always)]
    fn add_load(&self, server: u32, difference: u64) -> u64 {
        // `inactive` and `active` are the first 64 bits.
        LOADS.get_ptr_mut(server).map_or(0, |load| fetch_add(load.cast(), difference))
    }

    #[inline(always)]
    fn set_overload(&self, server: u32, threshold: u32) {
        if let Some(load) = LOADS.get_ptr_mut(server) {
            // SAFETY: no access, only the field's address inside the valid element.
            let overload = unsafe { ptr::addr_of_mut!((*load).overload) };
            // SAFETY: valid and aligned; a whole word.
            unsafe { overload.write_volatile(threshold) };
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
