//! The bench: what the kernel's program costs per packet, beside the least that a stateful balancer
//! can cost, and what the connections cost in memory.
//!
//! `cargo xtask bench` builds everything and runs this. It touches no interface of the machine: the
//! packets run through `BPF_PROG_TEST_RUN` in network namespaces of their own. A target that is missed
//! is said, and is no failure: on a busy machine it may be the machine's.

mod case;
mod choice;
mod choice_report;
mod engine;
mod frame;
mod front_end;
mod measure;
mod memory;
mod place;
mod report;
mod schedulers;
mod statistics;
mod system;
mod wrapper;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use lvs_tests::skip;

use crate::case::Case;
use crate::measure::Plan;
use crate::report::Report;

/// The name of the part about schedulers.
const SCHEDULERS: &str = "schedulers";

/// Measures what a packet costs in the kernel.
#[derive(Debug, Parser)]
#[command(name = "xlvs-bench", bin_name = "cargo xtask bench --")]
struct Arguments {
    /// The bench's BPF object
    #[arg(long, value_name = "PATH", hide = true)]
    object: PathBuf,
    /// Write the report into this file too, between its marks
    #[arg(long, value_name = "PATH")]
    write: Option<PathBuf>,
    /// Only the cases whose name contains this, such as "IPv6 NAT", or "schedulers", or "config"
    #[arg(long, value_name = "WORDS")]
    only: Option<String>,
    /// Numbers of connections
    #[arg(long, value_name = "N", value_delimiter = ',', default_values_t = [1, 1_000, 100_000, 1_000_000],
        value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sizes: Vec<u32>,
    /// Rounds of each measurement; the median is taken
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("xlvs-bench: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if let Some(reason) = skip::reason(&["ip", "nsenter"]) {
        bail!("the bench {reason}");
    }
    let named = |name: &str| arguments.only.as_ref().is_none_or(|words| name.contains(words));
    let wanted = |case: &Case| named(&case.to_string());
    let plan = Plan {
        object: std::fs::read(&arguments.object)?,
        sizes: arguments.sizes.clone(),
        rounds: arguments.rounds,
    };
    let mut report = Report::new(&plan);
    for case in case::all().into_iter().filter(wanted) {
        match engine::objection(case) {
            Some(objection) => report.leave_out(case, &objection),
            None => report.add(place::with(case, &[], || measure::measure(case, &plan))?),
        }
    }
    if named(SCHEDULERS) {
        let links = schedulers::links(place::SERVER_SIDE);
        let choose = || choice::measure(&plan);
        report.add_schedulers(place::with(schedulers::CASE, &links, choose)?);
    }
    if named(front_end::NAME) {
        report.add_front_end(front_end::measure(plan.rounds)?);
    }
    let text = report.markdown();
    // A reader that goes away must not keep the file from being written.
    writeln!(std::io::stdout(), "{text}").ok();
    if let Some(path) = &arguments.write {
        report::write(path, &text)?;
    }
    Ok(())
}

/// One line for the person who waits.
fn progress(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}
