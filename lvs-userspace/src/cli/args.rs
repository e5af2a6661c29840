//! The arguments of `xlvs`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::{bpf::Mode, control::Options};

/// An XDP layer-4 load balancer that takes the place of LVS.
#[derive(Debug, Parser)]
#[command(
    name = "xlvs",
    version,
    about = "An XDP layer-4 load balancer that takes the place of LVS",
    arg_required_else_help = true
)]
pub(super) struct Args {
    /// How much to log; `debug` also logs what the data path drops.
    #[arg(long, global = true, value_enum, default_value_t = LogLevel::Info)]
    pub(super) log_level: LogLevel,
    #[command(subcommand)]
    pub(super) command: Command,
}

/// How much to log.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Attach to interfaces and balance until SIGTERM or SIGINT.
    ///
    /// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 configuration invalid, 4 kernel or permissions lack
    /// something.
    Run(Run),
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The configuration, in keepalived's language.
    #[arg(long, value_name = "FILE", default_value = "/etc/keepalived/keepalived.conf")]
    config: PathBuf,
    /// An interface to attach to; give every one that faces clients and every one that faces servers.
    #[arg(long = "interface", value_name = "IF", required = true)]
    interfaces: Vec<String>,
    /// How to attach.
    #[arg(long, value_enum, default_value_t = Mode::Auto)]
    mode: Mode,
    /// Where maps and links are pinned: `v<ABI>/maps` and `v<ABI>/links` below it.
    #[arg(long, value_name = "DIR", default_value = "/sys/fs/bpf/xlvs")]
    pin_dir: PathBuf,
    /// Where the process id is kept, and the verifier's log should it refuse the program.
    #[arg(long, value_name = "DIR", default_value = "/run/xlvs")]
    runtime_dir: PathBuf,
}

impl From<Run> for Options {
    fn from(run: Run) -> Self {
        let Run { config, interfaces, mode, pin_dir, runtime_dir } = run;
        Self { config, interfaces, mode, pin_dir, runtime_dir }
    }
}
