//! The next ledger in the making: the edits that lead to what a configuration asks for, and the room for what is new.

mod place;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use lvs_common::abi::{
    Identity, LedgerHead, MAX_SERVERS, MAX_STATES, Place, SchedulerState, Server, Service,
    identity_flags, server_flags,
};
use thiserror::Error;

use super::{
    super::{
        lists::{self, Layout, Limit, Member},
        room::{Room, Slots},
        tables::{self, Marked, Tables},
    },
    Change, Gone, Known, Ledger, Lists, Position, Seen, Sizes, Torn,
};
use crate::config::{RealServer, Scheduler, Target, VirtualServer};

/// Why a ledger cannot be made.
#[derive(Debug, Error)]
pub(super) enum Failure {
    /// A list has changed, so that all have to move to the other halves.
    #[error("lists have to move")]
    Move,
    /// Something does not fit.
    #[error("{0}")]
    NoRoom(String),
}

/// A ledger in the making.
pub(super) struct Next<'l> {
    old: &'l Ledger,
    seen: &'l Seen,
    change: Change,
    /// Room for new lists in `MEMBERS`, `RUNS` and `LOCALS`, if there may be any.
    rooms: Option<[Room; 3]>,
    states: Slots,
    servers: Slots,
    /// What there is, by number: the entries and flags of [`Identity`].
    present: HashMap<u32, (Service, u32)>,
}

impl<'l> Next<'l> {
    /// With nothing but what stays whatever the configuration says.
    pub(super) fn after(old: &'l Ledger, mut tables: Tables, seen: &'l Seen, moves: bool) -> Self {
        let known = || old.services.values();
        // All lists move to the other halves, unless they are in both: then those that have to find room beside them.
        let second = old.second != (moves && old.torn.scattered.is_none());
        // Those that go are written as removed.
        tables.servers.clone_from(&old.tables.servers);
        tables.members.clone_from(&old.tables.members);
        tables.runs.clone_from(&old.tables.runs);
        tables.locals.clone_from(&old.tables.locals);
        tables.states.clone_from(&old.tables.states);
        for server in &mut tables.servers {
            server.flags &= !server_flags::AVAILABLE;
        }
        // Connections may have come by a key that no service has any more, and from a server that has gone. A bit too much
        // costs a look-up; the filter is made anew at the next start.
        tables.filter.clone_from(&old.tables.filter);
        let ledger = Ledger {
            tables,
            services: HashMap::new(),
            locals: HashMap::new(),
            next_service: old.next_service,
            next_server: old.next_server,
            sizes: old.sizes,
            second,
            torn: Torn::default(),
        };
        let ids = |known: &'l Known| {
            let members = known.members.iter().map(|member| member.id);
            members.chain(known.gone(seen).map(|gone| gone.id))
        };
        let servers: BTreeSet<u32> = known().flat_map(ids).collect();
        let states = known().filter_map(|known| known.state);
        let states = states.chain(old.torn.states.iter().copied()).collect();
        let rooms = match &old.torn.scattered {
            None => old.sizes.places().map(|places| Room::half(places, second)),
            Some([elements, runs, locals]) => {
                let [of_elements, of_runs, of_locals] = old.sizes.places();
                [
                    Room::beside(elements, of_elements, second),
                    Room::beside(runs, of_runs, second),
                    Room::beside(locals, of_locals, second),
                ]
            }
        };
        Self {
            rooms: moves.then_some(rooms),
            states: Slots::new(states, 0, MAX_STATES),
            servers: Slots::new(servers, old.next_server, old.sizes.servers),
            present: HashMap::new(),
            change: Change {
                ledger,
                states: Vec::new(),
                servers: Vec::new(),
                templates: HashSet::new(),
                destinations: old.torn.destinations.clone(),
            },
            old,
            seen,
        }
    }

    pub(super) fn add(&mut self, service: &VirtualServer, marked: &Marked) -> Result<(), Failure> {
        let identity = (service.target, service.protocol, service.family);
        let before = self.old.services.get(&identity);
        let id = before.map_or_else(
            || {
                self.change.ledger.next_service += 1;
                self.change.ledger.next_service - 1
            },
            |known| known.id,
        );
        let granularity = tables::granularity(service);
        let (mut members, mut gone, mut position) = match before {
            None => (Vec::new(), Vec::new(), Position::default()),
            Some(known) => {
                let position = known.position_now(&self.old.tables, self.seen);
                (known.members.clone(), known.gone(self.seen).collect(), position)
            }
        };
        let edited = self.edit(service, id, granularity, &mut members, &mut gone, &mut position)?;
        let known = match before {
            Some(known)
                if known.scheduler == service.scheduler
                    && !edited
                    && known.settled
                    && known.is_live() =>
            {
                Known { granularity, gone, lists: self.keep(known.lists)?, ..known.clone() }
            }
            _ => {
                if before.is_some_and(|known| known.scheduler != service.scheduler) {
                    self.change.destinations.insert(id);
                    position = Position {
                        limit: Limit::default().changed(&members),
                        ..Position::default()
                    };
                } else if service.scheduler == Scheduler::WeightedRoundRobin && !edited {
                    // A change that was not finished.
                    position.limit = position.limit.changed(&members);
                }
                position.turn = turn(service.scheduler, &position, &members);
                (position.step, _) = Limit::of(&members);
                let state = Some(self.place_state(position)?);
                let lists = self.place(&Layout::of(service.scheduler, &members))?;
                let scheduler = service.scheduler;
                let settled = true;
                Known { id, state, scheduler, granularity, members, gone, lists, position, settled }
            }
        };
        if before.is_some_and(|known| known.granularity != granularity) {
            self.change.templates.insert(id);
        }
        let locals = self.place_locals(service)?;
        let Lists { scheduler, first_member, members, turns, .. } = known.lists;
        let value = Service {
            turns,
            id,
            state: known.state.unwrap_or_default(),
            first_member,
            members,
            persistence: tables::persistence(service),
            granularity,
            first_local: locals.first,
            locals: locals.length,
            scheduler,
            forwarding: tables::forwarding(service),
            flags: tables::flags(service),
            reserved: 0,
            mark: match service.target {
                Target::Mark(mark) => mark,
                Target::Address { .. } => 0,
            },
        };
        self.change.ledger.tables.add(service, value, marked);
        let flag_3 = if service.flags.flag_3 { identity_flags::FLAG_3 } else { 0 };
        self.present.insert(id, (value, identity_flags::PRESENT | flag_3));
        self.change.ledger.services.insert(identity, known);
        Ok(())
    }

    /// Has a service's servers be those that the configuration names, one edit after the other as keepalived makes them;
    /// tells whether there was any.
    fn edit(
        &mut self,
        service: &VirtualServer,
        id: u32,
        granularity: u32,
        members: &mut Vec<Member>,
        gone: &mut Vec<Gone>,
        position: &mut Position,
    ) -> Result<bool, Failure> {
        // As they were, which most services are: no need to look for each.
        let in_place =
            members.iter().rev().map(end).eq(service.real_servers.iter().map(end_of_real));
        let is_wrr = service.scheduler == Scheduler::WeightedRoundRobin;
        let mut edited = false;
        let mut note = |position: &mut Position, members: &[Member]| {
            edited = true;
            if is_wrr {
                position.limit = position.limit.changed(members);
            }
        };
        let wanted: HashSet<(IpAddr, u16)> = if in_place {
            HashSet::new()
        } else {
            service.real_servers.iter().map(end_of_real).collect()
        };
        while !in_place
            && let Some(place) = members.iter().position(|one| !wanted.contains(&end(one)))
        {
            let Member { id, address, port, .. } = members.remove(place);
            gone.push(Gone { id, address, port, since: self.seconds() });
            if position.last == Some(id) {
                position.last =
                    place.checked_sub(1).and_then(|place| members.get(place)).map(|one| one.id);
            }
            note(position, members);
        }
        let places: HashMap<(IpAddr, u16), usize> = if in_place {
            HashMap::new()
        } else {
            (0..).zip(&*members).map(|(place, one)| (end(one), place)).collect()
        };
        let mut fresh = Vec::new();
        for (nth, server) in (1..).zip(service.real_servers.iter()) {
            let place = if in_place {
                members.len().checked_sub(nth)
            } else {
                places.get(&end_of_real(server)).copied()
            };
            let Some((place, slot)) = place.and_then(|place| Some((place, members.get(place)?.id)))
            else {
                fresh.push(server);
                continue;
            };
            let was = self.old.tables.servers.get(slot as usize).copied();
            let value = tables::server(server, id, granularity);
            if was.is_some_and(|was| {
                (was.weight, was.upper, was.lower) != (value.weight, value.upper, value.lower)
            }) && let Some(member) = members.get_mut(place)
            {
                member.weight = server.weight;
                if server.weight > 0 {
                    member.last_weight = server.weight;
                }
                note(position, members);
            }
            self.set_server(slot, value);
        }
        for server in fresh {
            let slot = self.slot(server, gone)?;
            self.set_server(slot, tables::server(server, id, granularity));
            let order = members.first().map_or(0, |newest| newest.order + 1);
            // The newest comes first.
            members.insert(
                0,
                Member {
                    id: slot,
                    weight: server.weight,
                    last_weight: server.weight,
                    address: server.address,
                    port: server.port,
                    order,
                },
            );
            note(position, members);
        }
        Ok(edited)
    }

    /// The place of a server that has none: the one that it had, if it has come back in time.
    fn slot(&mut self, server: &RealServer, gone: &mut Vec<Gone>) -> Result<u32, Failure> {
        let was =
            gone.iter().position(|gone| (gone.address, gone.port) == (server.address, server.port));
        if let Some(place) = was {
            return Ok(gone.swap_remove(place).id);
        }
        let sizes = self.old.sizes;
        let slot =
            self.servers.take().ok_or_else(|| Failure::NoRoom(no_room_for_servers(sizes)))?;
        self.change.servers.push(slot);
        self.change.ledger.next_server = self.servers.next();
        Ok(slot)
    }

    fn set_server(&mut self, slot: u32, value: Server) {
        set(&mut self.change.ledger.tables.servers, slot as usize, Server::NONE, value);
    }

    /// The time of the change, as it is kept.
    fn seconds(&self) -> Duration {
        Duration::from_secs(self.seen.now.as_secs().max(1))
    }

    fn place_state(&mut self, position: Position) -> Result<u32, Failure> {
        let no_room = || Failure::NoRoom("the schedulers have no room for new states".to_owned());
        let place = self.states.take().ok_or_else(no_room)?;
        let none = SchedulerState::at(0);
        set(&mut self.change.ledger.tables.states, place as usize, none, position.state());
        self.change.states.push(place);
        Ok(place)
    }

    /// What has gone stays known while it has connections, and packets of theirs find the data path.
    pub(super) fn end(mut self) -> Change {
        for (identity, known) in &self.old.services {
            if self.change.ledger.services.contains_key(identity) {
                continue;
            }
            let since = self.seconds();
            let removed = known.members.iter().map(|one| Gone {
                id: one.id,
                address: one.address,
                port: one.port,
                since,
            });
            let known = Known {
                gone: known.gone(self.seen).chain(removed).collect(),
                members: Vec::new(),
                state: None,
                lists: Lists::default(),
                position: Position::default(),
                settled: true,
                ..known.clone()
            };
            if !known.gone.is_empty() {
                self.change.ledger.services.insert(*identity, known);
            }
        }
        self.change.ledger.tables.mark_wide();
        self.note();
        self.change
    }

    /// Writes down what another ledger can be made from.
    fn note(&mut self) {
        let scattered = self.scattered();
        let Ledger { tables, services, torn, next_service, next_server, second, .. } =
            &mut self.change.ledger;
        torn.scattered = scattered;
        tables.places = vec![Place::default(); tables.servers.len()];
        for ((target, protocol, family), known) in services.iter() {
            let (address, port, mark) = tables::name_in_maps(*target);
            let present = self.present.get(&known.id).copied();
            let (service, flags) = present.unwrap_or((Service::NONE, 0));
            tables.identities.insert(
                known.id,
                Identity {
                    service,
                    address,
                    mark,
                    port,
                    protocol: protocol.map_or(0, tables::number),
                    version: tables::version(*family),
                    granularity: known.granularity,
                    scheduler: lists::number(known.scheduler).into(),
                    flags,
                    reserved: 0,
                },
            );
            let members = known.members.iter().map(|member| {
                let Member { id, order, last_weight, .. } = *member;
                (id, Place { held: 1, order, last_weight, removed: 0 })
            });
            let gone = known.gone.iter().map(|gone| {
                let removed = u32::try_from(gone.since.as_secs()).unwrap_or(u32::MAX);
                (gone.id, Place { held: 1, removed, ..Place::default() })
            });
            for (id, place) in members.chain(gone) {
                set(&mut tables.places, id as usize, Place::default(), place);
            }
        }
        tables.head = LedgerHead {
            layout: self.old.tables.head.layout,
            next_service: *next_service,
            next_server: *next_server,
            half: u32::from(*second),
            places: tables.servers.len() as u32,
        };
    }
}

/// The turn that the walk goes on with.
fn turn(scheduler: Scheduler, position: &Position, members: &[Member]) -> u64 {
    match scheduler {
        Scheduler::RoundRobin => {
            let last = members.iter().position(|member| Some(member.id) == position.last);
            let passed = last.map_or(0, |last| last + 1);
            members.iter().take(passed).filter(|member| member.weight > 0).count() as u64
        }
        Scheduler::WeightedRoundRobin => position.limit.turn(members),
        _ => 0,
    }
}

/// Where a member is.
const fn end(member: &Member) -> (IpAddr, u16) {
    (member.address, member.port)
}

/// Where a server of the configuration is.
const fn end_of_real(server: &RealServer) -> (IpAddr, u16) {
    (server.address, server.port)
}

fn no_room_for_servers(Sizes { servers, .. }: Sizes) -> String {
    let larger = if servers == MAX_SERVERS {
        ""
    } else {
        "; or end xlvs (`xlvs stop`) and start it again with this file, to have more room"
    };
    format!(
        "there is room for {servers} real servers, those included that have left the file: they keep their places for two \
         minutes, and while they have connections or persistent clients; take some out first, and add the others \
         later{larger}"
    )
}

/// Puts a value in its place of an array that grows with its contents.
pub(crate) fn set<T: Clone>(array: &mut Vec<T>, place: usize, none: T, value: T) {
    if array.len() <= place {
        array.resize(place + 1, none);
    }
    if let Some(slot) = array.get_mut(place) {
        *slot = value;
    }
}
