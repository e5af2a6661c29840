//! Typed handles on the maps, by the names that they have in the object.

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray},
};
use lvs_common::abi::{
    Destination, DestinationKey, FILTER_WORDS, Flow, Identity, Interface, LedgerHead, Load,
    MEMBERS_EACH, Neighbour, Place, Run, SchedulerState, Server, Service, ServiceKey, Settings,
    Statistics, Template, TemplateKey, Tuple, V4, V6,
};

use super::{Elements, Error, Table};

/// The handle of `INTERFACES`.
pub type InterfaceMap = HashMap<MapData, u32, Interface>;

/// The handle of `NEIGHBOURS4` or `NEIGHBOURS6`.
pub type NeighbourMap<A> = HashMap<MapData, Neighbour<A>, u32>;

/// The maps of one address family.
#[derive(Debug)]
pub struct FamilyMaps<A>
where
    Tuple<A>: Pod,
    Flow<A>: Pod,
    ServiceKey<A>: Pod,
    TemplateKey<A>: Pod,
    Neighbour<A>: Pod,
{
    /// Connections, two entries each.
    pub connections: Table<Tuple<A>, Flow<A>>,
    /// Virtual services.
    pub services: HashMap<MapData, ServiceKey<A>, Service>,
    /// Persistence templates.
    pub templates: Table<TemplateKey<A>, Template>,
    /// Neighbours in use.
    pub neighbours: NeighbourMap<A>,
}

/// The maps of one data plane.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Maps {
    /// Those for IPv4.
    pub four: FamilyMaps<V4>,
    /// Those for IPv6.
    pub six: FamilyMaps<V6>,
    /// What listings show of the services, by id.
    /// Real servers by id.
    pub servers: Elements<Server>,
    /// Active and inactive connections by server id.
    pub loads: Elements<Load>,
    /// Member lists.
    pub members: Elements<[u32; MEMBERS_EACH]>,
    /// Parts of wrr's rounds.
    pub runs: Elements<Run>,
    /// Local addresses of full NAT.
    pub locals: Array<MapData, [u8; 16]>,
    /// Ports of full NAT.
    pub ports: Array<MapData, u16>,
    /// What schedulers remember.
    pub schedulers: Array<MapData, SchedulerState>,
    /// What lblc and lblcr remember of destinations.
    pub destinations: HashMap<MapData, DestinationKey, Destination>,
    /// What holds for all services.
    pub settings: Array<MapData, Settings>,
    /// The filter of addresses and ports.
    pub filter: Array<MapData, [u64; FILTER_WORDS]>,
    /// Which service has which number.
    pub identities: HashMap<MapData, u32, Identity>,
    /// Who has which place among the servers.
    pub places: Elements<Place>,
    /// What else the controller has to find again.
    pub ledger: Array<MapData, LedgerHead>,
    /// Connections, packets and bytes by server id and CPU.
    pub statistics: PerCpuArray<MapData, Statistics>,
    /// Packets passed and dropped by reason and CPU.
    pub counters: PerCpuArray<MapData, u64>,
    /// Attached interfaces.
    pub interfaces: InterfaceMap,
}

/// The maps that are written when the configuration changes, while others are watched.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Configured<'m> {
    /// `SERVICES4`.
    pub services4: &'m mut HashMap<MapData, ServiceKey<V4>, Service>,
    /// `SERVICES6`.
    pub services6: &'m mut HashMap<MapData, ServiceKey<V6>, Service>,
    /// `TEMPLATES4`.
    pub templates4: &'m Table<TemplateKey<V4>, Template>,
    /// `TEMPLATES6`.
    pub templates6: &'m Table<TemplateKey<V6>, Template>,
    /// `SERVERS`.
    pub servers: &'m mut Elements<Server>,
    /// `LOADS`.
    pub loads: &'m mut Elements<Load>,
    /// `STATISTICS`.
    pub statistics: &'m mut PerCpuArray<MapData, Statistics>,
    /// `MEMBERS`.
    pub members: &'m mut Elements<[u32; MEMBERS_EACH]>,
    /// `RUNS`.
    pub runs: &'m mut Elements<Run>,
    /// `LOCALS`.
    pub locals: &'m mut Array<MapData, [u8; 16]>,
    /// `PORTS`.
    pub ports: &'m mut Array<MapData, u16>,
    /// `SCHEDULERS`.
    pub schedulers: &'m mut Array<MapData, SchedulerState>,
    /// `DESTINATIONS`.
    pub destinations: &'m mut HashMap<MapData, DestinationKey, Destination>,
    /// `SETTINGS`.
    pub settings: &'m mut Array<MapData, Settings>,
    /// `FILTER`.
    pub filter: &'m mut Array<MapData, [u64; FILTER_WORDS]>,
    /// `IDENTITIES`.
    pub identities: &'m mut HashMap<MapData, u32, Identity>,
    /// `PLACES`.
    pub places: &'m mut Elements<Place>,
    /// `LEDGER`.
    pub ledger: &'m mut Array<MapData, LedgerHead>,
}

/// The maps that are looked after all the time.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Watched<'m> {
    /// `CONNECTIONS4`.
    pub connections4: &'m Table<Tuple<V4>, Flow<V4>>,
    /// `CONNECTIONS6`.
    pub connections6: &'m Table<Tuple<V6>, Flow<V6>>,
    /// `TEMPLATES4`.
    pub templates4: &'m Table<TemplateKey<V4>, Template>,
    /// `TEMPLATES6`.
    pub templates6: &'m Table<TemplateKey<V6>, Template>,
    /// `NEIGHBOURS4`.
    pub neighbours4: &'m mut NeighbourMap<V4>,
    /// `NEIGHBOURS6`.
    pub neighbours6: &'m mut NeighbourMap<V6>,
    /// `COUNTERS`.
    pub counters: &'m PerCpuArray<MapData, u64>,
    /// `INTERFACES`.
    pub interfaces: &'m mut InterfaceMap,
}

/// The maps that are pinned, by name, and go from one set of programs to the next.
pub(super) const NAMES: [&str; 30] = [
    "CLOCK",
    "CONNECTIONS4",
    "CONNECTIONS6",
    "COUNTERS",
    "CURSORS",
    "DESTINATIONS",
    "FRAGMENTS4",
    "FRAGMENTS6",
    "HALF_OPEN4",
    "HALF_OPEN6",
    "IDENTITIES",
    "INTERFACES",
    "LEDGER",
    "LOADS",
    "LOCALS",
    "MEMBERS",
    "NEIGHBOURS4",
    "NEIGHBOURS6",
    "NOTES",
    "PLACES",
    "PORTS",
    "RUNS",
    "SCHEDULERS",
    "SERVERS",
    "SERVICES4",
    "SERVICES6",
    "SETTINGS",
    "STATISTICS",
    "TEMPLATES4",
    "TEMPLATES6",
];

/// The maps that each set of programs has for itself, by the names of their pins and in the object: the filter is the
/// object's variables. The kernel empties `STAGES` when nobody holds it but the programs themselves.
pub(super) const OF_PROGRAMS: [(&str, &str); 3] =
    [("FILTER", ".bss"), ("STAGES", "STAGES"), ("STAGES_TC", "STAGES_TC")];

impl Maps {
    /// Both at once.
    pub const fn split(&mut self) -> (Configured<'_>, Watched<'_>) {
        let configured = Configured {
            services4: &mut self.four.services,
            services6: &mut self.six.services,
            templates4: &self.four.templates,
            templates6: &self.six.templates,
            servers: &mut self.servers,
            loads: &mut self.loads,
            statistics: &mut self.statistics,
            members: &mut self.members,
            runs: &mut self.runs,
            locals: &mut self.locals,
            ports: &mut self.ports,
            schedulers: &mut self.schedulers,
            destinations: &mut self.destinations,
            settings: &mut self.settings,
            filter: &mut self.filter,
            identities: &mut self.identities,
            places: &mut self.places,
            ledger: &mut self.ledger,
        };
        let watched = Watched {
            connections4: &self.four.connections,
            connections6: &self.six.connections,
            templates4: &self.four.templates,
            templates6: &self.six.templates,
            neighbours4: &mut self.four.neighbours,
            neighbours6: &mut self.six.neighbours,
            counters: &self.counters,
            interfaces: &mut self.interfaces,
        };
        (configured, watched)
    }

    /// Takes the maps out of a loaded object.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        Ok(Self {
            four: FamilyMaps {
                connections: Table::new(take(ebpf, "CONNECTIONS4")?, "CONNECTIONS4")?,
                services: typed(ebpf, "SERVICES4")?,
                templates: Table::new(take(ebpf, "TEMPLATES4")?, "TEMPLATES4")?,
                neighbours: typed(ebpf, "NEIGHBOURS4")?,
            },
            six: FamilyMaps {
                connections: Table::new(take(ebpf, "CONNECTIONS6")?, "CONNECTIONS6")?,
                services: typed(ebpf, "SERVICES6")?,
                templates: Table::new(take(ebpf, "TEMPLATES6")?, "TEMPLATES6")?,
                neighbours: typed(ebpf, "NEIGHBOURS6")?,
            },
            servers: Elements::new(take(ebpf, "SERVERS")?, "SERVERS")?,
            loads: Elements::new(take(ebpf, "LOADS")?, "LOADS")?,
            members: Elements::new(take(ebpf, "MEMBERS")?, "MEMBERS")?,
            runs: Elements::new(take(ebpf, "RUNS")?, "RUNS")?,
            locals: typed(ebpf, "LOCALS")?,
            ports: typed(ebpf, "PORTS")?,
            schedulers: typed(ebpf, "SCHEDULERS")?,
            destinations: typed(ebpf, "DESTINATIONS")?,
            settings: typed(ebpf, "SETTINGS")?,
            filter: typed(ebpf, ".bss")?,
            identities: typed(ebpf, "IDENTITIES")?,
            places: Elements::new(take(ebpf, "PLACES")?, "PLACES")?,
            ledger: typed(ebpf, "LEDGER")?,
            statistics: typed(ebpf, "STATISTICS")?,
            counters: typed(ebpf, "COUNTERS")?,
            interfaces: typed(ebpf, "INTERFACES")?,
        })
    }
}

fn take(ebpf: &mut Ebpf, map: &'static str) -> Result<Map, Error> {
    ebpf.take_map(map).ok_or_else(|| Error::no_map(map))
}

/// A map as aya's handle of some type.
pub(super) fn typed<T: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    map: &'static str,
) -> Result<T, Error> {
    take(ebpf, map)?.try_into().map_err(|source| Error::Map { map, source })
}
