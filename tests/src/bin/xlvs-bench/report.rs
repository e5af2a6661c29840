//! The report, in Markdown, with a target beside each figure that has one.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};

use crate::case::{Case, Family, Hook, Method};
use crate::choice;
use crate::choice_report;
use crate::front_end;
use crate::measure::{Cost, Figures, Kind, Plan, Results};
use crate::system;

const BEGIN: &str = "<!-- cargo xtask bench: begin -->";
const END: &str = "<!-- cargo xtask bench: end -->";

/// In place of a figure that says nothing.
const NONE: &str = "—";

/// At most so many floors for a packet of an established connection.
const FLOORS_V4: f64 = 1.6;
const FLOORS_V6: f64 = 2.0;
/// Full NAT against NAT.
const FULL_NAT: f64 = 1.1;
/// For a packet that is not ours, in ns.
const NOT_OURS: f64 = 40.0;
/// Memory of so many IPv4 connections, in bytes.
const MEMORY: (u32, u64) = (1_000_000, 400_000_000);

/// All results.
pub(crate) struct Report {
    rounds: u32,
    results: Vec<Results>,
    schedulers: Vec<choice::Figures>,
    front_end: Option<front_end::Figures>,
    left_out: Vec<(Case, String)>,
}

impl Report {
    pub(crate) const fn new(plan: &Plan) -> Self {
        Self {
            rounds: plan.rounds,
            results: Vec::new(),
            schedulers: Vec::new(),
            front_end: None,
            left_out: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, results: Results) {
        self.results.push(results);
    }

    pub(crate) fn add_schedulers(&mut self, figures: Vec<choice::Figures>) {
        self.schedulers = figures;
    }

    pub(crate) const fn add_front_end(&mut self, figures: front_end::Figures) {
        self.front_end = Some(figures);
    }

    pub(crate) fn leave_out(&mut self, case: Case, reason: &str) {
        self.left_out.push((case, reason.to_owned()));
    }

    /// The text.
    pub(crate) fn markdown(&self) -> String {
        let mut text = String::new();
        let mut missed = Vec::new();
        let _ = writeln!(
            text,
            "Taken on {}: Linux {}, {}; `cargo xtask bench`, medians of {} rounds.\n\n\
             Times are ns per packet without the wrapper, in brackets in floors: the least that a \
             stateful balancer does, one look-up in a table of the same kind, fill and key size, and \
             eight bytes written. A figure in **bold** misses its target.\n",
            system::date(),
            system::kernel(),
            system::processor(),
            self.rounds
        );
        for results in &self.results {
            self.table(results, &mut text, &mut missed);
        }
        choice_report::section(&self.schedulers, &mut text, &mut missed);
        if let Some(figures) = &self.front_end {
            front_end::section(figures, &mut text, &mut missed);
        }
        for (case, reason) in &self.left_out {
            let _ = writeln!(text, "Not measured: {case}, {reason}.");
        }
        if !self.left_out.is_empty() {
            text.push('\n');
        }
        if missed.is_empty() {
            text.push_str("All targets are met.\n");
        } else {
            let _ = writeln!(text, "**Targets missed** ({}):\n", missed.len());
            for line in missed {
                let _ = writeln!(text, "- {line}");
            }
        }
        text
    }

    fn table(&self, results: &Results, text: &mut String, missed: &mut Vec<String>) {
        let case = results.case;
        let _ = writeln!(text, "### {case}\n");
        let sizes = results.figures.iter().map(|figures| grouped(figures.connections));
        row(text, "connections", sizes, "target");
        let _ = writeln!(text, "|---|{}---|", "--:|".repeat(results.figures.len()));
        let plain = |value: f64| format!("{value:.1}");
        row(text, "the wrapper alone", results.figures.iter().map(|f| plain(f.wrapper)), "");
        row(text, "the floor", results.figures.iter().map(|f| plain(f.floor)), "");
        for (kind, name) in [
            (Kind::Forward, "established, from the client"),
            (Kind::Reverse, "established, from the server"),
            (Kind::New, "new connection"),
            (Kind::OtherPort, "not ours: another port of the box"),
            (Kind::OtherPortFew, "… from 1,000 senders at most"),
            (Kind::Foreign, "not ours: another address"),
            (Kind::Echo, "not ours: echo request"),
            (Kind::Arp, "not ours: ARP"),
        ] {
            let target = target(case, kind);
            let cells = results.figures.iter().map(|figures| {
                let Some(cost) = figures.costs.iter().find(|cost| cost.kind == kind) else {
                    return NONE.to_owned();
                };
                // One packet says nothing: the system call around it is in the figure.
                if kind == Kind::New && figures.connections < 1000 {
                    return NONE.to_owned();
                }
                let cell = format!("{:.1} ({:.2})", cost.time, cost.floors);
                let wrong = self.misses(case, figures, cost);
                for wrong in &wrong {
                    let connections = grouped(figures.connections);
                    missed.push(format!("{case}, {connections} connections, {name}: {wrong}"));
                }
                if wrong.is_empty() { cell } else { format!("**{cell}**") }
            });
            row(text, name, cells.collect::<Vec<_>>().into_iter(), &target);
        }
        memory(results, text, missed);
        text.push('\n');
    }

    /// What is wrong with a figure.
    fn misses(&self, case: Case, figures: &Figures, cost: &Cost) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut at_most = |value: f64, limit: f64, unit: &str| {
            if value > limit {
                wrong.push(format!("{value:.2} {unit}, at most {limit} wanted"));
            }
        };
        match cost.kind {
            Kind::Forward | Kind::Reverse if case.hook == Hook::Xdp => {
                at_most(cost.floors, floors(case.family), "floors");
                if case.method == Method::FullNat
                    && let Some(other) = self.with_nat(case, figures, cost.kind)
                {
                    at_most(cost.floors / other, FULL_NAT, "times NAT");
                }
            }
            Kind::OtherPort | Kind::Foreign | Kind::Echo | Kind::Arp if case.hook == Hook::Xdp => {
                at_most(cost.time, NOT_OURS, "ns");
            }
            _ => {}
        }
        wrong
    }

    /// The floors of the same packet with NAT: that case was measured at another time, when the machine may have
    /// been faster or slower.
    fn with_nat(&self, case: Case, figures: &Figures, kind: Kind) -> Option<f64> {
        let other = Case { method: Method::Nat, ..case };
        let results = self.results.iter().find(|results| results.case == other)?;
        let figures = results.figures.iter().find(|f| f.connections == figures.connections)?;
        Some(figures.costs.iter().find(|cost| cost.kind == kind)?.floors)
    }
}

/// The rows about memory.
fn memory(results: &Results, text: &mut String, missed: &mut Vec<String>) {
    let (connections, limit) = MEMORY;
    let is_aim =
        |figures: &Figures| results.case.family == Family::V4 && figures.connections >= connections;
    let cells = results.figures.iter().map(|figures| {
        let Some(memory) = figures.memory else { return NONE.to_owned() };
        let sum = memory.entries + memory.table;
        let cell = megabytes(sum);
        if !is_aim(figures) || sum <= limit {
            return cell;
        }
        let (case, count) = (results.case, grouped(figures.connections));
        let limit = megabytes(limit);
        missed
            .push(format!("{case}, memory of {count} connections: {cell}, at most {limit} wanted"));
        format!("**{cell}**")
    });
    let cells = cells.collect::<Vec<_>>();
    let target = if results.figures.iter().any(is_aim) {
        format!("≤ {} for {}", megabytes(limit), grouped(connections))
    } else {
        String::new()
    };
    row(text, "memory: buckets and entries", cells.into_iter(), &target);
    let each = results.figures.iter().map(|figures| {
        let Some(memory) = figures.memory else { return NONE.to_owned() };
        format!("{} bytes", memory.entries / (2 * u64::from(figures.connections)))
    });
    row(text, "… each of two entries", each, "");
    let stated = results.figures.iter().map(|figures| {
        figures.memory.map_or_else(|| NONE.to_owned(), |memory| megabytes(memory.stated))
    });
    row(text, "… as the map states it", stated, "");
}

fn megabytes(bytes: u64) -> String {
    let tenths = bytes / 100_000;
    format!("{}.{} MB", tenths / 10, tenths % 10)
}

const fn floors(family: Family) -> f64 {
    match family {
        Family::V4 => FLOORS_V4,
        Family::V6 => FLOORS_V6,
    }
}

fn target(case: Case, kind: Kind) -> String {
    if case.hook == Hook::Tc {
        return String::new();
    }
    match kind {
        Kind::Forward | Kind::Reverse => {
            let floors = floors(case.family);
            match case.method {
                Method::Nat => format!("≤ {floors:.1} floors"),
                Method::FullNat => format!("≤ {floors:.1} floors, ≤ {FULL_NAT} × NAT"),
            }
        }
        Kind::New | Kind::OtherPortFew => String::new(),
        Kind::OtherPort | Kind::Foreign | Kind::Echo | Kind::Arp => format!("≤ {NOT_OURS} ns"),
    }
}

pub(crate) fn row(
    text: &mut String,
    name: &str,
    cells: impl Iterator<Item = String>,
    target: &str,
) {
    let _ = write!(text, "| {name} |");
    for cell in cells {
        let _ = write!(text, " {cell} |");
    }
    let _ = writeln!(text, " {target} |");
}

/// `1,000,000`.
pub(crate) fn grouped(number: u32) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Puts the report between the marks of a file; a file without marks gets them at its end.
pub(crate) fn write(path: &Path, report: &str) -> Result<()> {
    let old = match fs::read_to_string(path) {
        Ok(old) => old,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error).with_context(|| path.display().to_string()),
    };
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    fs::write(path, replaced(&old, report)).with_context(|| path.display().to_string())
}

fn replaced(old: &str, report: &str) -> String {
    let marked = old.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before.to_owned(), after.to_owned()))
    });
    let (before, after) = marked.unwrap_or_else(|| {
        let before =
            if old.is_empty() { "# Performance\n\n".to_owned() } else { format!("{old}\n") };
        (before, "\n".to_owned())
    });
    format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", report.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let first = replaced("", "one\n");
        assert_eq!(first, format!("# Performance\n\n{BEGIN}\n\none\n\n{END}\n"));
        let with_more = format!("{first}more\n");
        assert_eq!(replaced(&with_more, "two"), with_more.replace("one", "two"));
        assert!(replaced("text\n", "one").starts_with("text\n\n<!--"));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(
            [1, 1_000, 100_000, 1_000_000].map(grouped),
            ["1", "1,000", "100,000", "1,000,000"]
        );
    }
}
