//! The section of the report about new connections by scheduler: a table for each number of connections that were there
//! before, and how the costs grow.

use std::fmt::Write as _;

use crate::choice::{Cost, Figures};
use crate::report::{grouped, row};
use crate::schedulers::{self, COUNTS, MANY, SOME, Scheduler, Target};

/// Less than this for each further server, in ns, is no walk over them. It is the caches: a thousand servers that take
/// turns fall out of the first ones.
const WALKS: f64 = 1.5;

/// Writes the section, and into `missed` which targets are missed.
pub(crate) fn section(all: &[Figures], text: &mut String, missed: &mut Vec<String>) {
    if all.is_empty() {
        return;
    }
    text.push_str("### New connections by scheduler, IPv4 NAT TCP XDP\n\n");
    let _ = writeln!(
        text,
        "What a SYN costs that opens a connection, in packets of established connections (from the client) in the same \
         table and round, in brackets in ns. \"Each further\" is the difference between {} and {} servers, for each \
         server, in ns.\n",
        grouped(SOME.into()),
        grouped(MANY.into())
    );
    for figures in all {
        table(figures, text);
        growth(figures, text);
        missed.extend(misses(figures));
    }
}

fn table(figures: &Figures, text: &mut String) {
    let _ = writeln!(
        text,
        "With {} connections in the table, where an established packet costs {:.1} ns:\n",
        grouped(figures.connections),
        figures.unit
    );
    let head = COUNTS.map(|servers| format!("{} servers", grouped(servers.into())));
    let head = head.into_iter().chain(["each further".to_owned()]);
    row(text, "scheduler", head, "target");
    let _ = writeln!(text, "|---|{}---|", "--:|".repeat(COUNTS.len() + 1));
    for scheduler in schedulers::ALL {
        let cells = COUNTS.iter().filter_map(|servers| {
            let cost = cost(figures, scheduler, *servers)?;
            let cell = format!("{:.1} ({:.0})", cost.units, cost.time);
            Some(if is_missed(cost) { format!("**{cell}**") } else { cell })
        });
        let further = each_further(figures, scheduler).map(|time| format!("{time:.1}"));
        row(text, scheduler.name, cells.chain(further), &target(scheduler.target));
    }
    text.push('\n');
}

fn target(target: Target) -> String {
    match target {
        Target::None => String::new(),
        Target::Always(limit) => format!("≤ {limit}"),
        Target::UpTo(servers, limit) => {
            format!("≤ {limit} up to {} servers", grouped(servers.into()))
        }
    }
}

/// What follows from the figures about growth.
fn growth(figures: &Figures, text: &mut String) {
    let slopes = schedulers::ALL.into_iter().filter_map(|scheduler| {
        each_further(figures, scheduler).map(|time| (scheduler.name, time))
    });
    let (growing, constant): (Vec<_>, Vec<_>) = slopes.partition(|(_, time)| *time >= WALKS);
    let names =
        |list: &[(&str, f64)]| list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let (some, many) = (grouped(SOME.into()), grouped(MANY.into()));
    if !constant.is_empty() {
        let _ = writeln!(
            text,
            "From {some} to {many} servers a new connection costs the same, to {WALKS} ns for each server, with {}.",
            names(&constant)
        );
    }
    let times = || growing.iter().map(|(_, time)| *time);
    if let (Some(least), Some(most)) = (times().reduce(f64::min), times().reduce(f64::max)) {
        let _ = writeln!(
            text,
            "It grows in proportion to the servers with {}: by {least:.1} to {most:.1} ns for each, which is an \
             established packet for every {:.0} to {:.0} servers.",
            names(&growing),
            figures.unit / most,
            figures.unit / least
        );
    }
    text.push('\n');
}

/// The lines about missed targets: one for all schedulers that share one.
fn misses(figures: &Figures) -> Vec<String> {
    let mut lines = Vec::new();
    let mut targets: Vec<Target> = Vec::new();
    for scheduler in schedulers::ALL {
        if !targets.contains(&scheduler.target) {
            targets.push(scheduler.target);
        }
    }
    for wanted in targets {
        let bad: Vec<&Cost> = figures
            .costs
            .iter()
            .filter(|cost| cost.service.scheduler.target == wanted && is_missed(cost))
            .collect();
        let units = || bad.iter().map(|cost| cost.units);
        let (Some(least), Some(most)) = (units().reduce(f64::min), units().reduce(f64::max)) else {
            continue;
        };
        let mut names: Vec<&str> = bad.iter().map(|cost| cost.service.scheduler.name).collect();
        names.dedup();
        lines.push(format!(
            "New connections beside {} others, {}: {least:.1} to {most:.1} established packets, {} wanted",
            grouped(figures.connections),
            names.join(", "),
            target(wanted)
        ));
    }
    lines
}

fn is_missed(cost: &Cost) -> bool {
    let target = cost.service.scheduler.target.with(cost.service.servers);
    target.is_some_and(|limit| cost.units > limit)
}

/// ns for each further server.
fn each_further(figures: &Figures, scheduler: Scheduler) -> Option<f64> {
    let time = |servers| cost(figures, scheduler, servers).map(|cost| cost.time);
    Some((time(MANY)? - time(SOME)?) / f64::from(MANY - SOME))
}

fn cost(figures: &Figures, scheduler: Scheduler, servers: u16) -> Option<&Cost> {
    figures.costs.iter().find(|cost| {
        cost.service.scheduler.name == scheduler.name && cost.service.servers == servers
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every service costs 5 packets; those of lc 10 ns more with each server.
    fn figures() -> Figures {
        let unit = 100.0;
        let costs = schedulers::services().map(|service| {
            let more = if service.scheduler.name == "lc" { service.servers } else { 0 };
            let units = 5.0 + f64::from(more) / 10.0;
            Cost { service, time: units * unit, units }
        });
        Figures { connections: 1_000, unit, costs: costs.collect() }
    }

    #[test]
    fn growth_is_worked_out() {
        let mut text = String::new();
        growth(&figures(), &mut text);
        assert!(text.contains("with rr, wrr, sh,"), "{text}");
        assert!(text.contains("with lc: by 10.0 to 10.0 ns for each"), "{text}");
    }

    #[test]
    fn only_missed_targets_are_listed() {
        let mut figures = figures();
        // With 100 servers and lc; without a target with 1,000.
        let lines = misses(&figures);
        assert_eq!(lines.len(), 0, "{lines:?}");
        for cost in &mut figures.costs {
            cost.units += 2.0;
        }
        let lines = misses(&figures);
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[1].contains(", lc: 17.0 to 17.0 established packets, ≤ 15"), "{lines:?}");
    }
}
