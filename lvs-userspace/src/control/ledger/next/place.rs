//! Where the lists lie that services choose from: room for what is new or moves, and what stays where it is.

use lvs_common::abi::{MAX_LOCALS, MAX_MEMBERS, MEMBERS_EACH, Run, scheduler};

use super::{
    super::{
        super::{lists::Layout, room::Range, tables::widen},
        Lists, slice,
    },
    Failure, Next, set,
};
use crate::config::VirtualServer;

impl Next<'_> {
    /// Finds room for what a scheduler chooses from.
    pub(super) fn place(&mut self, layout: &Layout) -> Result<Lists, Failure> {
        let contents: Vec<_> = layout.elements().collect();
        let elements = self.place_elements(&contents)?;
        let mut first_member = elements.first * MEMBERS_EACH as u32;
        let lists = Lists {
            elements,
            runs: Range::default(),
            scheduler: layout.scheduler,
            first_member,
            members: layout.lists.first().map_or(0, Vec::len) as u32,
            turns: layout.turns,
        };
        if layout.scheduler != scheduler::WEIGHTED_ROUND_ROBIN {
            return Ok(lists);
        }
        let mut runs = Vec::new();
        for (turn, list) in layout.runs.iter().zip(&layout.lists) {
            let members = list.len() as u32;
            runs.push(Run { turn: *turn, first_member, members });
            first_member += members.next_multiple_of(MEMBERS_EACH as u32);
        }
        let runs = self.place_runs(&runs)?;
        Ok(Lists { runs, first_member: runs.first, members: runs.length, ..lists })
    }

    /// The lists of a service that has not changed: where they are, or where they move with those of others.
    pub(super) fn keep(&mut self, lists: Lists) -> Result<Lists, Failure> {
        let [elements, runs, _] =
            self.old.sizes.places().map(|places| Range::half(places, self.change.ledger.second));
        let in_place = elements.holds(lists.elements) && runs.holds(lists.runs);
        if self.rooms.is_none() || in_place {
            return Ok(lists);
        }
        let old = &self.old.tables;
        let elements = self.place_elements(slice(&old.members, lists.elements))?;
        let moved = |place: u32| {
            let from = lists.elements.first * MEMBERS_EACH as u32;
            place.wrapping_sub(from).wrapping_add(elements.first * MEMBERS_EACH as u32)
        };
        if lists.scheduler != scheduler::WEIGHTED_ROUND_ROBIN {
            return Ok(Lists { elements, first_member: moved(lists.first_member), ..lists });
        }
        let runs = slice(&old.runs, lists.runs).iter();
        let runs: Vec<Run> =
            runs.map(|run| Run { first_member: moved(run.first_member), ..*run }).collect();
        let runs = self.place_runs(&runs)?;
        Ok(Lists { elements, runs, first_member: runs.first, ..lists })
    }

    fn place_elements(&mut self, contents: &[[u32; MEMBERS_EACH]]) -> Result<Range, Failure> {
        let [elements, _, _] = self.rooms.as_mut().ok_or(Failure::Move)?;
        let range = elements
            .take(contents.len() as u32)
            .ok_or_else(|| Failure::NoRoom(no_room(self.old.sizes.members)))?;
        fill(&mut self.change.ledger.tables.members, range, [0; MEMBERS_EACH], contents);
        Ok(range)
    }

    fn place_runs(&mut self, contents: &[Run]) -> Result<Range, Failure> {
        let [_, runs, _] = self.rooms.as_mut().ok_or(Failure::Move)?;
        // Each run has another weight, and so a server of its own.
        let range = runs.take(contents.len() as u32).ok_or_else(|| {
            Failure::NoRoom("wrr has more different weights than there are servers".to_owned())
        })?;
        let none = Run { turn: 0, first_member: 0, members: 0 };
        fill(&mut self.change.ledger.tables.runs, range, none, contents);
        Ok(range)
    }

    /// Where a service's local addresses lie. Services with the same group share them.
    pub(super) fn place_locals(&mut self, service: &VirtualServer) -> Result<Range, Failure> {
        let locals: Vec<[u8; 16]> = service.local_addresses.iter().copied().map(widen).collect();
        if locals.is_empty() {
            return Ok(Range::default());
        }
        let ledger = &mut self.change.ledger;
        if let Some(range) = ledger.locals.get(&locals) {
            return Ok(*range);
        }
        let [_, _, here] = self.old.sizes.places().map(|places| Range::half(places, ledger.second));
        let range = match (&mut self.rooms, self.old.locals.get(&locals)) {
            (None, Some(range)) => *range,
            (Some(_), Some(range)) if here.holds(*range) => *range,
            (None, None) => return Err(Failure::Move),
            (Some([_, _, half]), _) => {
                let range = half.take(locals.len() as u32).ok_or_else(|| {
                    Failure::NoRoom(format!(
                        "the groups of local addresses that services use hold more than {MAX_LOCALS} addresses; let \
                         services share groups"
                    ))
                })?;
                fill(&mut ledger.tables.locals, range, [0; 16], &locals);
                range
            }
        };
        ledger.locals.insert(locals, range);
        Ok(range)
    }

    /// The places in use, if they are still not all in one half.
    pub(super) fn scattered(&self) -> Option<[Vec<Range>; 3]> {
        self.old.torn.scattered.as_ref()?;
        let ledger = &self.change.ledger;
        let lists = || ledger.services.values().map(|known| known.lists);
        let used = [
            lists().map(|lists| lists.elements).collect::<Vec<_>>(),
            lists().map(|lists| lists.runs).collect(),
            ledger.locals.values().copied().collect(),
        ];
        let together = self.old.sizes.places().into_iter().zip(&used).all(|(places, used)| {
            let half = Range::half(places, ledger.second);
            used.iter().all(|range| half.holds(*range))
        });
        (!together).then_some(used)
    }
}

fn no_room(elements: u32) -> String {
    if elements == 2 * MAX_MEMBERS {
        format!(
            "the schedulers' lists take more than {MAX_MEMBERS} elements: weights that differ much from each other \
             (wrr), or too many services with mh; let more servers have the same weight"
        )
    } else {
        format!(
            "the schedulers' lists take more than {} elements, for which the map MEMBERS was made at the start; end xlvs \
             (`xlvs stop`) and start it again to have a larger one",
            elements / 2
        )
    }
}

/// Puts values in these places of an array that grows with its contents.
fn fill<T: Copy>(array: &mut Vec<T>, range: Range, none: T, values: &[T]) {
    for (place, value) in (range.first as usize..).zip(values) {
        set(array, place, none, *value);
    }
}
