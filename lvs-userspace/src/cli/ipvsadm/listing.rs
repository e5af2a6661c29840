//! The listings, to the character: columns, headings and order are those of ipvsadm 1.31.

use std::{
    fmt::Write as _,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr},
};

use super::{
    names::{Names, cut},
    order,
    parse::Format,
};
use crate::{
    config::{Family, Forwarding, Protocol, Scheduler},
    inspect::{
        Connection, Counts, Entry, Persistent, ServerView, ServiceName, ServiceView,
        persistence_mask,
    },
};

/// Where a service of IPv4, and a server of it, is cut off.
const SERVICE_WIDTH: usize = 33;
const SERVER_WIDTH: usize = 28;

/// The port of FTP's control connections, whose templates are for all ports (`FTPPORT` in `ip_vs.h`).
const FTP: u16 = 21;

/// The line above the heading. The size is the one that a kernel has by default: the tables here have none like it.
pub(super) fn version(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "IP Virtual Server version 1.2.1 (size=4096)")
}

/// The heading.
pub(super) fn title(out: &mut impl Write, format: Format) -> io::Result<()> {
    let place = "Prot LocalAddress:Port";
    let columns: Option<[&str; 5]> = if format.stats {
        Some(["Conns", "InPkts", "OutPkts", "InBytes", "OutBytes"])
    } else if format.rate {
        Some(["CPS", "InPPS", "OutPPS", "InBPS", "OutBPS"])
    } else {
        None
    };
    if let Some(columns) = columns {
        write!(out, "{place:<33}")?;
        for column in columns {
            write!(out, " {column:>8}")?;
        }
        return writeln!(out, "\n  -> RemoteAddress:Port");
    }
    if format.thresholds {
        return writeln!(
            out,
            "{place:<33} {:<10} {:<10} {:<10} {:<10}\n  -> RemoteAddress:Port",
            "Uthreshold", "Lthreshold", "ActiveConn", "InActConn"
        );
    }
    if format.persistent {
        return writeln!(
            out,
            "{place:<33} {:<9} {:<11} {:<10} {:<10}\n  -> RemoteAddress:Port",
            "Weight", "PersistConn", "ActiveConn", "InActConn"
        );
    }
    if format.tunnels {
        return writeln!(
            out,
            "{place} Scheduler Flags\n  -> RemoteAddress:Port           Forward TunnelInfo    Weight ActiveConn InActConn"
        );
    }
    if format.rules {
        return Ok(());
    }
    writeln!(
        out,
        "{place} Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn"
    )
}

/// A service with its servers.
pub(super) fn service(
    out: &mut impl Write,
    view: &ServiceView,
    format: Format,
    names: &mut Names,
) -> io::Result<()> {
    let name = service_name(view.name, format, names);
    if format.rules {
        write!(out, "-A {name} -s {}{}", view.scheduler, rule_flags(view))?;
    } else if format.stats || format.rate {
        write!(out, "{name:<33}")?;
        counts(out, &view.counts, format)?;
    } else {
        write!(out, "{name} {}{}", view.scheduler, shown_flags(view))?;
    }
    writeln!(out)?;
    let mut servers: Vec<&ServerView> = view.servers.iter().collect();
    if !format.no_sort {
        order::servers(&mut servers);
    }
    for one in servers {
        server(out, (&name, view), one, format, names)?;
    }
    Ok(())
}

fn service_name(name: ServiceName, format: Format, names: &mut Names) -> String {
    match name {
        ServiceName::Mark { mark, family } => {
            // It is printed as an `int`.
            let mark = mark.cast_signed();
            match (format.rules, family) {
                (true, Family::Ipv4) => format!("-f {mark}"),
                (true, Family::Ipv6) => format!("-f {mark} -6"),
                (false, Family::Ipv4) => format!("FWM  {mark}"),
                (false, Family::Ipv6) => format!("FWM  {mark} IPv6"),
            }
        }
        ServiceName::Address { protocol, address, port } => {
            let place = names.place(address, port, Some(protocol));
            if format.rules {
                let option = match protocol {
                    Protocol::Tcp => "-t",
                    Protocol::Udp => "-u",
                    Protocol::Sctp => "--sctp-service",
                };
                return format!("{option} {place}");
            }
            let mut name = format!("{protocol:<4} {place}");
            if address.is_ipv4() {
                cut(&mut name, SERVICE_WIDTH);
            }
            name
        }
    }
}

/// The flags of the scheduler, with commas; `None` if there are none.
fn scheduler_flags(view: &ServiceView) -> Option<String> {
    let flags = view.flags;
    if !(flags.fallback || flags.port || flags.flag_3) {
        return None;
    }
    // The third has no name with sh and mh, and is not shown.
    let names: [Option<&str>; 3] = match view.scheduler {
        Scheduler::SourceHash => [Some("sh-fallback"), Some("sh-port"), None],
        Scheduler::MaglevHash => [Some("mh-fallback"), Some("mh-port"), None],
        _ => [Some("flag-1"), Some("flag-2"), Some("flag-3")],
    };
    let set = [flags.fallback, flags.port, flags.flag_3];
    let shown: Vec<&str> =
        names.into_iter().zip(set).filter(|(_, set)| *set).filter_map(|(name, _)| name).collect();
    Some(shown.join(","))
}

fn rule_flags(view: &ServiceView) -> String {
    let mut text = String::new();
    if let Some(persistence) = view.persistence {
        let _infallible = write!(text, " -p {}", persistence.timeout.as_secs());
        if let Some(mask) = persistence_mask(persistence.granularity) {
            text += " -M ";
            text += &mask;
        }
    }
    if view.one_packet {
        text += " -o";
    }
    if let Some(flags) = scheduler_flags(view) {
        text += " -b ";
        text += &flags;
    }
    text
}

fn shown_flags(view: &ServiceView) -> String {
    let mut text = String::new();
    if let Some(flags) = scheduler_flags(view) {
        let _infallible = write!(text, " ({flags})");
    }
    if let Some(persistence) = view.persistence {
        let _infallible = write!(text, " persistent {}", persistence.timeout.as_secs());
        if let Some(mask) = persistence_mask(persistence.granularity) {
            text += " mask ";
            text += &mask;
        }
    }
    if view.one_packet {
        text += " ops";
    }
    text
}

fn server(
    out: &mut impl Write,
    (service, view): (&str, &ServiceView),
    server: &ServerView,
    format: Format,
    names: &mut Names,
) -> io::Result<()> {
    let ServerView { weight, active, inactive, upper_threshold, lower_threshold, .. } = server;
    let mut name = names.place(server.address, server.port, protocol_of_servers(view.name));
    // Full NAT rewrites the destination as NAT does, and ipvsadm has no other word for it.
    let (forward, option) = match view.forwarding {
        Forwarding::Nat | Forwarding::FullNat => ("Masq", "-m"),
        Forwarding::DirectRouting => ("Route", "-g"),
        Forwarding::Tunnel(_) => ("Tunnel", "-i"),
    };
    if format.rules {
        return writeln!(out, "-a {service} -r {name} {option} -w {weight}");
    }
    if server.address.is_ipv4() {
        cut(&mut name, SERVER_WIDTH);
    }
    if format.stats {
        write!(out, "  -> {name:<28}")?;
        counts(out, &server.counts, format)?;
        writeln!(out)
    } else if format.rate {
        let Counts { connections, in_packets, out_packets, in_bytes, out_bytes } = server.counts;
        write!(out, "  -> {name:<28} {connections:>8} {in_packets:>8} {out_packets:>8}")?;
        large(out, in_bytes, format)?;
        large(out, out_bytes, format)?;
        writeln!(out)
    } else if format.thresholds {
        writeln!(
            out,
            "  -> {name:<28} {upper_threshold:<10} {lower_threshold:<10} {active:<10} {inactive:<10}"
        )
    } else if format.persistent {
        let persistent = server.persistent.unwrap_or_default();
        writeln!(out, "  -> {name:<28} {weight:<9} {persistent:<11} {active:<10} {inactive:<10}")
    } else if format.tunnels {
        writeln!(
            out,
            "  -> {name:<28} {forward:<7} {:<13} {weight:<6} {active:<10} {inactive:<10}",
            "n/a"
        )
    } else {
        writeln!(out, "  -> {name:<28} {forward:<7} {weight:<6} {active:<10} {inactive:<10}")
    }
}

/// The protocol in which the ports of a service's servers have names.
const fn protocol_of_servers(name: ServiceName) -> Option<Protocol> {
    name.protocol()
}

fn counts(out: &mut impl Write, counts: &Counts, format: Format) -> io::Result<()> {
    let Counts { connections, in_packets, out_packets, in_bytes, out_bytes } = *counts;
    for count in [connections, in_packets, out_packets, in_bytes, out_bytes] {
        large(out, count, format)?;
    }
    Ok(())
}

/// A number in nine columns, shortened unless asked otherwise.
fn large(out: &mut impl Write, count: u64, format: Format) -> io::Result<()> {
    if format.exact {
        return write!(out, " {count:>8}");
    }
    match count {
        0..100_000_000 => write!(out, "{count:>9}"),
        100_000_000..1_000_000_000 => write!(out, "{:>8}K", count / 1000),
        1_000_000_000..100_000_000_000 => write!(out, "{:>8}M", count / 1_000_000),
        100_000_000_000..100_000_000_000_000 => write!(out, "{:>8}G", count / 1_000_000_000),
        _ => write!(out, "{:>8}T", count / 1_000_000_000_000),
    }
}

/// The heading of connections.
pub(super) fn connections_title(out: &mut impl Write, format: Format) -> io::Result<()> {
    writeln!(out, "IPVS connection entries")?;
    let (state, source, service, server) = ("state", "source", "virtual", "destination");
    write!(out, "pro expire {state:<11} {source:<18} {service:<18} ")?;
    if format.persistent {
        writeln!(out, "{server:<18} {:<16} pe_data", "pe name")
    } else {
        writeln!(out, "{server}")
    }
}

/// A connection or a template.
pub(super) fn entry(out: &mut impl Write, entry: &Entry, names: &mut Names) -> io::Result<()> {
    let (name, expires, state, protocol, places) = match entry {
        Entry::Connection(Connection {
            protocol, client, service, server, state, expires, ..
        }) => {
            let places = [client, service, server].map(|place| (place.ip(), place.port()));
            (protocol.to_string(), *expires, *state, Some(*protocol), places)
        }
        Entry::Persistent(persistent) => {
            let protocol = persistent.service.protocol();
            let name = protocol.map_or_else(|| "IP".to_owned(), |protocol| protocol.to_string());
            let state = if persistent.half_open { "NONE" } else { "ASSURED" };
            (name, persistent.expires, state, protocol, template(persistent))
        }
    };
    let [client, service, server] =
        places.map(|(address, port)| names.place(address, port, protocol));
    let expires = format!("{:02}:{:02}", expires / 60, expires % 60);
    writeln!(out, "{name:<3} {expires:<6} {state:<11} {client:<18} {service:<18} {server}")
}

/// The places of a template: one of a mark has it as an address; one for all ports has none.
fn template(persistent: &Persistent) -> [(IpAddr, u16); 3] {
    let Persistent { service, client, address, port, .. } = *persistent;
    let (virtual_address, virtual_port, port) = match service {
        ServiceName::Address { address, port: virtual_port, .. } => match virtual_port {
            0 | FTP => (address, 0, 0),
            virtual_port => (address, virtual_port, port),
        },
        ServiceName::Mark { mark, family: Family::Ipv4 } => (Ipv4Addr::from(mark).into(), 0, 0),
        ServiceName::Mark { mark, family: Family::Ipv6 } => {
            // `ip` of the union holds it, the other words are zeros.
            (std::net::Ipv6Addr::from(u128::from(mark) << 96).into(), 0, 0)
        }
    };
    [(client, 0), (virtual_address, virtual_port), (address, port)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shortened_as_ipvsadm_does() {
        for (count, shown, exact) in [
            (0, "        0", "        0"),
            (99_999_999, " 99999999", " 99999999"),
            (100_000_000, "  100000K", " 100000000"),
            (999_999_999, "  999999K", " 999999999"),
            (1_000_000_000, "    1000M", " 1000000000"),
            (100_000_000_000, "     100G", " 100000000000"),
            (100_000_000_000_000, "     100T", " 100000000000000"),
        ] {
            for (format, shown) in
                [(Format::default(), shown), (Format { exact: true, ..Format::default() }, exact)]
            {
                let mut out = Vec::new();
                large(&mut out, count, format).unwrap();
                assert_eq!(String::from_utf8(out).unwrap(), shown, "{count}");
            }
        }
    }
}
