//! The next ledger in the making: the edits that lead to what a configuration asks for, and the room for what is new.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
};

use anyhow::Context as _;
use lvs_common::abi::{
    MAX_LOCALS, MAX_MEMBERS, MAX_RUNS, MAX_SERVERS, MAX_STATES, MEMBERS_EACH, Run, SchedulerState,
    Server, Service, scheduler, server_flags,
};

use super::{
    super::{
        lists::{Layout, Limit, Member},
        ranges::{Free, Range},
        tables::{self, Marked, Tables, widen},
    },
    Change, Gone, Known, Ledger, Lists, Position, Seen,
};
use crate::config::{RealServer, Scheduler, Target, VirtualServer};

/// A ledger in the making.
pub(super) struct Next<'l> {
    old: &'l Ledger,
    seen: &'l Seen,
    change: Change,
    elements: Free,
    runs: Free,
    locals: Free,
    states: Free,
    servers: BTreeSet<u16>,
}

impl<'l> Next<'l> {
    /// With nothing but what stays whatever the configuration says.
    pub(super) fn after(old: &'l Ledger, mut tables: Tables, seen: &'l Seen) -> Self {
        let known = || old.services.values();
        // Those that go are written as removed.
        tables.servers.clone_from(&old.tables.servers);
        tables.members.clone_from(&old.tables.members);
        tables.runs.clone_from(&old.tables.runs);
        tables.locals.clone_from(&old.tables.locals);
        tables.states.clone_from(&old.tables.states);
        for server in &mut tables.servers {
            server.flags &= !server_flags::AVAILABLE;
        }
        let ledger = Ledger {
            tables,
            services: HashMap::new(),
            locals: HashMap::new(),
            next_service: old.next_service,
            next_server: old.next_server,
            elements: old.elements,
        };
        let ids = |known: &'l Known| {
            let members = known.members.iter().map(|member| member.id);
            members.chain(known.gone.iter().map(|gone| gone.id))
        };
        let servers: BTreeSet<u16> = known().flat_map(ids).collect();
        Self {
            elements: Free::but(known().map(|known| known.lists.elements), old.elements),
            runs: Free::but(known().map(|known| known.lists.runs), MAX_RUNS),
            locals: Free::but(old.locals.values().copied(), MAX_LOCALS),
            states: Free::but(
                known()
                    .filter(|known| known.is_live())
                    .map(|known| Range { first: known.state, length: 1 }),
                MAX_STATES,
            ),
            servers,
            change: Change {
                ledger,
                states: Vec::new(),
                servers: Vec::new(),
                templates: HashSet::new(),
                destinations: HashSet::new(),
            },
            old,
            seen,
        }
    }

    pub(super) fn add(&mut self, service: &VirtualServer, marked: &Marked) -> anyhow::Result<()> {
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
                let position = known.position_now(self.seen);
                (known.members.clone(), known.gone.clone(), position)
            }
        };
        let edited = self.edit(service, id, granularity, &mut members, &mut gone, &mut position)?;
        let mut known = match before {
            Some(known) if known.scheduler == service.scheduler && !edited && known.is_live() => {
                Known { granularity, gone, ..known.clone() }
            }
            _ => {
                if before.is_some_and(|known| known.scheduler != service.scheduler) {
                    self.change.destinations.insert(id);
                    position = Position {
                        limit: Limit::default().changed(&members),
                        ..Position::default()
                    };
                }
                position.turn = turn(service.scheduler, &position, &members);
                let state = self.place_state(position.turn)?;
                let lists = self.place(&Layout::of(service.scheduler, &members))?;
                let scheduler = service.scheduler;
                Known { id, state, scheduler, granularity, members, gone, lists, position }
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
            state: known.state,
            first_member,
            members,
            persistence: tables::persistence(service),
            granularity,
            first_local: locals.first,
            locals: locals.length,
            scheduler,
            forwarding: tables::forwarding(service),
            flags: tables::flags(service),
            reserved: [0; 5],
        };
        known.forget(self.seen);
        self.change.ledger.tables.add(service, value, marked);
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
    ) -> anyhow::Result<bool> {
        let wanted: HashMap<(IpAddr, u16), &RealServer> = service
            .real_servers
            .iter()
            .map(|server| ((server.address, server.port), server))
            .collect();
        let is_wrr = service.scheduler == Scheduler::WeightedRoundRobin;
        let mut edited = false;
        let mut note = |position: &mut Position, members: &[Member]| {
            edited = true;
            if is_wrr {
                position.limit = position.limit.changed(members);
            }
        };
        while let Some(place) =
            members.iter().position(|one| !wanted.contains_key(&(one.address, one.port)))
        {
            let Member { id, address, port, .. } = members.remove(place);
            gone.push(Gone { id, address, port, since: self.seen.now });
            if position.last == Some(id) {
                position.last =
                    place.checked_sub(1).and_then(|place| members.get(place)).map(|one| one.id);
            }
            note(position, members);
        }
        let places: HashMap<u16, usize> =
            (0..).zip(&*members).map(|(place, one)| (one.id, place)).collect();
        let known: HashMap<(IpAddr, u16), u16> =
            members.iter().map(|one| ((one.address, one.port), one.id)).collect();
        let mut fresh = Vec::new();
        for server in &service.real_servers {
            let Some(&slot) = known.get(&(server.address, server.port)) else {
                fresh.push(server);
                continue;
            };
            let value = tables::server(server, id, granularity);
            let was = self.old.tables.servers.get(usize::from(slot)).copied();
            if was.is_some_and(|was| {
                (was.weight, was.upper, was.lower) != (value.weight, value.upper, value.lower)
            }) && let Some(member) = places.get(&slot).and_then(|place| members.get_mut(*place))
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
            // The newest comes first.
            members.insert(
                0,
                Member {
                    id: slot,
                    weight: server.weight,
                    last_weight: server.weight,
                    address: server.address,
                    port: server.port,
                },
            );
            note(position, members);
        }
        Ok(edited)
    }

    /// The place of a server that has none: the one that it had, if it has come back in time.
    fn slot(&mut self, server: &RealServer, gone: &mut Vec<Gone>) -> anyhow::Result<u16> {
        let was =
            gone.iter().position(|gone| (gone.address, gone.port) == (server.address, server.port));
        if let Some(place) = was {
            return Ok(gone.swap_remove(place).id);
        }
        let next = self.change.ledger.next_server;
        let slot = (next..MAX_SERVERS)
            .chain(0..next)
            .map(|id| id as u16)
            .find(|id| !self.servers.contains(id))
            .with_context(|| {
                format!("there are {MAX_SERVERS} real servers, those included that were removed and still have connections")
            })?;
        self.servers.insert(slot);
        self.change.servers.push(slot);
        self.change.ledger.next_server = (u32::from(slot) + 1) % MAX_SERVERS;
        Ok(slot)
    }

    fn set_server(&mut self, slot: u16, value: Server) {
        set(&mut self.change.ledger.tables.servers, slot.into(), Server::NONE, value);
    }

    fn place_state(&mut self, turn: u64) -> anyhow::Result<u32> {
        let place =
            self.states.take(1).context("the schedulers have no room for new states")?.first;
        let none = SchedulerState::at(0);
        set(&mut self.change.ledger.tables.states, place as usize, none, SchedulerState::at(turn));
        self.change.states.push(place);
        Ok(place)
    }

    /// Finds room for what a scheduler chooses from.
    fn place(&mut self, layout: &Layout) -> anyhow::Result<Lists> {
        let contents: Vec<_> = layout.elements().collect();
        let elements = self
            .elements
            .take(contents.len() as u32)
            .with_context(|| no_room(self.old.elements))?;
        let tables = &mut self.change.ledger.tables;
        for (place, content) in (elements.first as usize..).zip(contents) {
            set(&mut tables.members, place, [0; MEMBERS_EACH], content);
        }
        let runs = self.runs.take(layout.runs.len() as u32).with_context(|| {
            format!("wrr has more than {MAX_RUNS} different weights; let more servers have the same weight")
        })?;
        let mut first_member = elements.first * MEMBERS_EACH as u32;
        let lists = Lists {
            elements,
            runs,
            scheduler: layout.scheduler,
            first_member,
            members: layout.lists.first().map_or(0, Vec::len) as u32,
            turns: layout.turns,
        };
        if layout.scheduler != scheduler::WEIGHTED_ROUND_ROBIN {
            return Ok(lists);
        }
        for ((place, turn), list) in (runs.first as usize..).zip(&layout.runs).zip(&layout.lists) {
            let members = list.len() as u32;
            let none = Run { turn: 0, first_member: 0, members: 0 };
            set(&mut tables.runs, place, none, Run { turn: *turn, first_member, members });
            first_member += members.next_multiple_of(MEMBERS_EACH as u32);
        }
        Ok(Lists { first_member: runs.first, members: runs.length, ..lists })
    }

    /// Where a service's local addresses lie. Services with the same group share them.
    fn place_locals(&mut self, service: &VirtualServer) -> anyhow::Result<Range> {
        let locals: Vec<[u8; 16]> = service.local_addresses.iter().copied().map(widen).collect();
        let ledger = &mut self.change.ledger;
        if let Some(range) = ledger.locals.get(&locals).or_else(|| self.old.locals.get(&locals)) {
            let range = *range;
            ledger.locals.insert(locals, range);
            return Ok(range);
        }
        let range = self.locals.take(locals.len() as u32).with_context(|| {
            format!(
                "the groups of local addresses that services use hold more than {MAX_LOCALS} addresses; let services \
                 share groups"
            )
        })?;
        for (place, local) in (range.first as usize..).zip(&locals) {
            set(&mut ledger.tables.locals, place, [0; 16], *local);
        }
        ledger.locals.insert(locals, range);
        Ok(range)
    }

    /// What has gone stays known while it has connections, and packets of theirs find the data path.
    pub(super) fn end(mut self) -> Change {
        for (identity, known) in &self.old.services {
            if self.change.ledger.services.contains_key(identity) {
                continue;
            }
            let since = self.seen.now;
            let gone = known.members.iter().map(|one| Gone {
                id: one.id,
                address: one.address,
                port: one.port,
                since,
            });
            let mut known = Known {
                gone: known.gone.iter().copied().chain(gone).collect(),
                members: Vec::new(),
                lists: Lists::default(),
                position: Position::default(),
                ..known.clone()
            };
            known.forget(self.seen);
            if !known.gone.is_empty() {
                self.change.ledger.services.insert(*identity, known);
            }
        }
        let Ledger { tables, services, .. } = &mut self.change.ledger;
        for ((target, protocol, _), known) in services {
            if known.gone.is_empty() {
                continue;
            }
            for protocol in tables::protocols(*protocol) {
                if let Target::Address { address, port } = target {
                    tables.mark_service(*address, *port, protocol);
                }
                for gone in &known.gone {
                    tables.mark(gone.address, gone.port, protocol);
                }
            }
        }
        tables.mark_wide();
        self.change
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

fn no_room(elements: u32) -> String {
    if elements == MAX_MEMBERS {
        format!(
            "the schedulers' lists take more than {MAX_MEMBERS} elements: weights that differ much from each other \
             (wrr), or too many services with mh; let more servers have the same weight"
        )
    } else {
        format!(
            "the schedulers' lists have grown: the map MEMBERS, made for twice what the first configuration needed, \
             has {elements} elements; restart xlvs to have a larger one"
        )
    }
}

/// Puts a value in its place of an array that grows with its contents.
fn set<T: Clone>(array: &mut Vec<T>, place: usize, none: T, value: T) {
    if array.len() <= place {
        array.resize(place + 1, none);
    }
    if let Some(slot) = array.get_mut(place) {
        *slot = value;
    }
}
