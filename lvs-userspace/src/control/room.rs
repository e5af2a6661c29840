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

/// What is left of one half of an array.
#[derive(Clone, Copy, Debug)]
pub(super) struct Half {
    next: u32,
    end: u32,
}

impl Half {
    /// The first or the second half of so many places.
    pub(super) const fn of(places: u32, second: bool) -> Self {
        let half = places / 2;
        if second { Self { next: half, end: 2 * half } } else { Self { next: 0, end: half } }
    }

    /// Takes the next places.
    pub(super) const fn take(&mut self, length: u32) -> Option<Range> {
        if length > self.end - self.next {
            return None;
        }
        let range = Range { first: self.next, length };
        self.next += length;
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
        let (mut first, mut second) = (Half::of(11, false), Half::of(11, true));
        assert_eq!(first.take(3), Some(Range { first: 0, length: 3 }));
        assert_eq!(first.take(3), None);
        assert_eq!(first.take(2), Some(Range { first: 3, length: 2 }));
        assert_eq!(first.take(0), Some(Range { first: 5, length: 0 }));
        assert_eq!(second.take(5), Some(Range { first: 5, length: 5 }));
        assert_eq!(second.take(1), None);
    }

    #[test]
    fn a_slot_is_used_again_as_late_as_can_be() {
        let mut slots = Slots::new([1].into(), 3, 4);
        assert_eq!([(); 4].map(|()| slots.take()), [Some(3), Some(0), Some(2), None]);
    }
}
