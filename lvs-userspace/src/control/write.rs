//! Writing into the maps what a change asks for (`steps.rs`), and reading from them what a ledger is made from.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use aya::{
    Pod,
    maps::{Array, MapData, MapError, PerCpuValues},
    util::nr_cpus,
};
use lvs_common::abi::{
    FILTER_WORDS, Load, MEMBERS_EACH, Place, Run, Server, Service, Statistics, Template,
    scheduler::WEIGHTED_ROUND_ROBIN,
};
use nix::time::{ClockId, clock_gettime};

use super::{
    ledger::{Change, Ledger, Seen, Sizes},
    steps::{Step, walk},
    tables::Tables,
};
use crate::bpf::{BATCH, Configured, Elements, Error, Table};

/// How far the first ports of two servers are apart.
const PORT_STRIDE: u64 = 10_007;

/// Makes the change. `old` is what the maps hold.
pub fn apply(change: &Change, old: &Tables, maps: &mut Configured<'_>) -> Result<(), Error> {
    // Places behind those that were ever taken are still as they were made.
    let mut writer = Writer { maps, taken: old.head.places, batch: Batch::None };
    walk(change, old, &mut |step| writer.take(step))?;
    writer.flush()
}

/// Writes steps, of those for one and the same array as many together as a system call takes.
struct Writer<'w, 'm> {
    maps: &'w mut Configured<'m>,
    /// How many places of servers have ever been taken.
    taken: u32,
    batch: Batch,
}

/// Steps of one kind: places, and what is to be there.
enum Batch {
    None,
    Places(Vec<u32>, Vec<Place>),
    Servers(Vec<u32>, Vec<Server>),
    Loads(Vec<u32>, Vec<Load>),
    Members(Vec<u32>, Vec<[u32; MEMBERS_EACH]>),
    Runs(Vec<u32>, Vec<Run>),
}

impl Writer<'_, '_> {
    fn take(&mut self, step: Step) -> Result<(), Error> {
        /// Puts one more into a batch, another kind of which is written first.
        macro_rules! gather {
            ($kind:ident, $place:expr, $value:expr) => {{
                if !matches!(&self.batch, Batch::$kind(places, _) if places.len() < BATCH) {
                    self.flush()?;
                    self.batch = Batch::$kind(Vec::new(), Vec::new());
                }
                if let Batch::$kind(places, values) = &mut self.batch {
                    places.push($place);
                    values.push($value);
                }
                Ok(())
            }};
        }
        match step {
            Step::Clear(id) => {
                if id < self.taken {
                    clear(id, self.maps)?;
                }
                gather!(Loads, id, fresh_load(id))
            }
            Step::Place(id, place) => gather!(Places, id, place),
            Step::Server(id, server) => gather!(Servers, id, server),
            Step::Members(at, ids) => gather!(Members, at, ids),
            Step::Run(at, run) => gather!(Runs, at, run),
            step => {
                self.flush()?;
                write(step, self.maps)
            }
        }
    }

    /// Writes what was gathered.
    fn flush(&mut self) -> Result<(), Error> {
        match std::mem::replace(&mut self.batch, Batch::None) {
            Batch::None => Ok(()),
            Batch::Places(places, values) => self.maps.places.write(&places, &values),
            Batch::Servers(places, values) => self.maps.servers.write(&places, &values),
            Batch::Loads(places, values) => self.maps.loads.write(&places, &values),
            Batch::Members(places, values) => self.maps.members.write(&places, &values),
            Batch::Runs(places, values) => self.maps.runs.write(&places, &values),
        }
    }
}

/// Notes that the maps have been filled: from now on they can be adopted by who has the same layout.
pub fn seal(ledger: &mut Ledger, layout: u64, maps: &mut Configured<'_>) -> Result<(), Error> {
    ledger.tables.head.layout = layout;
    set(maps.ledger, "LEDGER", 0, &ledger.tables.head)
}

fn write(step: Step, maps: &mut Configured<'_>) -> Result<(), Error> {
    match step {
        Step::Clear(_) | Step::Place(..) | Step::Server(..) | Step::Members(..) | Step::Run(..) => {
            Ok(())
        }
        Step::Head(head) => set(maps.ledger, "LEDGER", 0, &head),
        Step::Identity(id, value) => put(maps.identities, "IDENTITIES", &id, value.as_ref()),
        Step::Port(at, port) => set(maps.ports, "PORTS", at, &port),
        Step::Settings(settings) => set(maps.settings, "SETTINGS", 0, &settings),
        Step::Filter(words) => set_filter(&words, maps),
        Step::Local(at, address) => set(maps.locals, "LOCALS", at, &address),
        Step::State(at, state) => set(maps.schedulers, "SCHEDULERS", at, &state),
        Step::Service4(key, value) => put(maps.services4, "SERVICES4", &key, value.as_ref()),
        Step::Service6(key, value) => put(maps.services6, "SERVICES6", &key, value.as_ref()),
        Step::Templates(services) => {
            forget_templates(maps.templates4, &services, |key| key.service)?;
            forget_templates(maps.templates6, &services, |key| key.service)
        }
        Step::Destinations(services) => {
            forget_destinations(&services, maps);
            Ok(())
        }
    }
}

/// What the maps hold, as far as anything refers to it.
pub fn dump(maps: &Configured<'_>) -> Result<Tables, Error> {
    let head = get(maps.ledger, "LEDGER", 0)?;
    let settings = get(maps.settings, "SETTINGS", 0)?;
    let services4 = entries(maps.services4, "SERVICES4")?;
    let services6 = entries(maps.services6, "SERVICES6")?;
    let mut tables = Tables {
        identities: entries(maps.identities, "IDENTITIES")?.into_iter().collect(),
        servers: maps.servers.read_some(0, head.places)?,
        places: maps.places.read_some(0, head.places)?,
        ports: first(maps.ports, "PORTS", settings.ports)?,
        filter: get(maps.filter, "FILTER", 0)?.to_vec(),
        settings,
        head,
        ..Tables::default()
    };
    let values: Vec<Service> = {
        let four = services4.iter().map(|(_, service)| *service);
        four.chain(services6.iter().map(|(_, service)| *service)).collect()
    };
    (tables.services4, tables.services6) = (services4, services6);
    let each = MEMBERS_EACH as u32;
    let mut seen = HashSet::new();
    for value in values {
        let Service { state, first_member, members, scheduler, first_local, locals, .. } = value;
        if !seen.insert((state, first_member, members, scheduler, first_local, locals)) {
            continue;
        }
        read(maps.schedulers, "SCHEDULERS", state, 1, super::ledger::NO_STATE, &mut tables.states)?;
        read(maps.locals, "LOCALS", first_local, locals, [0; 16], &mut tables.locals)?;
        if scheduler != WEIGHTED_ROUND_ROBIN {
            let (at, count) = (first_member / each, members.div_ceil(each));
            read_some(maps.members, at, count, [0; MEMBERS_EACH], &mut tables.members)?;
            continue;
        }
        let none = Run { turn: 0, first_member: 0, members: 0 };
        read_some(maps.runs, first_member, members, none, &mut tables.runs)?;
        let of_service = tables.runs.iter().skip(first_member as usize).take(members as usize);
        for run in of_service {
            let (at, count) = (run.first_member / each, run.members.div_ceil(each));
            read_some(maps.members, at, count, [0; MEMBERS_EACH], &mut tables.members)?;
        }
    }
    Ok(tables)
}

/// How large the maps are.
#[must_use]
pub fn sizes(maps: &Configured<'_>) -> Sizes {
    Sizes { members: maps.members.len(), servers: maps.servers.len() }
}

/// The time since the host was booted.
fn since_boot() -> Result<Duration, Error> {
    clock_gettime(ClockId::CLOCK_BOOTTIME)
        .map(Duration::from)
        .map_err(|errno| Error::Object(format!("the kernel does not tell the time: {errno}")))
}

/// What the data path has done: what the schedulers remember, and whether anything refers to servers that were removed.
pub fn look(ledger: &Ledger, maps: &Configured<'_>) -> Result<Seen, Error> {
    let now = since_boot()?;
    let mut states = HashMap::new();
    for place in ledger.states() {
        let state = maps.schedulers.get(&place, 0);
        states.insert(place, state.map_err(|source| Error::Map { map: "SCHEDULERS", source })?);
    }
    let mut unused = ledger.gone(now);
    if !unused.is_empty() {
        let mut used = HashSet::new();
        for id in &unused {
            let load = maps.loads.get(*id)?;
            if load.active != 0 || load.inactive != 0 {
                used.insert(*id);
            }
        }
        referred(maps.templates4, &mut used)?;
        referred(maps.templates6, &mut used)?;
        unused.retain(|id| !used.contains(id));
    }
    Ok(Seen { now, states, unused })
}

/// The servers that templates refer to.
fn referred<K: Pod>(table: &Table<K, Template>, used: &mut HashSet<u32>) -> Result<(), Error> {
    let mut sweep = table.sweep();
    loop {
        let batch = sweep.next(table)?;
        if batch.is_empty() {
            return Ok(());
        }
        used.extend(batch.iter().map(|(_, template)| template.server));
    }
}

/// What a server in a new place begins with: no connections, and another one of full NAT's ports than others. It may be one of
/// another service too, which would ask for the same ports in the same order.
fn fresh_load(id: u32) -> Load {
    Load { port_cursor: u64::from(id) * PORT_STRIDE, ..Load::default() }
}

/// Has a server in a place that was another's begin without counts.
fn clear(id: u32, maps: &mut Configured<'_>) -> Result<(), Error> {
    let cpus =
        nr_cpus().map_err(|(_, source)| Error::Map { map: "STATISTICS", source: source.into() })?;
    let none = PerCpuValues::try_from(vec![Statistics::default(); cpus]);
    let result = none.map_err(MapError::from).and_then(|none| maps.statistics.set(id, none, 0));
    result.map_err(|source| Error::Map { map: "STATISTICS", source })
}

/// Has the counts of a server begin at zero. A CPU that is adding to a count while it is written may put the old one back,
/// so that it is looked at again.
pub(super) fn zero(server: u32, maps: &mut Configured<'_>) -> Result<(), Error> {
    const TRIES: usize = 4;
    let failed = |source| Error::Map { map: "STATISTICS", source };
    let fields = |counts: &Statistics| {
        [
            counts.connections,
            counts.in_packets,
            counts.in_bytes,
            counts.out_packets,
            counts.out_bytes,
        ]
    };
    let before = maps.statistics.get(&server, 0).map_err(failed)?;
    if before.iter().all(|counts| *counts == Statistics::default()) {
        return Ok(());
    }
    for _ in 0..TRIES {
        let none = PerCpuValues::try_from(vec![Statistics::default(); before.len()]);
        let none = none.map_err(|error| failed(error.into()))?;
        maps.statistics.set(server, none, 0).map_err(failed)?;
        let after = maps.statistics.get(&server, 0).map_err(failed)?;
        let put_back = before.iter().zip(after.iter()).any(|(before, after)| {
            fields(before)
                .into_iter()
                .zip(fields(after))
                .any(|(before, after)| before != 0 && after >= before)
        });
        if !put_back {
            break;
        }
    }
    Ok(())
}

fn set<T: Pod>(
    array: &mut Array<MapData, T>,
    map: &'static str,
    place: u32,
    value: &T,
) -> Result<(), Error> {
    array.set(place, value, 0).map_err(|source| Error::Map { map, source })
}

fn get<T: Pod>(array: &Array<MapData, T>, map: &'static str, place: u32) -> Result<T, Error> {
    array.get(&place, 0).map_err(|source| Error::Map { map, source })
}

/// The first so many elements.
fn first<T: Pod>(
    array: &Array<MapData, T>,
    map: &'static str,
    count: u32,
) -> Result<Vec<T>, Error> {
    (0..count).map(|place| get(array, map, place)).collect()
}

/// Reads elements into their places.
fn read<T: Pod>(
    array: &Array<MapData, T>,
    map: &'static str,
    from: u32,
    count: u32,
    none: T,
    into: &mut Vec<T>,
) -> Result<(), Error> {
    for place in from..from.saturating_add(count).min(array.len()) {
        let value = get(array, map, place)?;
        super::ledger::set(into, place as usize, none, value);
    }
    Ok(())
}

/// The same, many at a time.
fn read_some<T: Pod>(
    array: &Elements<T>,
    from: u32,
    count: u32,
    none: T,
    into: &mut Vec<T>,
) -> Result<(), Error> {
    for (place, value) in (from as usize..).zip(array.read_some(from, count)?) {
        super::ledger::set(into, place, none, value);
    }
    Ok(())
}

/// Sets or removes an entry.
fn put<K: Pod, V: Pod>(
    table: &mut aya::maps::HashMap<MapData, K, V>,
    map: &'static str,
    key: &K,
    value: Option<&V>,
) -> Result<(), Error> {
    let result = match value {
        Some(value) => table.insert(key, value, 0),
        None => table.remove(key),
    };
    match result {
        Err(MapError::KeyNotFound) => Ok(()),
        result => result.map_err(|source| Error::Map { map, source }),
    }
}

/// All entries.
fn entries<K: Pod, V: Pod>(
    table: &aya::maps::HashMap<MapData, K, V>,
    map: &'static str,
) -> Result<Vec<(K, V)>, Error> {
    let entries: Result<_, MapError> = table.iter().collect();
    entries.map_err(|source| Error::Map { map, source })
}

fn set_filter(words: &[u64], maps: &mut Configured<'_>) -> Result<(), Error> {
    let words: &[u64; FILTER_WORDS] =
        words.try_into().map_err(|_| Error::Object("its filter has another size".to_owned()))?;
    set(maps.filter, "FILTER", 0, words)
}

fn forget_templates<K: Pod>(
    table: &Table<K, Template>,
    services: &HashSet<u32>,
    service: impl Fn(&K) -> u32,
) -> Result<(), Error> {
    if services.is_empty() {
        return Ok(());
    }
    let mut sweep = table.sweep();
    loop {
        let batch = sweep.next(table)?;
        if batch.is_empty() {
            return Ok(());
        }
        for (key, _) in batch.iter().filter(|(key, _)| services.contains(&service(key))) {
            table.take(key)?;
        }
    }
}

fn forget_destinations(services: &HashSet<u32>, maps: &mut Configured<'_>) {
    if services.is_empty() {
        return;
    }
    let keys: Vec<_> = maps.destinations.keys().filter_map(Result::ok).collect();
    for key in keys.iter().filter(|key| services.contains(&key.service)) {
        // The least used ones go by themselves.
        let _gone = maps.destinations.remove(key);
    }
}
