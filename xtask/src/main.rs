//! `cargo xtask`: what a person runs while developing lvs-ebpf. It sets up what a fresh machine
//! lacks, so it is the first thing that gets compiled and keeps its own dependencies few.

mod bench;
mod build_ebpf;
mod demo;
mod elf;
mod fuzz;
mod linker;
mod nextest;
mod oracle;
mod packages;
mod samples;
mod shell;
mod test;
mod toolchain;
mod version;
mod workspace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Build, show and test lvs-ebpf; what is missing on this machine is set up first.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Compile the BPF object, with its toolchain and linker found or installed.
    BuildEbpf,
    /// Measure what a packet costs in the kernel (needs root).
    Bench {
        /// Passed on to the bench: --help tells what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Show the load balancer at work between network namespaces (needs root).
    Demo {
        /// Passed on to the demo: --keep leaves it standing, --down takes it down.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Have libFuzzer look for packets and events that the engine does not survive, or for such configurations.
    Fuzz {
        /// What is fuzzed.
        #[arg(long, value_enum, default_value_t = fuzz::Target::Engine)]
        target: fuzz::Target,
        /// How long.
        #[arg(long, value_name = "SECONDS", default_value_t = 60)]
        time: u32,
        /// Runs this input once, and shows it step by step.
        #[arg(long, value_name = "FILE")]
        input: Option<PathBuf>,
    },
    /// Compare with what real IPVS was recorded to do (needs root).
    Oracle {
        /// Record that anew: `tests/oracle/record.py` is run through this command, which brings it to a kernel with IPVS.
        #[arg(long, value_name = "COMMAND", num_args = 0.., allow_hyphen_values = true)]
        record: Option<Vec<OsString>>,
    },
    /// Run what CI runs: format, lints, host tests and, as root, the tests that need a kernel.
    Test {
        /// Leave out the tests that load programs and make network namespaces.
        #[arg(long)]
        no_kernel: bool,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Task::BuildEbpf => build_ebpf::run(),
        Task::Bench { arguments } => bench::run(&arguments),
        Task::Demo { arguments } => demo::run(&arguments),
        Task::Fuzz { target, time, input } => fuzz::run(target, time, input.as_deref()),
        Task::Oracle { record: Some(command) } => oracle::record(&command),
        Task::Oracle { record: None } => oracle::compare(),
        Task::Test { no_kernel } => test::run_all(no_kernel),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            shell::say(format_args!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
