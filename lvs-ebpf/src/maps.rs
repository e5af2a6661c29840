//! All maps. Their names are part of the ABI: the controller and bpftool find them under these.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, PerCpuArray},
    macros::btf_map,
};
use lvs_common::abi::{
    Counter, Flow4, Interface, MAX_FLOWS, MAX_INTERFACES, MAX_MEMBERS, MAX_NEIGHBOURS, MAX_SERVERS,
    MAX_SERVICES, MAX_TEMPLATES, Neighbour4, SchedulerState, Server, Service, ServiceKey4,
    Statistics, Template4, TemplateKey4, Tuple4,
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;

/// Connections: two entries each, one per direction.
#[btf_map]
pub(crate) static CONNECTIONS4: HashMap<Tuple4, Flow4, { MAX_FLOWS as usize }, NO_PREALLOC> =
    HashMap::new();

/// Virtual services by address, port and protocol.
#[btf_map]
pub(crate) static SERVICES4: HashMap<ServiceKey4, Service, { MAX_SERVICES as usize }> =
    HashMap::new();

/// Real servers by id.
#[btf_map]
pub(crate) static SERVERS: Array<Server, { MAX_SERVERS as usize }> = Array::new();

/// Member lists: runs of server ids that services point at.
#[btf_map]
pub(crate) static MEMBERS: Array<u32, { MAX_MEMBERS as usize }> = Array::new();

/// What schedulers remember, by service id.
#[btf_map]
pub(crate) static SCHEDULERS: Array<SchedulerState, { MAX_SERVICES as usize }> = Array::new();

/// Persistence templates.
#[btf_map]
pub(crate) static TEMPLATES4: HashMap<
    TemplateKey4,
    Template4,
    { MAX_TEMPLATES as usize },
    NO_PREALLOC,
> = HashMap::new();

/// Connections, packets and bytes by server id and CPU.
#[btf_map]
pub(crate) static STATISTICS: PerCpuArray<Statistics, { MAX_SERVERS as usize }> =
    PerCpuArray::new();

/// Packets passed or dropped, by reason and CPU.
#[btf_map]
pub(crate) static COUNTERS: PerCpuArray<u64, { Counter::ALL.len() }> = PerCpuArray::new();

/// The attached interfaces by index.
#[btf_map]
pub(crate) static INTERFACES: HashMap<u32, Interface, { MAX_INTERFACES as usize }> = HashMap::new();

/// Neighbours in use, for the controller to have them resolved or confirmed.
#[btf_map]
pub(crate) static NEIGHBOURS4: HashMap<Neighbour4, u32, { MAX_NEIGHBOURS as usize }, NO_PREALLOC> =
    HashMap::new();
