//! `xlvs connections` and `xlvs stats`: what the data plane holds, for people and with `--json` for programs
//! (docs/control.md says what is in it). They read the pinned maps, also while no controller runs.

use std::{
    io::{self, BufWriter, Write},
    net::IpAddr,
};

use anyhow::anyhow;
use lvs_common::abi::Fate;
use serde_json::{Value, json};

use super::table::Table;
use crate::{
    bpf::{Error, PinnedMaps},
    control::Place,
    exit::Failure,
    inspect::{
        self, Connection, Counts, Entry, Filter, Persistent, ServerView, ServiceFilter,
        ServiceName, Services,
    },
};

/// What `xlvs stats` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Stats {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shown: Shown,
    /// Count for a second, and show what came in it.
    #[arg(long)]
    rate: bool,
}

/// What `xlvs connections` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Connections {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shown: Shown,
    /// Of this client only.
    #[arg(long, value_name = "ADDRESS")]
    client: Option<IpAddr>,
    /// Of this real server only.
    #[arg(long, value_name = "ADDRESS")]
    server: Option<IpAddr>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Shown {
    /// Of this service only: ADDRESS, ADDRESS:PORT, [ADDRESS]:PORT, each perhaps with /TCP or /UDP, or fwmark:MARK.
    #[arg(long, value_name = "SERVICE")]
    pub(super) service: Option<ServiceFilter>,
    /// For programs.
    #[arg(long)]
    pub(super) json: bool,
}

/// Why a listing ends early.
pub(super) enum Early {
    Maps(Error),
    Output(io::Error),
}

impl From<Error> for Early {
    fn from(error: Error) -> Self {
        Self::Maps(error)
    }
}

impl From<io::Error> for Early {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// Prints something. That nobody reads on is no failure.
pub(super) fn print(show: impl FnOnce(&mut dyn Write) -> Result<(), Early>) -> Result<(), Failure> {
    let mut out = BufWriter::new(io::stdout().lock());
    match show(&mut out).and_then(|()| Ok(out.flush()?)) {
        Ok(()) => Ok(()),
        Err(Early::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(Early::Output(error)) => {
            Err(anyhow::Error::new(error).context("cannot write the listing").into())
        }
        Err(Early::Maps(error)) => Err(error.into()),
    }
}

pub(super) fn wanted(services: &mut Services, filter: Option<ServiceFilter>) {
    services.services.retain(|view| filter.is_none_or(|filter| filter.matches(view.name)));
}

/// Nothing is listed.
pub(super) fn no_such(filter: ServiceFilter) -> Failure {
    anyhow!("there is no virtual service {filter}; `xlvs list` shows those that there are").into()
}

pub(super) fn stats(options: &Stats) -> Result<(), Failure> {
    let maps = PinnedMaps::open(&options.place.pin_dir)?;
    let mut services = Services::read(&maps, false)?;
    wanted(&mut services, options.shown.service);
    if let Some(filter) = options.shown.service
        && services.services.is_empty()
    {
        return Err(no_such(filter));
    }
    let counters = if options.rate {
        inspect::rates(&maps, &mut services)?
    } else {
        inspect::counters(&maps)?
    };
    print(|out| {
        if options.shown.json {
            let views: Vec<Value> = services
                .services
                .iter()
                .map(|view| {
                    let servers: Vec<Value> = view
                        .servers
                        .iter()
                        .map(|server| json!({"address": server.address, "port": server.port, "counts": server.counts}))
                        .collect();
                    json!({"service": view.name, "counts": view.counts, "servers": servers})
                })
                .collect();
            let counters: serde_json::Map<String, Value> = counters
                .iter()
                .map(|(counter, count)| (counter.name().to_owned(), (*count).into()))
                .collect();
            let all = json!({"services": views, "counters": counters, "per_second": options.rate});
            return Ok(writeln!(out, "{all:#}")?);
        }
        let per = |what: &str| if options.rate { format!(">{what}/S") } else { format!(">{what}") };
        let heading =
            ["CONNECTIONS", "PACKETS IN", "PACKETS OUT", "BYTES IN", "BYTES OUT"].map(per);
        let [connections, packets_in, packets_out, bytes_in, bytes_out] = &heading;
        let mut table = Table::new(&[
            "SERVICE / SERVER",
            connections,
            packets_in,
            packets_out,
            bytes_in,
            bytes_out,
        ]);
        for view in &services.services {
            table.row(count_row(view.name.to_string(), &view.counts));
            for server in &view.servers {
                table.row(count_row(format!("  {}", place(server)), &server.counts));
            }
        }
        table.print(out)?;
        if options.shown.service.is_some() {
            return Ok(());
        }
        let per = if options.rate { ">PACKETS/S" } else { ">IN ALL" };
        let mut table = Table::new(&["PACKETS THAT WERE NOT SENT ON", "", per]);
        for (counter, count) in counters.iter().filter(|(_, count)| *count > 0) {
            let fate = match counter.fate() {
                Fate::Passed => "to the stack",
                Fate::Dropped => "dropped",
                Fate::Noted => "noted",
            };
            table.row([counter.name().to_owned(), fate.to_owned(), count.to_string()]);
        }
        writeln!(out)?;
        Ok(table.print(out)?)
    })
}

pub(super) fn connections(options: &Connections) -> Result<(), Failure> {
    let maps = PinnedMaps::open(&options.place.pin_dir)?;
    let filter =
        Filter { service: options.shown.service, client: options.client, server: options.server };
    print(|out| {
        if options.shown.json {
            return inspect::connections(&maps, &filter, |entry| {
                Ok(writeln!(out, "{}", entry_json(&entry))?)
            });
        }
        // There may be a million, so that no column waits for the widest.
        writeln!(
            out,
            "{:<5} {:<12} {:>8}  {:<22} {:<22} {:<22} SEEN AS",
            "PROTO", "STATE", "EXPIRES", "CLIENT", "SERVICE", "SERVER"
        )?;
        inspect::connections(&maps, &filter, |entry| Ok(writeln!(out, "{}", entry_line(&entry))?))
    })
}

fn entry_line(entry: &Entry) -> String {
    let cells = |[protocol, state, client, service, server, seen]: [String; 6], expires: u64| {
        let line = format!(
            "{protocol:<5} {state:<12} {expires:>7}s  {client:<22} {service:<22} {server:<22} {seen}"
        );
        line.trim_end().to_owned()
    };
    match entry {
        Entry::Connection(connection) => cells(
            [
                connection.protocol.to_string(),
                connection.state.to_owned(),
                connection.client.to_string(),
                connection.service.to_string(),
                connection.server.to_string(),
                connection.local.map_or_else(String::new, |local| local.to_string()),
            ],
            connection.expires,
        ),
        Entry::Persistent(persistent) => {
            let name = persistent.service.to_string();
            let service = match persistent.service {
                ServiceName::Address { .. } => name.split(' ').next_back().unwrap_or_default(),
                ServiceName::Mark { .. } => &name,
            };
            cells(
                [
                    persistent.service.protocol().map_or("any".to_owned(), |one| one.to_string()),
                    "persistent".to_owned(),
                    persistent.client.to_string(),
                    service.to_owned(),
                    std::net::SocketAddr::new(persistent.address, persistent.port).to_string(),
                    format!("({} connections)", persistent.connections),
                ],
                persistent.expires,
            )
        }
    }
}

fn entry_json(entry: &Entry) -> Value {
    match entry {
        Entry::Connection(Connection {
            protocol,
            client,
            service,
            local,
            server,
            state,
            expires,
        }) => {
            json!({
                "kind": "connection",
                "protocol": protocol.to_string(),
                "client": client,
                "service": service,
                "local": local,
                "server": server,
                "state": state,
                "expires": expires,
            })
        }
        Entry::Persistent(Persistent {
            service,
            client,
            address,
            port,
            expires,
            connections,
            half_open: _,
        }) => json!({
            "kind": "persistent",
            "service": service,
            "client": client,
            "server": {"address": address, "port": port},
            "expires": expires,
            "connections": connections,
        }),
    }
}

fn count_row(name: String, counts: &Counts) -> [String; 6] {
    let Counts { connections, in_packets, out_packets, in_bytes, out_bytes } = counts;
    let [connections, in_packets, out_packets, in_bytes, out_bytes] =
        [connections, in_packets, out_packets, in_bytes, out_bytes].map(u64::to_string);
    [name, connections, in_packets, out_packets, in_bytes, out_bytes]
}

fn place(server: &ServerView) -> String {
    std::net::SocketAddr::new(server.address, server.port).to_string()
}
