//! From a change to single writes into maps, in an order that leaves something sensible wherever it stops: the controller
//! may be killed between any two of them, and packets come all the time.
//!
//! Additions come first, so that no packet finds a service whose servers or lists are not there, and removals last. A
//! service changes by the one write of its entry.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use lvs_common::abi::{
    Identity, LedgerHead, MEMBERS_EACH, Place, Run, SchedulerState, Server, Service, ServiceKey,
    Settings, V4, V6, server_flags,
};

use super::{ledger::Change, tables::Tables};

/// One write.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Has a server in a new place begin with no connections and no counts.
    Clear(u32),
    /// `LEDGER`.
    Head(LedgerHead),
    /// An entry of `IDENTITIES`, or its end.
    Identity(u32, Option<Identity>),
    /// An element of `PLACES`.
    Place(u32, Place),
    /// An element of `PORTS`.
    Port(u32, u16),
    /// `SETTINGS`.
    Settings(Settings),
    /// `FILTER`.
    Filter(Vec<u64>),
    /// An element of `SERVERS`.
    Server(u32, Server),
    /// An element of `MEMBERS`.
    Members(u32, [u32; MEMBERS_EACH]),
    /// An element of `RUNS`.
    Run(u32, Run),
    /// An element of `LOCALS`.
    Local(u32, [u8; 16]),
    /// An element of `SCHEDULERS`.
    State(u32, SchedulerState),
    /// An entry of `SERVICES4`, or its end.
    Service4(ServiceKey<V4>, Option<Service>),
    /// An entry of `SERVICES6`, or its end.
    Service6(ServiceKey<V6>, Option<Service>),
    /// Removes all templates of these services.
    Templates(HashSet<u32>),
    /// Removes what is remembered of destinations of these services.
    Destinations(HashSet<u32>),
}

/// Takes, one after the other, all the steps that lead from what the maps hold to what they are to hold; the first that fails
/// is the last.
pub fn walk<E>(
    change: &Change,
    old: &Tables,
    take: &mut impl FnMut(Step) -> Result<(), E>,
) -> Result<(), E> {
    let new = &change.ledger.tables;
    change.servers.iter().copied().map(Step::Clear).try_for_each(&mut *take)?;
    if new.head != old.head {
        take(Step::Head(new.head))?;
    }
    // Until what was found by the old ones has been forgotten, they stay.
    let (known, fresh): (Vec<_>, Vec<_>) =
        sorted(&new.identities).into_iter().partition(|(id, _)| old.identities.contains_key(id));
    fresh
        .into_iter()
        .map(|(id, identity)| Step::Identity(id, Some(identity)))
        .try_for_each(&mut *take)?;
    let changed: Vec<(u32, Place)> = differing(&new.places, &old.places).collect();
    let places = |wanted: fn(&Place) -> bool| {
        let of = changed.iter().copied().filter(move |(_, place)| wanted(place));
        of.map(|(id, place)| Step::Place(id, place))
    };
    places(|place| place.held != 0 && place.removed == 0).try_for_each(&mut *take)?;
    differing(&new.ports, &old.ports)
        .map(|(place, port)| Step::Port(place, port))
        .try_for_each(&mut *take)?;
    // What both need: a packet may meet the old services for a moment.
    let flags = new.settings.flags | old.settings.flags;
    let between = Settings { flags, ..new.settings };
    if between != old.settings {
        take(Step::Settings(between))?;
    }
    if new.filter != old.filter {
        // It never loses a bit.
        take(Step::Filter(new.filter.clone()))?;
    }
    let servers = |available: bool| {
        let is = move |(_, server): &(u32, Server)| {
            (server.flags & server_flags::AVAILABLE != 0) == available
        };
        let of = differing(&new.servers, &old.servers).filter(is);
        of.map(|(id, server)| Step::Server(id, server))
    };
    servers(true).try_for_each(&mut *take)?;
    differing(&new.members, &old.members)
        .map(|(at, ids)| Step::Members(at, ids))
        .try_for_each(&mut *take)?;
    differing(&new.runs, &old.runs).map(|(at, run)| Step::Run(at, run)).try_for_each(&mut *take)?;
    differing(&new.locals, &old.locals)
        .map(|(at, local)| Step::Local(at, local))
        .try_for_each(&mut *take)?;
    let state = |place: &u32| Some(Step::State(*place, *new.states.get(*place as usize)?));
    change.states.iter().filter_map(state).try_for_each(&mut *take)?;
    let (services4, services6) = (last(&new.services4), last(&new.services6));
    let (were4, were6) = (last(&old.services4), last(&old.services6));
    written(&services4, &were4)
        .map(|(key, value)| Step::Service4(key, Some(value)))
        .try_for_each(&mut *take)?;
    written(&services6, &were6)
        .map(|(key, value)| Step::Service6(key, Some(value)))
        .try_for_each(&mut *take)?;

    if !change.templates.is_empty() {
        take(Step::Templates(change.templates.clone()))?;
    }
    if !change.destinations.is_empty() {
        take(Step::Destinations(change.destinations.clone()))?;
    }
    known
        .into_iter()
        .filter(|(id, identity)| old.identities.get(id) != Some(identity))
        .map(|(id, identity)| Step::Identity(id, Some(identity)))
        .try_for_each(&mut *take)?;
    ended(&were4, &services4).map(|key| Step::Service4(key, None)).try_for_each(&mut *take)?;
    ended(&were6, &services6).map(|key| Step::Service6(key, None)).try_for_each(&mut *take)?;
    places(|place| place.held != 0 && place.removed != 0).try_for_each(&mut *take)?;
    servers(false).try_for_each(&mut *take)?;
    places(|place| place.held == 0).try_for_each(&mut *take)?;
    sorted(&old.identities)
        .into_iter()
        .filter(|(id, _)| !new.identities.contains_key(id))
        .map(|(id, _)| Step::Identity(id, None))
        .try_for_each(&mut *take)?;
    if between != new.settings {
        take(Step::Settings(new.settings))?;
    }
    Ok(())
}

/// In the order of their numbers, so that two runs do the same.
fn sorted(identities: &HashMap<u32, Identity>) -> Vec<(u32, Identity)> {
    let mut all: Vec<_> = identities.iter().map(|(id, identity)| (*id, *identity)).collect();
    all.sort_unstable_by_key(|(id, _)| *id);
    all
}

/// What differs, with its places.
fn differing<'t, T: Copy + PartialEq>(
    new: &'t [T],
    old: &'t [T],
) -> impl Iterator<Item = (u32, T)> + 't {
    let differs = |(place, value): &(u32, T)| old.get(*place as usize) != Some(value);
    (0..).zip(new.iter().copied()).filter(differs)
}

/// The last value of each key.
fn last<K: Copy + Eq + Hash>(services: &[(K, Service)]) -> HashMap<K, Service> {
    services.iter().copied().collect()
}

fn written<'s, K: Copy + Eq + Hash>(
    new: &'s HashMap<K, Service>,
    old: &'s HashMap<K, Service>,
) -> impl Iterator<Item = (K, Service)> + 's {
    let written = new.iter().filter(|(key, service)| old.get(*key) != Some(*service));
    written.map(|(key, service)| (*key, *service))
}

fn ended<'s, K: Copy + Eq + Hash>(
    old: &'s HashMap<K, Service>,
    new: &'s HashMap<K, Service>,
) -> impl Iterator<Item = K> + 's {
    old.keys().filter(|key| !new.contains_key(*key)).copied()
}
