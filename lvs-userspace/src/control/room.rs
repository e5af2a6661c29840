//! Where things can lie in an array map. Lists lie one behind the other in one half of it, and move to the other half when
//! any of them changes: so there is always room, and what a packet may be looking at is not written over.

use std::collections::BTreeSet;

/// A run of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// The first one.
    pub(super) first: u32,
    /// How many.
    pub(super) length: u32,
}

impl Range {
    /// The place behind the last one.
    pub(super) const fn end(self) -> u32 {
        self.first + self.length
    }

    /// The first or the second half of so many places.
    pub(super) const fn half(places: u32, second: bool) -> Self {
        let half = places / 2;
        Self { first: if second { half } else { 0 }, length: half }
    }

    /// Whether all of another one is in it; nothing at all is everywhere.
    pub(super) const fn holds(self, other: Self) -> bool {
        other.length == 0 || self.first <= other.first && other.end() <= self.end()
    }
}

/// What is left of one half of an array, or of what others have left of all of it.
#[derive(Clone, Debug)]
pub(super) struct Room {
    /// Free places, in the order in which they are taken.
    free: Vec<Range>,
}

impl Room {
    /// The first or the second half of so many places.
    pub(super) fn half(places: u32, second: bool) -> Self {
        Self { free: vec![Range::half(places, second)] }
    }

    /// What others do not use; that in the first or the second half before that in the other one.
    pub(super) fn beside(used: &[Range], places: u32, second: bool) -> Self {
        let mut used: Vec<Range> = used.iter().copied().filter(|range| range.length > 0).collect();
        used.sort_unstable_by_key(|range| range.first);
        let mut free = Vec::new();
        for half in [Range::half(places, second), Range::half(places, !second)] {
            let mut next = half.first;
            for range in used.iter().filter(|range| range.end() > half.first) {
                let first = range.first.min(half.end());
                if first > next {
                    free.push(Range { first: next, length: first - next });
                }
                next = next.max(range.end());
            }
            if half.end() > next {
                free.push(Range { first: next, length: half.end() - next });
            }
        }
        Self { free }
    }

    /// Takes places one behind the other.
    pub(super) fn take(&mut self, length: u32) -> Option<Range> {
        if length == 0 {
            return Some(Range::default());
        }
        let free = self.free.iter_mut().find(|free| free.length >= length)?;
        let range = Range { first: free.first, length };
        *free = Range { first: range.end(), length: free.length - length };
        Some(range)
    }
}

/// Single places, of which each is used again as late as can be.
#[derive(Clone, Debug)]
pub(super) struct Slots {
    taken: BTreeSet<u32>,
    next: u32,
    count: u32,
}

impl Slots {
    /// So many, of which these are taken; the search begins at `next`.
    pub(super) fn new(taken: BTreeSet<u32>, next: u32, count: u32) -> Self {
        Self { taken, next, count }
    }

    /// Takes a free one.
    pub(super) fn take(&mut self) -> Option<u32> {
        if self.taken.len() >= self.count as usize {
            return None;
        }
        let free = |slot: &u32| !self.taken.contains(slot);
        let slot = (self.next..self.count).chain(0..self.next).find(free)?;
        self.taken.insert(slot);
        self.next = (slot + 1) % self.count;
        Some(slot)
    }

    /// Where the next search begins.
    pub(super) const fn next(&self) -> u32 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_do_not_meet() {
        let (mut first, mut second) = (Room::half(11, false), Room::half(11, true));
        assert_eq!(first.take(3), Some(range(0, 3)));
        assert_eq!(first.take(3), None);
        assert_eq!(first.take(2), Some(range(3, 2)));
        assert_eq!(first.take(0), Some(Range::default()));
        assert_eq!(second.take(5), Some(range(5, 5)));
        assert_eq!(second.take(1), None);
    }

    #[test]
    fn what_is_used_is_passed_over() {
        let used = [range(8, 4), range(2, 2), range(0, 0), range(15, 1)];
        let mut room = Room::beside(&used, 20, true);
        assert_eq!(room.take(3), Some(range(12, 3)));
        assert_eq!(room.take(3), Some(range(16, 3)));
        assert_eq!(room.take(3), Some(range(4, 3)));
        assert_eq!(room.take(2), Some(range(0, 2)));
        assert_eq!(
            [room.take(2), room.take(1), room.take(1)],
            [None, Some(range(19, 1)), Some(range(7, 1))]
        );
        assert!(Range::half(20, true).holds(range(10, 10)));
        assert!(!Range::half(20, true).holds(range(9, 2)));
    }

    const fn range(first: u32, length: u32) -> Range {
        Range { first, length }
    }

    #[test]
    fn a_slot_is_used_again_as_late_as_can_be() {
        let mut slots = Slots::new([1].into(), 3, 4);
        assert_eq!([(); 4].map(|()| slots.take()), [Some(3), Some(0), Some(2), None]);
    }
}
