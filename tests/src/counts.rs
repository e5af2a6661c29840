//! What the balancer has counted for each real server, read from the pinned maps with `bpftool`.

use std::net::{Ipv4Addr, SocketAddrV4};

use anyhow::{Context as _, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::bpftool;
use crate::xlvs::Setup;

/// The counts of one real server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counts {
    /// The real server.
    pub address: SocketAddrV4,
    /// Connections that were scheduled to it.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

#[derive(Deserialize)]
struct Server {
    address: [u8; 4],
    port: u16,
    flags: u16,
}

/// The counts of all real servers of a running instance.
pub fn read(setup: &Setup) -> Result<Vec<Counts>> {
    let servers = bpftool::dump(&setup.map("SERVERS"))?;
    let statistics = bpftool::dump(&setup.map("STATISTICS"))?;
    let mut counts = Vec::new();
    for entry in &servers {
        let value = entry.get("value").cloned().unwrap_or_default();
        let server: Server = serde_json::from_value(value).context("an entry of SERVERS")?;
        if server.flags == 0 {
            // The slot is free.
            continue;
        }
        let id = entry.get("key").and_then(Value::as_u64);
        let of_server = statistics
            .iter()
            .find(|entry| entry.get("key").and_then(Value::as_u64) == id)
            .with_context(|| format!("server {id:?} is not in STATISTICS"))?;
        counts.push(Counts {
            address: SocketAddrV4::new(Ipv4Addr::from(server.address), server.port),
            connections: bpftool::total(of_server, "connections"),
            in_packets: bpftool::total(of_server, "in_packets"),
            in_bytes: bpftool::total(of_server, "in_bytes"),
            out_packets: bpftool::total(of_server, "out_packets"),
            out_bytes: bpftool::total(of_server, "out_bytes"),
        });
    }
    Ok(counts)
}
