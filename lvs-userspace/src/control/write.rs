//! From a change to the maps: additions first, so that no packet finds a service whose servers or lists are not there,
//! and removals last. A service changes by the one update of its entry.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    time::Instant,
};

use aya::{
    Pod,
    maps::{Array, MapData, MapError, PerCpuValues},
    util::nr_cpus,
};
use lvs_common::abi::{
    FILTER_WORDS, Load, SchedulerState, Server, Service, ServiceKey, Settings, Statistics,
    Template, server_flags,
};

use super::{
    ledger::{Change, Ledger, Seen},
    tables::Tables,
};
use crate::bpf::{Configured, Error, Table};

/// How far the first ports of two servers are apart.
const PORT_STRIDE: u64 = 10_007;

/// Makes the change. `old` is what the maps hold; `None` if that is not certain, and all is written then.
pub fn apply(
    change: &Change,
    old: Option<&Tables>,
    maps: &mut Configured<'_>,
) -> Result<(), Error> {
    let new = &change.ledger.tables;
    let nothing = Tables::default();
    let was = old.unwrap_or(&nothing);
    let certain = old.is_some();
    clear(&change.servers, maps)?;
    write(maps.ports, "PORTS", &new.ports, certain.then_some(&was.ports))?;
    // What both need: a packet may meet the old services for a moment.
    let flags = new.settings.flags | was.settings.flags;
    set(maps.settings, "SETTINGS", 0, &Settings { flags, ..new.settings })?;
    // It never loses a bit.
    set_filter(&new.filter, maps)?;
    let removed = |server: &Server| server.flags & server_flags::AVAILABLE == 0;
    write_servers(new, was, certain, maps, |server| !removed(server))?;
    write(maps.members, "MEMBERS", &new.members, certain.then_some(&was.members))?;
    write(maps.runs, "RUNS", &new.runs, certain.then_some(&was.runs))?;
    write(maps.locals, "LOCALS", &new.locals, certain.then_some(&was.locals))?;
    for place in &change.states {
        let state = new.states.get(*place as usize).copied().unwrap_or(SchedulerState::at(0));
        set(maps.schedulers, "SCHEDULERS", *place, &state)?;
    }

    let (services4, services6) = (last(&new.services4), last(&new.services6));
    let (were4, were6) = (last(&was.services4), last(&was.services6));
    write_services(maps.services4, "SERVICES4", &services4, &were4)?;
    write_services(maps.services6, "SERVICES6", &services6, &were6)?;
    for (id, entry) in
        new.catalogue.iter().filter(|(id, entry)| was.catalogue.get(id) != Some(*entry))
    {
        let written = maps.catalogue.insert(id, entry, 0);
        written.map_err(|source| Error::Map { map: "CATALOGUE", source })?;
    }

    forget_templates(maps.templates4, &change.templates, |key| key.service)?;
    forget_templates(maps.templates6, &change.templates, |key| key.service)?;
    forget_destinations(&change.destinations, maps);
    remove_services(maps.services4, "SERVICES4", &services4)?;
    remove_services(maps.services6, "SERVICES6", &services6)?;
    let listed: Vec<u32> = maps.catalogue.keys().filter_map(Result::ok).collect();
    for id in listed.iter().filter(|id| !new.catalogue.contains_key(id)) {
        let removed = maps.catalogue.remove(id);
        removed.map_err(|source| Error::Map { map: "CATALOGUE", source })?;
    }
    write_servers(new, was, certain, maps, removed)?;
    set(maps.settings, "SETTINGS", 0, &new.settings)
}

/// What the data path has done: what the schedulers remember, and whether anything refers to servers that were removed.
pub fn look(ledger: &Ledger, maps: &Configured<'_>) -> Result<Seen, Error> {
    let now = Instant::now();
    let mut states = HashMap::new();
    for place in ledger.states() {
        let state = maps.schedulers.get(&place, 0);
        states.insert(place, state.map_err(|source| Error::Map { map: "SCHEDULERS", source })?);
    }
    let mut unused = ledger.gone(now);
    if !unused.is_empty() {
        let mut used = HashSet::new();
        for id in &unused {
            let load = maps.loads.get(&u32::from(*id), 0);
            let load = load.map_err(|source| Error::Map { map: "LOADS", source })?;
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
fn referred<K: Pod>(table: &Table<K, Template>, used: &mut HashSet<u16>) -> Result<(), Error> {
    let mut sweep = table.sweep();
    loop {
        let batch = sweep.next(table)?;
        if batch.is_empty() {
            return Ok(());
        }
        used.extend(batch.iter().map(|(_, template)| template.server as u16));
    }
}

/// Has servers in new places begin with nothing. Each begins with another one of full NAT's ports: it may be one of
/// another service too, which would ask for the same ports in the same order.
fn clear(servers: &[u16], maps: &mut Configured<'_>) -> Result<(), Error> {
    let cpus =
        nr_cpus().map_err(|(_, source)| Error::Map { map: "STATISTICS", source: source.into() })?;
    for id in servers.iter().copied().map(u32::from) {
        let load = Load { port_cursor: u64::from(id) * PORT_STRIDE, ..Load::default() };
        set(maps.loads, "LOADS", id, &load)?;
        let none = PerCpuValues::try_from(vec![Statistics::default(); cpus]);
        let result = none.map_err(MapError::from).and_then(|none| maps.statistics.set(id, none, 0));
        result.map_err(|source| Error::Map { map: "STATISTICS", source })?;
    }
    Ok(())
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

/// Writes what differs.
fn write<T: Pod + PartialEq>(
    array: &mut Array<MapData, T>,
    map: &'static str,
    new: &[T],
    was: Option<&Vec<T>>,
) -> Result<(), Error> {
    for (place, value) in (0_u32..).zip(new) {
        if was.and_then(|was| was.get(place as usize)) != Some(value) {
            set(array, map, place, value)?;
        }
    }
    Ok(())
}

fn write_servers(
    new: &Tables,
    was: &Tables,
    certain: bool,
    maps: &mut Configured<'_>,
    wanted: impl Fn(&Server) -> bool,
) -> Result<(), Error> {
    for (id, server) in (0_u32..).zip(&new.servers) {
        let same = certain && was.servers.get(id as usize) == Some(server);
        if !same && wanted(server) {
            set(maps.servers, "SERVERS", id, server)?;
        }
    }
    Ok(())
}

fn set_filter(words: &[u64], maps: &mut Configured<'_>) -> Result<(), Error> {
    let words: &[u64; FILTER_WORDS] =
        words.try_into().map_err(|_| Error::Object("its filter has another size".to_owned()))?;
    set(maps.filter, "FILTER", 0, words)
}

/// The last value of each key.
fn last<K: Copy + Eq + Hash>(services: &[(K, Service)]) -> HashMap<K, Service> {
    services.iter().copied().collect()
}

type ServiceMap<A> = aya::maps::HashMap<MapData, ServiceKey<A>, Service>;

fn write_services<A: Copy + Eq + Hash>(
    map: &mut ServiceMap<A>,
    name: &'static str,
    new: &HashMap<ServiceKey<A>, Service>,
    were: &HashMap<ServiceKey<A>, Service>,
) -> Result<(), Error>
where
    ServiceKey<A>: Pod,
{
    for (key, service) in new.iter().filter(|(key, service)| were.get(*key) != Some(*service)) {
        map.insert(key, service, 0).map_err(|source| Error::Map { map: name, source })?;
    }
    Ok(())
}

/// Removes all but these.
fn remove_services<A: Copy + Eq + Hash>(
    map: &mut ServiceMap<A>,
    name: &'static str,
    new: &HashMap<ServiceKey<A>, Service>,
) -> Result<(), Error>
where
    ServiceKey<A>: Pod,
{
    let keys: Result<Vec<_>, MapError> = map.keys().collect();
    let keys = keys.map_err(|source| Error::Map { map: name, source })?;
    for key in keys.iter().filter(|key| !new.contains_key(*key)) {
        map.remove(key).map_err(|source| Error::Map { map: name, source })?;
    }
    Ok(())
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
