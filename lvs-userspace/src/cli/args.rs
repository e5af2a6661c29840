//! The arguments of `xlvs`.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

use clap::{Parser, Subcommand, ValueEnum};

use lvs_common::abi::DEFAULT_CONNECTIONS;

use crate::{
    bpf::{Mode, Trace},
    control::Options,
};

/// Below what the kernel makes a hash map for, which has two entries for each.
const MOST_CONNECTIONS: i64 = 50_000_000;

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
    /// Show virtual services and real servers, with their weights and connections.
    List(super::inspect::List),
    /// Show connections and persistent clients.
    Connections(super::inspect::Connections),
    /// Show what was counted: for services and servers, and packets that were not sent on.
    Stats(super::inspect::Stats),
    /// Be ipvsadm: its command line, its listings; `xlvs ipvsadm -Ln`.
    #[command(disable_help_flag = true)]
    Ipvsadm(Ipvsadm),
}

/// `xlvs ipvsadm`: what comes after the first argument that is not an option here is ipvsadm's.
#[derive(Debug, clap::Args)]
pub(super) struct Ipvsadm {
    #[command(flatten)]
    pub(super) pins: super::places::PinDir,
    #[command(flatten)]
    pub(super) runtime: super::places::RuntimeDir,
    /// Arguments of ipvsadm.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(super) words: Vec<String>,
}

#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
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
    /// How many connections of each address family fit; the memory is taken as they come.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_CONNECTIONS, value_parser = clap::value_parser!(u32).range(1..=MOST_CONNECTIONS))]
    max_connections: u32,
    /// Let any TCP segment but a reset open a connection, to take over those of another balancer.
    #[arg(long)]
    sloppy_tcp: bool,
    /// End connections whose real server was removed, instead of dropping their packets until it comes back.
    #[arg(long)]
    expire_nodest_conn: bool,
    /// Let persistence end when the real server's weight is 0.
    #[arg(long)]
    expire_quiescent_template: bool,
    /// Log single decisions: new connections, their states, and why one was refused.
    #[arg(long)]
    trace: bool,
    /// Trace this client only.
    #[arg(long, value_name = "ADDRESS", requires = "trace")]
    trace_client: Option<IpAddr>,
    /// Trace this service only: its address, and port if given (`[ADDRESS]:PORT` for IPv6).
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "trace", value_parser = service)]
    trace_service: Option<(IpAddr, Option<u16>)>,
}

/// A service by its address, with or without port.
fn service(text: &str) -> Result<(IpAddr, Option<u16>), String> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((address.ip(), Some(address.port())));
    }
    text.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .map(|address| (address, None))
        .map_err(|_| "write ADDRESS, ADDRESS:PORT or [ADDRESS]:PORT".to_owned())
}

impl From<Run> for Options {
    fn from(run: Run) -> Self {
        let Run {
            config,
            interfaces,
            mode,
            pin_dir,
            runtime_dir,
            max_connections,
            sloppy_tcp,
            expire_nodest_conn,
            expire_quiescent_template,
            trace,
            trace_client,
            trace_service,
        } = run;
        let trace = trace.then(|| Trace {
            client: trace_client,
            address: trace_service.map(|(address, _)| address),
            port: trace_service.and_then(|(_, port)| port),
        });
        Self {
            config,
            interfaces,
            mode,
            pin_dir,
            runtime_dir,
            max_connections,
            sloppy_tcp,
            expire_nodest_conn,
            expire_quiescent_template,
            trace,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_has_an_address_and_perhaps_a_port() {
        for (text, port) in [
            ("10.0.0.1", None),
            ("10.0.0.1:80", Some(80)),
            ("fd00::1", None),
            ("[fd00::1]", None),
            ("[fd00::1]:80", Some(80)),
        ] {
            assert_eq!(service(text).unwrap().1, port, "{text}");
        }
        assert!(service("web:80").is_err());
    }
}
