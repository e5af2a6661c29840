//! Typed handles on the maps, by the names that they have in the object.

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use lvs_common::abi::{
    Flow4, Interface, Neighbour4, SchedulerState, Server, Service, ServiceKey4, Statistics,
    Template4, TemplateKey4, Tuple4,
};

use super::{Error, Table};

/// The handle of `INTERFACES`.
pub type InterfaceMap = HashMap<MapData, u32, Interface>;

/// The handle of `NEIGHBOURS4`.
pub type NeighbourMap = HashMap<MapData, Neighbour4, u32>;

/// The maps of one data plane.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Maps {
    /// Connections, two entries each.
    pub connections: Table<Tuple4, Flow4>,
    /// Virtual services.
    pub services: HashMap<MapData, ServiceKey4, Service>,
    /// Real servers by id.
    pub servers: Array<MapData, Server>,
    /// Member lists.
    pub members: Array<MapData, u32>,
    /// What schedulers remember, by service id.
    pub schedulers: Array<MapData, SchedulerState>,
    /// Persistence templates.
    pub templates: Table<TemplateKey4, Template4>,
    /// Connections, packets and bytes by server id and CPU.
    pub statistics: PerCpuArray<MapData, Statistics>,
    /// Packets passed and dropped by reason and CPU.
    pub counters: PerCpuArray<MapData, u64>,
    /// Attached interfaces.
    pub interfaces: InterfaceMap,
    /// Neighbours in use.
    pub neighbours: NeighbourMap,
}

/// The maps that are pinned, by name.
pub(super) const NAMES: [&str; 10] = [
    "CONNECTIONS4",
    "COUNTERS",
    "INTERFACES",
    "MEMBERS",
    "NEIGHBOURS4",
    "SCHEDULERS",
    "SERVERS",
    "SERVICES4",
    "STATISTICS",
    "TEMPLATES4",
];

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            connections: Table::new(take(ebpf, "CONNECTIONS4")?, "CONNECTIONS4")?,
            services: hash(ebpf, "SERVICES4")?,
            servers: array(ebpf, "SERVERS")?,
            members: array(ebpf, "MEMBERS")?,
            schedulers: array(ebpf, "SCHEDULERS")?,
            templates: Table::new(take(ebpf, "TEMPLATES4")?, "TEMPLATES4")?,
            statistics: per_cpu(ebpf, "STATISTICS")?,
            counters: per_cpu(ebpf, "COUNTERS")?,
            interfaces: hash(ebpf, "INTERFACES")?,
            neighbours: hash(ebpf, "NEIGHBOURS4")?,
        })
    }
}

fn take(ebpf: &mut Ebpf, map: &'static str) -> Result<Map, Error> {
    ebpf.take_map(map).ok_or_else(|| Error::Object(format!("it has no map {map}")))
}

fn hash<K: Pod, V: Pod>(
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<HashMap<MapData, K, V>, Error> {
    take(ebpf, map)?.try_into().map_err(|source: MapError| Error::Map { map, source })
}

fn array<V: Pod>(ebpf: &mut Ebpf, map: &'static str) -> Result<Array<MapData, V>, Error> {
    take(ebpf, map)?.try_into().map_err(|source: MapError| Error::Map { map, source })
}

fn per_cpu<V: Pod>(ebpf: &mut Ebpf, map: &'static str) -> Result<PerCpuArray<MapData, V>, Error> {
    take(ebpf, map)?.try_into().map_err(|source: MapError| Error::Map { map, source })
}
