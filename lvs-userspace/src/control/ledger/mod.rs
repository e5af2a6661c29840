//! What lies where in the maps, and how one configuration becomes the next: what has not changed stays where it is, with
//! its connections, templates and counts, and the position of its scheduler.
//!
//! As in IPVS: a new server goes to the head of its service's list; one that was removed keeps its place for two minutes,
//! and for as long as connections or templates refer to it, and takes all of them back when it comes again
//! (`ip_vs_trash_get_dest`); rr goes on behind the server that was last (`ip_vs_rr_del_dest`); wrr begins a walk with the
//! limit that it had (`ip_vs_wrr_dest_changed`).

mod next;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use lvs_common::abi::{MAX_MEMBERS, SchedulerState, Server};

use self::next::{Failure, Next};
use super::{
    lists::{self, Limit, Member},
    room::Range,
    tables::{self, Choices, Tables},
};
use crate::config::{Config, Family, Protocol, Scheduler, Target};

/// How long a server that was removed keeps its place at least (`IP_VS_DEST_TRASH_PERIOD`).
const GRACE: Duration = Duration::from_secs(120);

/// Which service it is, whatever else changes about it.
type Identity = (Target, Option<Protocol>, Family);

/// What lies where.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The contents of the maps.
    pub tables: Tables,
    services: HashMap<Identity, Known>,
    /// Places of `LOCALS`, by what is there.
    locals: HashMap<Vec<[u8; 16]>, Range>,
    next_service: u32,
    /// Where the search for the next free server id begins: those that were given up are taken last.
    next_server: u32,
    /// [`Server::added`] of the next one.
    next_added: u32,
    /// Elements that `MEMBERS` has.
    elements: u32,
    /// Whether the lists lie in the second halves of their maps.
    second: bool,
}

/// A service that has a number.
#[derive(Clone, Debug)]
struct Known {
    id: u32,
    state: u32,
    scheduler: Scheduler,
    granularity: u32,
    /// Its servers, the newest first.
    members: Vec<Member>,
    /// Servers that were removed.
    gone: Vec<Gone>,
    lists: Lists,
    position: Position,
    /// Whether the configuration has it; else only what has gone is of interest.
    configured: bool,
}

/// Where the lists of a service lie.
#[derive(Clone, Copy, Debug, Default)]
struct Lists {
    elements: Range,
    runs: Range,
    /// [`Service::scheduler`].
    scheduler: u8,
    /// [`Service::first_member`].
    first_member: u32,
    /// [`Service::members`].
    members: u32,
    /// [`Service::turns`].
    turns: u64,
}

/// Where the walk of rr or wrr was when its state was written, in terms that outlive the lists.
#[derive(Clone, Copy, Debug, Default)]
struct Position {
    /// What was written: while it is still there, no turn has been taken.
    turn: u64,
    /// rr: the server that was last; `None` for the head of the list.
    last: Option<u16>,
    /// wrr: the limit.
    limit: Limit,
}

/// A server that was removed.
#[derive(Clone, Copy, Debug)]
struct Gone {
    id: u16,
    address: IpAddr,
    port: u16,
    since: Instant,
}

/// What the data path has done since.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When.
    pub now: Instant,
    /// What the schedulers remember, by place in `SCHEDULERS`.
    pub states: HashMap<u32, SchedulerState>,
    /// Those of the servers that were removed to which no connection and no template refers.
    pub unused: HashSet<u16>,
}

/// The way from one ledger to the next.
#[derive(Clone, Debug)]
pub struct Change {
    /// The next one.
    pub ledger: Ledger,
    /// Places of `SCHEDULERS` to be written, whatever they hold.
    pub states: Vec<u32>,
    /// Servers in new places, which have no connections and no counts.
    pub servers: Vec<u16>,
    /// Services whose templates would no longer be found.
    pub templates: HashSet<u32>,
    /// Services whose destinations are to be forgotten.
    pub destinations: HashSet<u32>,
}

impl Ledger {
    /// Nothing at all, with room for so many elements of `MEMBERS`.
    fn empty(elements: u32) -> Self {
        Self {
            tables: Tables::default(),
            services: HashMap::new(),
            locals: HashMap::new(),
            next_service: 0,
            next_server: 0,
            next_added: 0,
            elements,
            // The first lists move to the first half.
            second: true,
        }
    }

    /// The first one, for maps that are still to be made.
    pub fn first(config: &Config, choices: &Choices) -> anyhow::Result<Change> {
        let seen = Seen { now: Instant::now(), states: HashMap::new(), unused: HashSet::new() };
        Self::empty(2 * MAX_MEMBERS).next(config, choices, &seen)
    }

    /// The same for maps that have been made: with so many elements of `MEMBERS`.
    #[must_use]
    pub fn within(self, elements: u32) -> Self {
        Self { elements, ..self }
    }

    /// Places of `SCHEDULERS` in which turns are counted.
    pub fn states(&self) -> impl Iterator<Item = u32> + '_ {
        self.services.values().filter(|known| known.is_live()).map(|known| known.state)
    }

    /// Servers that were removed long enough ago to lose their places.
    #[must_use]
    pub fn gone(&self, now: Instant) -> HashSet<u16> {
        let gone = self.services.values().flat_map(|known| &known.gone);
        gone.filter(|gone| now.duration_since(gone.since) >= GRACE).map(|gone| gone.id).collect()
    }

    /// After a change that has failed half-way: what it gave numbers to may have been written, so that nobody else gets
    /// those numbers, and what it wrote is removed with the next change.
    pub fn skip(&mut self, failed: &Change) {
        let Self { tables, next_service, next_server, next_added, .. } = self;
        *next_service = failed.ledger.next_service;
        *next_server = failed.ledger.next_server;
        *next_added = failed.ledger.next_added;
        let servers = failed.ledger.tables.servers.len();
        tables.servers.resize(servers.max(tables.servers.len()), Server::NONE);
        tables.filter.clone_from(&failed.ledger.tables.filter);
    }

    /// What another configuration asks for.
    pub fn next(&self, config: &Config, choices: &Choices, seen: &Seen) -> anyhow::Result<Change> {
        match self.make(config, choices, seen, false) {
            Err(Failure::Move) => Ok(self.make(config, choices, seen, true)?),
            made => Ok(made?),
        }
    }

    /// The same with the lists where they are, or moved to the other half of their maps.
    fn make(
        &self,
        config: &Config,
        choices: &Choices,
        seen: &Seen,
        moves: bool,
    ) -> Result<Change, Failure> {
        let mut next = Next::after(self, Tables::with(config, choices), seen, moves);
        let marked = tables::marked(config);
        // Marks come first in IPVS: where a key is another service's too, the last one that is written counts.
        let (by_mark, by_address): (Vec<_>, Vec<_>) =
            config.services.iter().partition(|service| matches!(service.target, Target::Mark(_)));
        for service in by_address.into_iter().chain(by_mark) {
            next.add(service, &marked)?;
        }
        Ok(next.end())
    }
}

impl Known {
    /// Whether it has lists and a state.
    const fn is_live(&self) -> bool {
        self.configured
    }

    /// Where its walk is now.
    fn position_now(&self, seen: &Seen) -> Position {
        let Some(SchedulerState { turn, restart, .. }) = seen.states.get(&self.state).copied()
        else {
            return self.position;
        };
        if turn == self.position.turn {
            return self.position;
        }
        let taken = turn.wrapping_sub(1);
        match self.scheduler {
            Scheduler::RoundRobin => {
                let usable = lists::usable(&self.members);
                let place = taken.checked_rem(usable.len() as u64).unwrap_or_default();
                Position { last: usable.get(place as usize).copied(), ..self.position }
            }
            Scheduler::WeightedRoundRobin if turn == restart => {
                Position { limit: Limit::default().changed(&self.members), ..self.position }
            }
            Scheduler::WeightedRoundRobin => {
                Position { limit: Limit::at(taken, &self.members), ..self.position }
            }
            _ => self.position,
        }
    }

    /// The servers that were removed and keep their places.
    fn gone<'k>(&'k self, seen: &'k Seen) -> impl Iterator<Item = Gone> + 'k {
        self.gone.iter().copied().filter(|gone| {
            seen.now.duration_since(gone.since) < GRACE || !seen.unused.contains(&gone.id)
        })
    }
}

#[cfg(test)]
mod tests;
