//! The demo: a client, the balancer and two web servers in network namespaces, `xlvs run` with the
//! example file between them, and a look at who answered and what the kernel counted.
//!
//! `cargo xtask demo` builds everything and runs this. Whatever happens, Ctrl-C included, all of it
//! is taken down at the end; what a demo that was killed has left behind, the next one removes.

mod acts;
mod interrupt;
mod leftovers;
mod stage;
mod terminal;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, Subcommand};
use lvs_tests::{http, skip, xlvs};

use crate::interrupt::Interrupt;
use crate::leftovers::Leftovers;
use crate::stage::Stage;

/// What a shell reports for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Shows xlvs at work between a client and two web servers, in network namespaces.
#[derive(Debug, Parser)]
#[command(name = "xlvs-demo", args_conflicts_with_subcommands = true)]
struct Arguments {
    /// The xlvs binary [default: that of the same target folder]
    #[arg(long, value_name = "PATH")]
    xlvs: Option<PathBuf>,
    /// Leave everything running at the end, to play with
    #[arg(long)]
    keep: bool,
    /// Take down what `--keep` or a killed demo has left
    #[arg(long, conflicts_with = "keep")]
    down: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Be one of the web servers
    #[command(hide = true)]
    Serve { name: String, address: SocketAddr },
}

/// What the demo calls; `cargo xtask demo` installs it.
const COMMANDS: [&str; 6] = ["ip", "nsenter", "setpriv", "ethtool", "bpftool", "curl"];

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<interrupt::Interrupted>() => {
            terminal::say("\ninterrupted; everything is taken down");
            ExitCode::from(INTERRUPTED)
        }
        Err(error) => {
            terminal::complain(&format!("xlvs-demo: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let Arguments { xlvs, keep, down, command } = arguments;
    if let Some(Command::Serve { name, address }) = command {
        return http::server::serve(&name, address);
    }
    if let Some(reason) = skip::reason(&COMMANDS) {
        bail!("the demo {reason}");
    }
    let interrupt = Interrupt::watch()?;
    if Leftovers::find()?.remove()? {
        terminal::say("an earlier demo was still standing; it is taken down");
    } else if down {
        terminal::say("no demo is standing");
    }
    if down {
        return Ok(());
    }
    let binary = xlvs.map_or_else(xlvs::binary, Ok)?;
    let mut stage = Stage::build(&binary, keep)?;
    acts::play(&mut stage, &interrupt)?;
    stage.end(keep)
}
