//! The arguments of `xlvs`.

use std::{
    net::{IpAddr, SocketAddr},
    path::{self, PathBuf},
};

use clap::{Parser, Subcommand, ValueEnum};

use lvs_common::abi::DEFAULT_CONNECTIONS;

use crate::{
    bpf::{Mode, Trace},
    config::{NotAllowed, Policy, host_name},
    control::{Options, Place},
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
    /// How to log to stderr; without it the log goes to systemd's journal where that reads stderr, else it is text.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(super) log_format: Option<LogFormat>,
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

/// How to log to stderr.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object in each line: `timestamp`, `level`, `message`, `target`.
    Json,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Attach to interfaces and balance until SIGTERM or SIGINT.
    ///
    /// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 configuration invalid, 4 kernel or permissions lack
    /// something.
    Run(Run),
    /// Read a configuration and say what is wrong with it, on standard output.
    ///
    /// Exit codes: 0 if it can be used, 3 if not (with `--strict` also if there are warnings), 1 if it cannot be read,
    /// 2 on wrong usage.
    Check(Check),
    /// Show, compare and explain configurations.
    #[command(subcommand)]
    Config(Config),
    /// Have the running xlvs read its configuration again, and say what was found in it and how that went.
    ///
    /// One that is still starting is waited for; after 60 s in all nothing is. Exit codes: 0 it is in use, 3 it is invalid
    /// and what was in use goes on, 1 failed, 2 wrong usage, 4 kernel or permissions lack something.
    Reload(Reload),
    /// End the running xlvs and its data plane, or what a killed one has left: nothing stays.
    Stop(Stop),
    /// Look for what keeps packets from being balanced, and say what mends it. Nothing is changed.
    ///
    /// Exit codes: 0 there is no problem (warnings or none), 1 there is one, 2 wrong usage.
    Doctor(super::doctor::Doctor),
    /// Show virtual services and real servers: who is down and why, weights, connections, and what was edited.
    List(super::list::List),
    /// Show connections and persistent clients.
    Connections(super::inspect::Connections),
    /// Show what was counted: for services and servers, and packets that were not sent on.
    Stats(super::inspect::Stats),
    /// Be ipvsadm: its command line, its listings; `xlvs ipvsadm -Ln`.
    #[command(disable_help_flag = true)]
    Ipvsadm(Ipvsadm),
}

/// What `xlvs reload` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Reload {
    #[command(flatten)]
    pub(super) place: Place,
    /// Have what was edited at runtime (`xlvs ipvsadm`) count no more: only the file does.
    #[arg(long)]
    pub(super) discard_edits: bool,
}

/// `xlvs ipvsadm`: all that comes after it is ipvsadm's, but for the directories of an instance.
#[derive(Debug, clap::Args)]
pub(super) struct Ipvsadm {
    /// Arguments of ipvsadm, and anywhere among them --pin-dir DIR and --runtime-dir DIR.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    pub(super) words: Vec<String>,
}

/// How a configuration is read, and what to make of warnings.
#[derive(Debug, clap::Args)]
pub(super) struct Reading {
    /// What lines `@ID` of the configuration are compared with.
    #[arg(long, short = 'i', value_name = "ID", default_value_t = host_name())]
    pub(super) config_id: String,
    /// Make warnings errors.
    #[arg(long)]
    strict: bool,
    /// Do not show this warning or notice; may be given several times.
    #[arg(long = "allow", value_name = "CODE", value_parser = allowed)]
    allowed: Vec<String>,
}

/// A code that can be silenced.
fn allowed(code: &str) -> Result<String, NotAllowed> {
    Policy::default().allow(code).map(|_| code.to_owned())
}

impl Reading {
    pub(super) fn policy(&self) -> Policy {
        let policy = Policy::default().strict(self.strict);
        // Each has been tried before.
        self.allowed
            .iter()
            .fold(policy, |policy, code| policy.clone().allow(code).unwrap_or(policy))
    }
}

/// How diagnostics are shown.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum Format {
    /// With the lines in question, as compilers do.
    Text,
    /// One line each: `FILE:LINE:COLUMN: error[CODE]: …`.
    Line,
    /// One JSON document.
    Json,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The configuration, in keepalived's language; `-` for standard input.
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,
    /// How to show what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    pub(super) format: Format,
    #[command(flatten)]
    pub(super) reading: Reading,
}

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Show what a configuration comes to: with all defaults and corrections, groups taken apart.
    ///
    /// The text is a configuration of the same meaning. Exit codes: 0 shown, 3 configuration invalid, 1 it cannot be
    /// read, 2 wrong usage.
    Show {
        /// The configuration; `-` for standard input.
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Show it as JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        reading: Reading,
    },
    /// Show what a reload from one configuration to another would change, service by service.
    ///
    /// Exit codes: 0 if that is nothing, 5 if it is something, 3 if one of the configurations is invalid, 1 if one cannot
    /// be read, 2 on wrong usage.
    Diff {
        /// The configuration in use.
        #[arg(value_name = "OLD")]
        old: PathBuf,
        /// The one to come; one of the two may be `-` for standard input.
        #[arg(value_name = "NEW")]
        new: PathBuf,
        #[command(flatten)]
        reading: Reading,
    },
    /// Say what a keyword means, what it takes, and where it may stand.
    ///
    /// Exit codes: 0 explained, 1 there is no such keyword, 2 wrong usage.
    Explain {
        /// A keyword of the configuration, such as `quorum`.
        #[arg(value_name = "KEYWORD")]
        keyword: String,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// End the controller only: packets flow on, and the next start goes on from there.
    #[arg(long)]
    pub(super) keep_dataplane: bool,
    #[command(flatten)]
    pub(super) place: Place,
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
    #[command(flatten)]
    place: Place,
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
    /// Add the virtual addresses of the services to the interfaces, and announce them.
    #[arg(long)]
    manage_vips: bool,
    /// Log single decisions: new connections, their states, and why one was refused.
    #[arg(long)]
    trace: bool,
    /// Trace this client only.
    #[arg(long, value_name = "ADDRESS", requires = "trace")]
    trace_client: Option<IpAddr>,
    /// Trace this service only: its address, and port if given (`[ADDRESS]:PORT` for IPv6).
    #[arg(long, value_name = "ADDRESS[:PORT]", requires = "trace", value_parser = service)]
    trace_service: Option<(IpAddr, Option<u16>)>,
    #[command(flatten)]
    reading: Reading,
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
            place,
            max_connections,
            sloppy_tcp,
            expire_nodest_conn,
            expire_quiescent_template,
            manage_vips,
            trace,
            trace_client,
            trace_service,
            reading,
        } = run;
        let Place { pin_dir, runtime_dir } = place;
        let trace = trace.then(|| Trace {
            client: trace_client,
            address: trace_service.map(|(address, _)| address),
            port: trace_service.and_then(|(_, port)| port),
        });
        Self {
            // For who reads of it elsewhere, in another directory.
            config: path::absolute(&config).unwrap_or(config),
            interfaces,
            mode,
            pin_dir,
            runtime_dir,
            max_connections,
            sloppy_tcp,
            expire_nodest_conn,
            expire_quiescent_template,
            manage_vips,
            trace,
            policy: reading.policy(),
            config_id: reading.config_id,
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
