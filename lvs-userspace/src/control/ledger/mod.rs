//! What lies where in the maps, and how one configuration becomes the next: what has not changed stays where it is, with
//! its connections, templates and counts, and the position of its scheduler.
//!
//! As in IPVS: a new server goes to the head of its service's list; one that was removed keeps its place for two minutes,
//! and for as long as connections or templates refer to it, and takes all of them back when it comes again
//! (`ip_vs_trash_get_dest`); rr goes on behind the server that was last (`ip_vs_rr_del_dest`); wrr begins a walk with the
//! limit that it had (`ip_vs_wrr_dest_changed`).

//!
//! All of it can be told from the maps (`adopt.rs`), whatever moment the one who wrote them was killed at.

mod adopt;
mod next;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use lvs_common::abi::{MAX_MEMBERS, MEMBERS_EACH, NO_SERVER, SchedulerState};

pub(super) use self::next::set;
use self::next::{Failure, Next};
use super::{
    lists::{Limit, Member},
    room::Range,
    tables::{self, Choices, Tables},
};
use crate::config::{Config, Family, Protocol, Scheduler, Target};

/// What the tables hold of states that nobody refers to.
pub(super) const NO_STATE: SchedulerState = SchedulerState::at(0);

/// How long a server that was removed keeps its place at least (`IP_VS_DEST_TRASH_PERIOD`).
const GRACE: Duration = Duration::from_secs(120);

/// Which service it is, whatever else changes about it.
type Identity = (Target, Option<Protocol>, Family);

/// What lies where.
#[derive(Clone, Debug)]
pub struct Ledger {
    /// The contents of the maps, as far as the ledger goes.
    pub tables: Tables,
    services: HashMap<Identity, Known>,
    /// Places of `LOCALS`, by what is there.
    locals: HashMap<Vec<[u8; 16]>, Range>,
    next_service: u32,
    /// Where the search for the next free server id begins: those that were given up are taken last.
    next_server: u32,
    /// Elements that `MEMBERS` has.
    elements: u32,
    /// Whether the lists lie in the second halves of their maps.
    second: bool,
    /// What a change that was not finished has left.
    torn: Torn,
}

/// What a change that was not finished has left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Torn {
    /// The places of `MEMBERS`, `RUNS` and `LOCALS` in use, if they are not all in one half.
    scattered: Option<[Vec<Range>; 3]>,
    /// Places of `SCHEDULERS` in use beside those of the services.
    states: BTreeSet<u32>,
    /// Services whose destinations are still to be forgotten.
    destinations: HashSet<u32>,
}

/// A service that has a number.
#[derive(Clone, Debug)]
struct Known {
    id: u32,
    /// Its place in `SCHEDULERS`; `None` without lists.
    state: Option<u32>,
    scheduler: Scheduler,
    granularity: u32,
    /// Its servers, the newest first.
    members: Vec<Member>,
    /// Servers that were removed.
    gone: Vec<Gone>,
    lists: Lists,
    position: Position,
    /// Whether the lists are what the members ask for; not after a change that was not finished.
    settled: bool,
}

/// Where the lists of a service lie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Position {
    /// What was written: while it is still there, no turn has been taken.
    turn: u64,
    /// rr: the server that was last; `None` for the head of the list.
    last: Option<u16>,
    /// wrr: the limit.
    limit: Limit,
    /// wrr: by how much it falls.
    step: u32,
}

impl Position {
    /// What is written.
    fn state(self) -> SchedulerState {
        SchedulerState {
            last: self.last.map_or(NO_SERVER, u32::from),
            limit: self.limit.0,
            step: self.step,
            ..SchedulerState::at(self.turn)
        }
    }

    /// From what was written.
    fn of(state: &SchedulerState) -> Self {
        let SchedulerState { written, last, limit, step, .. } = *state;
        Self { turn: written, last: u16::try_from(last).ok(), limit: Limit(limit), step }
    }
}

/// A server that was removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gone {
    id: u16,
    address: IpAddr,
    port: u16,
    /// In whole seconds since the host was booted, as in [`Place::removed`](lvs_common::abi::Place::removed).
    since: Duration,
}

/// What the data path has done since.
#[derive(Clone, Debug)]
pub struct Seen {
    /// When, counted from when the host was booted.
    pub now: Duration,
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
    #[must_use]
    pub fn empty(elements: u32) -> Self {
        Self {
            tables: Tables::default(),
            services: HashMap::new(),
            locals: HashMap::new(),
            next_service: 0,
            next_server: 0,
            elements,
            // The first lists move to the first half.
            second: true,
            torn: Torn::default(),
        }
    }

    /// The first one, for maps that are still to be made.
    pub fn first(config: &Config, choices: &Choices) -> anyhow::Result<Change> {
        Self::empty(2 * MAX_MEMBERS).next(config, choices, &Seen::nothing())
    }

    /// The same for maps that have been made: with so many elements of `MEMBERS`.
    #[must_use]
    pub fn within(self, elements: u32) -> Self {
        Self { elements, ..self }
    }

    /// How many elements of `MEMBERS` a configuration takes at the start.
    pub(super) fn elements_for(config: &Config) -> anyhow::Result<u32> {
        let first = Self::first(config, &Choices::default())?;
        Ok(first.ledger.tables.members.len() as u32)
    }

    /// How many services there are.
    pub(super) fn services(&self) -> usize {
        self.services.values().filter(|known| known.is_live()).count()
    }

    /// The services that there are, with their servers.
    pub(super) fn serving(
        &self,
    ) -> impl Iterator<Item = (Identity, impl Iterator<Item = (IpAddr, u16)>)> {
        let live = self.services.iter().filter(|(_, known)| known.is_live());
        live.map(|(identity, known)| {
            (*identity, known.members.iter().map(|member| (member.address, member.port)))
        })
    }

    /// Places of `SCHEDULERS` in which turns are counted.
    pub fn states(&self) -> impl Iterator<Item = u32> + '_ {
        self.services.values().filter_map(|known| known.state)
    }

    /// Servers that were removed long enough ago to lose their places.
    #[must_use]
    pub fn gone(&self, now: Duration) -> HashSet<u16> {
        let gone = self.services.values().flat_map(|known| &known.gone);
        gone.filter(|gone| now.saturating_sub(gone.since) >= GRACE).map(|gone| gone.id).collect()
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

impl Seen {
    /// Of maps that nobody has used yet.
    #[must_use]
    pub fn nothing() -> Self {
        Self { now: Duration::ZERO, states: HashMap::new(), unused: HashSet::new() }
    }
}

impl Known {
    /// Whether it has lists and a state.
    const fn is_live(&self) -> bool {
        self.state.is_some()
    }

    /// Where its walk is now, over the lists in these tables.
    fn position_now(&self, tables: &Tables, seen: &Seen) -> Position {
        let Some(SchedulerState { turn, restart, .. }) =
            self.state.and_then(|state| seen.states.get(&state)).copied()
        else {
            return self.position;
        };
        if turn == self.position.turn {
            return self.position;
        }
        let taken = turn.wrapping_sub(1);
        let Lists { runs, first_member, members, turns, .. } = self.lists;
        match self.scheduler {
            Scheduler::RoundRobin => {
                let place = taken.checked_rem(members.into()).unwrap_or_default() as u32;
                Position { last: member(tables, first_member + place), ..self.position }
            }
            Scheduler::WeightedRoundRobin => {
                let taken = if turn == restart { 0 } else { taken };
                let limit = Limit::at(taken, slice(&tables.runs, runs), turns, self.position.step);
                Position { limit, ..self.position }
            }
            _ => self.position,
        }
    }

    /// The servers that were removed and keep their places.
    fn gone<'k>(&'k self, seen: &'k Seen) -> impl Iterator<Item = Gone> + 'k {
        self.gone.iter().copied().filter(|gone| {
            seen.now.saturating_sub(gone.since) < GRACE || !seen.unused.contains(&gone.id)
        })
    }
}

/// The server in a place of `MEMBERS`.
fn member(tables: &Tables, place: u32) -> Option<u16> {
    let place = place as usize;
    tables.members.get(place / MEMBERS_EACH)?.get(place % MEMBERS_EACH).copied()
}

/// What lies in these places.
fn slice<T>(array: &[T], range: Range) -> &[T] {
    array.get(range.first as usize..range.end() as usize).unwrap_or_default()
}

#[cfg(test)]
mod tests;
