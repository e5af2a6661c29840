//! What is there of xlvs itself.

use std::path::{Path, absolute};

use lvs_common::abi::Counter;

use super::Unseen;
use crate::{
    bpf::{PinnedMaps, Survey},
    clock,
    control::{
        Place, Told,
        found::{Controller, Given},
    },
    doctor::facts::State,
    inspect,
};

/// Where systemd looks for units of an administrator and of packages (systemd.unit(5)).
const UNITS: [&str; 3] =
    ["/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system"];

/// Reads pins and what the controller has told.
pub(super) fn read(place: &Place, unseen: &mut Unseen) -> State {
    let survey = Survey::of(&place.pin_dir).unwrap_or_else(|error| {
        unseen.push(("pins", error.to_string()));
        Survey::default()
    });
    let controller = Controller::of(place).unwrap_or_else(|error| {
        unseen.push(("controller", format!("{error:#}")));
        None
    });
    let told = if survey.data_plane { Told::read(place) } else { Ok(None) };
    let told = told.unwrap_or_else(|error| {
        unseen.push(("health and edits", format!("{error:#}")));
        None
    });
    State {
        pin_dir: absolute(&place.pin_dir).unwrap_or_else(|_| place.pin_dir.clone()),
        runtime_dir: place.runtime_dir.clone(),
        survey,
        last_run: Given::last(&place.runtime_dir),
        told,
        controller,
        unit: UNITS.iter().any(|folder| Path::new(folder).join("xlvs.service").exists()),
        counters: Vec::new(),
        now: clock::now(),
    }
}

/// Packets by what became of them; `None` where there is no data plane to read.
pub(super) fn counters(pin_dir: &Path) -> Option<Vec<(Counter, u64)>> {
    inspect::counters(&PinnedMaps::open(pin_dir).ok()?).ok()
}

/// With what has come since an earlier look.
pub(super) fn during(
    before: &[(Counter, u64)],
    after: Vec<(Counter, u64)>,
) -> Vec<(Counter, u64, u64)> {
    let earlier = |counter| before.iter().find(|(one, _)| *one == counter).map(|(_, count)| *count);
    let with = |(counter, count): (Counter, u64)| {
        let since = count.saturating_sub(earlier(counter).unwrap_or(count));
        (counter, count, since)
    };
    after.into_iter().map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_meanwhile_is_the_difference() {
        let after = vec![(Counter::NoRoute, 9), (Counter::TableFull, 2)];
        assert_eq!(
            during(&[(Counter::NoRoute, 5)], after),
            [(Counter::NoRoute, 9, 4), (Counter::TableFull, 2, 0)]
        );
    }
}
