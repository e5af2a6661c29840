//! From the maps back to the ledger: whoever wrote them may have been killed, in the middle of a change too.
//!
//! Each fact lies in one map, in one entry, and the entries are written in an order (`control/steps.rs`) that leaves
//! something sensible wherever it stops:
//!
//! - A server is in its service as soon as `SERVERS` says that it is available; until then, or from when it is no longer, it
//!   has been removed, if its place is held.
//! - A service is what its entry says. Are its lists others than its servers ask for, they are made anew with the next
//!   change, whatever that is about (`Known::settled`); and where its walk is can be told from the lists in use.
//! - Lists that are in both halves of their maps stay where they are until the next change, which finds room beside them.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use lvs_common::abi::{Identity, LOCAL_PLACES, MEMBERS_EACH, Server, Service, server_flags};

use super::{
    super::{
        lists::{self, Layout, Member},
        room::Range,
        tables::{self, Tables},
    },
    Gone, Known, Ledger, Lists, Position, Sizes, Torn, slice,
};
use crate::config::{Family, Protocol, Scheduler, Target};

/// The servers of a service.
#[derive(Debug, Default)]
struct Servers {
    members: Vec<Member>,
    gone: Vec<Gone>,
}

impl Ledger {
    /// What these contents of the maps amount to, which have these sizes.
    #[must_use]
    pub fn adopt(tables: Tables, sizes: Sizes) -> Self {
        let values = || {
            let four = tables.services4.iter().map(|(_, service)| *service);
            four.chain(tables.services6.iter().map(|(_, service)| *service))
        };
        let second = second(&tables, values(), sizes);
        let mut entries: HashMap<u32, Vec<Service>> = HashMap::new();
        for value in values() {
            let of_service = entries.entry(value.id).or_default();
            if !of_service.contains(&value) {
                of_service.push(value);
            }
        }
        let mut servers = servers(&tables);
        let mut services = HashMap::new();
        let mut torn = Torn::default();
        for (id, identity) in &tables.identities {
            let Some(key) = key(identity) else { continue };
            let of_service = entries.get(id).map(Vec::as_slice).unwrap_or_default();
            let servers = servers.remove(id).unwrap_or_default();
            if of_service.is_empty() && servers.members.is_empty() && servers.gone.is_empty() {
                continue;
            }
            if of_service.iter().any(|entry| u32::from(entry.scheduler) != identity.scheduler) {
                torn.destinations.insert(*id);
            }
            // Of two in the middle of a change, the one that lies where the lists are moving.
            let of_half = |entry: &&Service| {
                Range::half(sizes.members, second).holds(of(&tables, entry).elements)
            };
            let entry = of_service.iter().find(of_half).or_else(|| of_service.first());
            let known = known(&tables, *id, identity, servers, entry, of_service.len());
            services.insert(key, known);
        }
        let states: BTreeSet<u32> = values().map(|value| value.state).collect();
        let live: BTreeSet<u32> = services.values().filter_map(|known| known.state).collect();
        torn.states = states.difference(&live).copied().collect();
        torn.scattered = scattered(&tables, values(), sizes, second);
        let mut locals = HashMap::new();
        for value in values() {
            let range = Range { first: value.first_local, length: value.locals };
            let addresses = slice(&tables.locals, range).to_vec();
            let better = Range::half(LOCAL_PLACES, second).holds(range);
            if !addresses.is_empty() && (better || !locals.contains_key(&addresses)) {
                locals.insert(addresses, range);
            }
        }
        let next_service = tables.identities.keys().map(|id| id.wrapping_add(1)).max();
        Self {
            services,
            locals,
            next_service: next_service.unwrap_or_default().max(tables.head.next_service),
            next_server: tables.head.next_server,
            sizes,
            second,
            torn,
            tables,
        }
    }
}

/// All servers, by the number of their service.
fn servers(tables: &Tables) -> HashMap<u32, Servers> {
    let mut all: HashMap<u32, Servers> = HashMap::new();
    for (id, (server, place)) in (0..).zip(tables.servers.iter().zip(&tables.places)) {
        let Server { port, weight, .. } = *server;
        let address = address(server.address, server.flags & server_flags::IPV6 != 0);
        let servers = all.entry(server.service);
        if server.flags & server_flags::AVAILABLE != 0 {
            let last_weight = if weight > 0 { weight } else { place.last_weight };
            let order = place.order;
            servers.or_default().members.push(Member {
                id,
                weight,
                last_weight,
                address,
                port,
                order,
            });
        } else if place.held != 0 {
            let since = Duration::from_secs(place.removed.into());
            servers.or_default().gone.push(Gone { id, address, port, since });
        }
    }
    for servers in all.values_mut() {
        servers.members.sort_by_key(|member| Reverse(member.order));
    }
    all
}

fn known(
    tables: &Tables,
    id: u32,
    identity: &Identity,
    servers: Servers,
    entry: Option<&Service>,
    entries: usize,
) -> Known {
    let Servers { members, gone } = servers;
    let number = entry.map_or(identity.scheduler, |entry| entry.scheduler.into());
    let scheduler = u8::try_from(number).ok().and_then(lists::scheduler);
    let scheduler = scheduler.unwrap_or(Scheduler::WeightedLeastConnections);
    let lists = entry.map_or_else(Lists::default, |entry| of(tables, entry));
    let state = entry.map(|entry| entry.state);
    let state_now = state.and_then(|state| tables.states.get(state as usize));
    let position = state_now.map_or_else(Position::default, Position::of);
    let settled = match entry {
        None => members.is_empty(),
        Some(_) => entries == 1 && fits(tables, &lists, &Layout::of(scheduler, &members)),
    };
    let granularity = identity.granularity;
    Known { id, state, scheduler, granularity, members, gone, lists, position, settled }
}

/// Where the lists of a service are.
fn of(tables: &Tables, entry: &Service) -> Lists {
    let Service { first_member, members, scheduler, turns, .. } = *entry;
    let each = MEMBERS_EACH as u32;
    let mut runs = Range::default();
    let elements = if scheduler == lists::number(Scheduler::WeightedRoundRobin) {
        if members > 0 {
            runs = Range { first: first_member, length: members };
        }
        let lists = slice(&tables.runs, runs);
        let length = lists.iter().map(|run| run.members.div_ceil(each)).sum();
        let first = lists.first().map_or(0, |run| run.first_member / each);
        Range { first, length }
    } else {
        Range { first: first_member / each, length: members.div_ceil(each) }
    };
    Lists { elements, runs, scheduler, first_member, members, turns }
}

/// Whether these lists are what is asked for.
fn fits(tables: &Tables, lists: &Lists, layout: &Layout) -> bool {
    let elements: Vec<_> = layout.elements().collect();
    let runs = slice(&tables.runs, lists.runs);
    layout.scheduler == lists.scheduler
        && slice(&tables.members, lists.elements) == elements
        && layout.turns == lists.turns
        && runs.iter().map(|run| run.turn).eq(layout.runs.iter().copied())
        && (layout.scheduler == lists::number(Scheduler::WeightedRoundRobin)
            || layout.lists.iter().map(Vec::len).sum::<usize>() == lists.members as usize)
}

/// The places of `MEMBERS`, `RUNS` and `LOCALS` that entries use.
fn used(tables: &Tables, values: impl Iterator<Item = Service>) -> [Vec<Range>; 3] {
    let mut used = [Vec::new(), Vec::new(), Vec::new()];
    let [elements, runs, locals] = &mut used;
    for value in values {
        let lists = of(tables, &value);
        elements.push(lists.elements);
        runs.push(lists.runs);
        locals.push(Range { first: value.first_local, length: value.locals });
    }
    used
}

/// Whether all that is used is in one half.
fn together(used: &[Vec<Range>; 3], sizes: Sizes, second: bool) -> bool {
    sizes.places().into_iter().zip(used).all(|(places, used)| {
        let half = Range::half(places, second);
        used.iter().all(|range| half.holds(*range))
    })
}

/// In which half the lists are; if they are in both, where they were moving.
fn second(tables: &Tables, values: impl Iterator<Item = Service>, sizes: Sizes) -> bool {
    let moving = tables.head.half != 0;
    let used = used(tables, values);
    if together(&used, sizes, moving) { moving } else { moving != together(&used, sizes, !moving) }
}

fn scattered(
    tables: &Tables,
    values: impl Iterator<Item = Service>,
    sizes: Sizes,
    second: bool,
) -> Option<[Vec<Range>; 3]> {
    let used = used(tables, values);
    (!together(&used, sizes, second)).then_some(used)
}

/// Which service it is; `None` if it cannot be one.
fn key(identity: &Identity) -> Option<(Target, Option<Protocol>, Family)> {
    let family = if identity.version == 4 { Family::Ipv4 } else { Family::Ipv6 };
    if identity.mark != 0 {
        return Some((Target::Mark(identity.mark), None, family));
    }
    let protocol =
        Protocol::ALL.into_iter().find(|one| tables::number(*one) == identity.protocol)?;
    let address = address(identity.address, family == Family::Ipv6);
    Some((Target::Address { address, port: identity.port }, Some(protocol), family))
}

fn address(wide: [u8; 16], ipv6: bool) -> IpAddr {
    let [a, b, c, d, ..] = wide;
    if ipv6 { Ipv6Addr::from(wide).into() } else { Ipv4Addr::new(a, b, c, d).into() }
}
