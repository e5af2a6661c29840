//! All maps. Their names are part of the ABI: the controller and bpftool find them under these.

use core::cell::UnsafeCell;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, bpf_fib_lookup},
    btf_maps::{Array, HashMap, LruHashMap, PerCpuArray, ProgramArray},
    macros::btf_map,
};
use lvs_common::abi::{
    Clock, Counter, DEFAULT_CONNECTIONS, DEFAULT_MEMBERS, DEFAULT_SERVERS, Destination,
    DestinationKey, FILTER_WORDS, Flow, Fragment, FragmentKey, Identity, Interface, LOCAL_PLACES,
    LedgerHead, Load, MAX_DESTINATIONS, MAX_FRAGMENTS, MAX_INTERFACES, MAX_KEYS, MAX_NEIGHBOURS,
    MAX_PORTS, MAX_STATES, MAX_TEMPLATES, MEMBERS_EACH, Neighbour, Place, Run, SchedulerState,
    Server, Service, ServiceKey, Settings, Stage, Statistics, Template, TemplateKey, Tuple, V4, V6,
    half_open_slots, identities, runs,
};
use lvs_common::env::Draft;
use lvs_common::recent::{self, Recent};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
/// Two entries per connection; the controller sets the number before it loads the object.
const FLOWS: usize = 2 * DEFAULT_CONNECTIONS as usize;
const HALF_OPEN: usize = half_open_slots(DEFAULT_CONNECTIONS) as usize;
const KEYS: usize = MAX_KEYS as usize;
/// The controller sets what follows from it before it loads the object.
const PLACES_FOR_SERVERS: usize = DEFAULT_SERVERS as usize;
const TEMPLATES: usize = MAX_TEMPLATES as usize;
const FRAGMENTS: usize = MAX_FRAGMENTS as usize;
const NEIGHBOURS: usize = MAX_NEIGHBOURS as usize;

macro_rules! families {
    ($($(#[$doc:meta])* $four:ident $six:ident: $map:ident<$key:ident, $value:ty, $($constants:tt),+>;)+) => {
        $(
            $(#[$doc])*
            #[btf_map]
            pub(crate) static $four: $map<$key<V4>, families!(@value $value, V4), $($constants),+> = $map::new();
            $(#[$doc])*
            #[btf_map]
            pub(crate) static $six: $map<$key<V6>, families!(@value $value, V6), $($constants),+> = $map::new();
        )+
    };
    (@value $value:ty, $family:ident) => { <$value as Of<$family>>::Type };
}

/// A value's type in the map of a family.
pub(crate) trait Of<A> {
    type Type;
}

/// Stands for [`Flow`] of the family at hand.
pub(crate) struct FlowOf;

impl Of<V4> for FlowOf {
    type Type = Flow<V4>;
}

impl Of<V6> for FlowOf {
    type Type = Flow<V6>;
}

macro_rules! same {
    ($($value:ty),+) => {
        $(impl<A> Of<A> for $value { type Type = Self; })+
    };
}

same!(Service, Template, Fragment, u32);

families! {
    /// Connections: two entries each, one per direction.
    CONNECTIONS4 CONNECTIONS6: HashMap<Tuple, FlowOf, FLOWS, NO_PREALLOC>;
    /// Virtual services by address, port and protocol, or by firewall mark.
    SERVICES4 SERVICES6: HashMap<ServiceKey, Service, KEYS, NO_PREALLOC>;
    /// Persistence templates.
    TEMPLATES4 TEMPLATES6: HashMap<TemplateKey, Template, TEMPLATES, NO_PREALLOC>;
    /// The ports of datagrams whose first fragment has passed.
    FRAGMENTS4 FRAGMENTS6: LruHashMap<FragmentKey, Fragment, FRAGMENTS>;
    /// Neighbours in use, for the controller to have them resolved or confirmed.
    NEIGHBOURS4 NEIGHBOURS6: HashMap<Neighbour, u32, NEIGHBOURS, NO_PREALLOC>;
}

/// Keys of half-open connections.
#[btf_map]
pub(crate) static HALF_OPEN4: Array<Tuple<V4>, HALF_OPEN> = Array::new();

/// The same for IPv6.
#[btf_map]
pub(crate) static HALF_OPEN6: Array<Tuple<V6>, HALF_OPEN> = Array::new();

/// Room for a new connection's entries while they are made.
#[btf_map]
pub(crate) static DRAFT4: PerCpuArray<Draft<V4>, 1> = PerCpuArray::new();

/// The same for IPv6.
#[btf_map]
pub(crate) static DRAFT6: PerCpuArray<Draft<V6>, 1> = PerCpuArray::new();

/// The ways to real servers that a CPU has found a moment ago.
#[btf_map]
pub(crate) static RECENT4: PerCpuArray<Recent<V4>, { recent::PLACES }> = PerCpuArray::new();

/// The same for IPv6.
#[btf_map]
pub(crate) static RECENT6: PerCpuArray<Recent<V6>, { recent::PLACES }> = PerCpuArray::new();

/// How many slots of `HALF_OPEN4` and `HALF_OPEN6` have been given.
#[btf_map]
pub(crate) static CURSORS: Array<u64, 2> = Array::new();

/// Real servers by id.
#[btf_map]
pub(crate) static SERVERS: Array<Server, PLACES_FOR_SERVERS> = Array::new();

/// Active and inactive connections by server id.
#[btf_map]
pub(crate) static LOADS: Array<Load, PLACES_FOR_SERVERS> = Array::new();

/// Lists and buckets of server ids that services and runs point at. The controller sets the number before it loads the
/// object.
#[btf_map]
pub(crate) static MEMBERS: Array<[u32; MEMBERS_EACH], { DEFAULT_MEMBERS as usize }> = Array::new();

/// Parts of wrr's rounds.
#[btf_map]
pub(crate) static RUNS: Array<Run, { runs(DEFAULT_SERVERS) as usize }> = Array::new();

/// What schedulers remember; services point at it.
#[btf_map]
pub(crate) static SCHEDULERS: Array<SchedulerState, { MAX_STATES as usize }> = Array::new();

/// Which servers lblc and lblcr have sent a destination to.
#[btf_map]
pub(crate) static DESTINATIONS: LruHashMap<
    DestinationKey,
    Destination,
    { MAX_DESTINATIONS as usize },
> = LruHashMap::new();

/// Local addresses of full NAT: runs that services point at.
#[btf_map]
pub(crate) static LOCALS: Array<[u8; 16], { LOCAL_PLACES as usize }> = Array::new();

/// Ports that full NAT can take, host order.
#[btf_map]
pub(crate) static PORTS: Array<u16, { MAX_PORTS as usize }> = Array::new();

/// What holds for all services.
#[btf_map]
pub(crate) static SETTINGS: Array<Settings, 1> = Array::new();

/// The data path's clock as it was read last.
#[btf_map]
pub(crate) static CLOCK: Array<Clock, 1> = Array::new();

/// One bit for each virtual service and real server, by a hash. Not a map of its own but the object's variables, the one
/// there is: the program then has its address, without a look-up for each packet. The controller pins it as `FILTER`.
pub(crate) static FILTER: Filter = Filter(UnsafeCell::new([0; FILTER_WORDS]));

/// See [`FILTER`].
pub(crate) struct Filter(pub(crate) UnsafeCell<[u64; FILTER_WORDS]>);

// SAFETY: the programs only read it; the controller writes whole words.
unsafe impl Sync for Filter {}

/// Connections, packets and bytes by server id and CPU.
#[btf_map]
pub(crate) static STATISTICS: PerCpuArray<Statistics, PLACES_FOR_SERVERS> = PerCpuArray::new();

/// Packets passed or dropped, by reason and CPU.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::ALL.len() }> = PerCpuArray::new();

/// The attached interfaces by index.
#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, Interface, { MAX_INTERFACES as usize }> = HashMap::new();

/// Which service has which number; for the controller alone, as the next two.
#[btf_map]
pub(crate) static IDENTITIES: HashMap<
    u32,
    Identity,
    { identities(DEFAULT_SERVERS) as usize },
    NO_PREALLOC,
> = HashMap::new();

/// Who has which place of `SERVERS`.
#[btf_map]
pub(crate) static PLACES: Array<Place, PLACES_FOR_SERVERS> = Array::new();

/// What else the controller has to find again.
#[btf_map]
pub(crate) static LEDGER: Array<LedgerHead, 1> = Array::new();

/// What a CPU keeps from one stage to the next, and from one packet to the next.
#[btf_map]
pub(crate) static NOTES: PerCpuArray<Notes, 1> = PerCpuArray::new();

/// 64-bit words in the query of a route.
pub(crate) const ROUTE_WORDS: usize = size_of::<bpf_fib_lookup>() / size_of::<u64>();

/// The element of [`NOTES`].
#[repr(C)]
pub(crate) struct Notes {
    /// The second in which ICMP errors were sent last.
    pub(crate) second: u64,
    /// How many in that second.
    pub(crate) errors: u32,
    /// The fault that the next stage is to report.
    pub(crate) fault: u32,
    /// The query of a route, too much for the stack of some stages; in words of eight bytes, because for bytes LLVM would
    /// call a loop.
    pub(crate) route: [u64; ROUTE_WORDS],
    /// What is to be traced once the packet's fate is decided.
    pub(crate) trace: Trace,
}

/// A decision on its way to the log: it is written down where it is made, and told by a program of its own, because
/// formatting takes more of the stack than the stages leave.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Trace {
    /// Whether there is one, and of which kind: see [`crate::trace`].
    pub(crate) kind: u32,
    /// A state, a counter or a server.
    pub(crate) number: u32,
    /// The client and the service, IPv4 in the first four bytes; and, of a new connection, what the server sees as
    /// the client, and the server.
    pub(crate) addresses: [[u8; 16]; 4],
    /// Their ports, host order.
    pub(crate) ports: [u16; 4],
    /// 4 or 6.
    pub(crate) version: u32,
    /// What the traced program would have returned.
    pub(crate) action: i32,
    /// Where to redirect to, or 0.
    pub(crate) interface: u32,
    /// Always zero.
    pub(crate) reserved: u32,
}

/// The slot behind those of the stages, for the program that tells what is traced.
pub(crate) const TRACE_SLOT: u32 = Stage::ALL.len() as u32;

const SLOTS: usize = Stage::ALL.len() + 1;

/// The programs of the stages, for XDP.
#[btf_map]
pub(crate) static STAGES: ProgramArray<SLOTS> = ProgramArray::new();

/// The programs of the stages, for TC.
#[btf_map]
pub(crate) static STAGES_TC: ProgramArray<SLOTS> = ProgramArray::new();
