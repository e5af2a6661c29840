//! Which places of an array map are taken: services keep theirs while others come and go, and a list that is replaced
//! stays where it is until no packet can be looking at it.

/// A run of places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Range {
    /// The first one.
    pub(super) first: u32,
    /// How many.
    pub(super) length: u32,
}

impl Range {
    pub(super) const fn end(self) -> u32 {
        self.first.saturating_add(self.length)
    }
}

/// The places of an array that are free.
#[derive(Clone, Debug)]
pub(super) struct Free(Vec<Range>);

impl Free {
    /// All places of an array but these.
    pub(super) fn but(taken: impl IntoIterator<Item = Range>, places: u32) -> Self {
        let mut taken: Vec<Range> = taken.into_iter().filter(|range| range.length > 0).collect();
        taken.sort_unstable_by_key(|range| range.first);
        let mut free = Vec::new();
        let mut from = 0;
        for range in taken.into_iter().chain([Range { first: places, length: 0 }]) {
            if range.first > from {
                free.push(Range { first: from, length: range.first - from });
            }
            from = from.max(range.end());
        }
        Self(free)
    }

    /// Takes the first run of so many places.
    pub(super) fn take(&mut self, length: u32) -> Option<Range> {
        if length == 0 {
            return Some(Range::default());
        }
        let place = self.0.iter().position(|free| free.length >= length)?;
        let free = self.0.get_mut(place)?;
        let taken = Range { first: free.first, length };
        *free = Range { first: free.first + length, length: free.length - length };
        if free.length == 0 {
            self.0.remove(place);
        }
        Some(taken)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn range(first: u32, length: u32) -> Range {
        Range { first, length }
    }

    #[test]
    fn the_first_gap_that_is_long_enough_is_taken() {
        let mut free = Free::but([range(10, 5), range(0, 2), range(4, 0)], 20);
        assert_eq!(free.take(9), None);
        assert_eq!(free.take(8), Some(range(2, 8)));
        assert_eq!(free.take(3), Some(range(15, 3)));
        assert_eq!(free.take(0), Some(Range::default()));
        assert_eq!(free.take(2), Some(range(18, 2)));
        assert_eq!(free.take(1), None);
    }
}
