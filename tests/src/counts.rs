//! What the balancer has counted for each real server, read from the pinned maps with `bpftool`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result};
use lvs_common::abi::server_flags;
use serde::Deserialize;
use serde_json::Value;

use crate::bpftool;
use crate::xlvs::Setup;

/// How many servers a configuration of the tests may have at most.
const MOST: u32 = 16;

/// The counts of one real server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Counts {
    /// Its index in `SERVERS` and `STATISTICS`.
    pub id: u32,
    /// The real server.
    pub address: SocketAddr,
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
    /// IPv4 in the first four bytes.
    address: [u8; 16],
    port: u16,
    flags: u16,
}

impl Server {
    fn address(&self) -> SocketAddr {
        let [a, b, c, d, ..] = self.address;
        let ip = if self.flags & server_flags::IPV6 == 0 {
            IpAddr::from([a, b, c, d])
        } else {
            Ipv6Addr::from(self.address).into()
        };
        SocketAddr::new(ip, self.port)
    }
}

/// How many connections a real server has at this moment.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Load {
    /// Established ones.
    pub active: u64,
    /// Those that begin or end.
    pub inactive: u64,
}

/// The loads of the first `servers` real servers of a running instance, in the order of their ids.
pub fn loads(setup: &Setup, servers: u32) -> Result<Vec<Load>> {
    let load = |id| {
        let load = bpftool::lookup(&setup.map("LOADS"), id)?;
        let [active, inactive] = ["active", "inactive"].map(|field| bpftool::total(&load, field));
        Ok(Load { active, inactive })
    };
    (0..servers).map(load).collect()
}

/// The counts of all real servers of a running instance.
pub fn read(setup: &Setup) -> Result<Vec<Counts>> {
    let mut counts = Vec::new();
    for id in 0..MOST {
        let mut server = bpftool::lookup(&setup.map("SERVERS"), id)?;
        let server = server.get_mut("value").map(Value::take).unwrap_or_default();
        let server: Server = serde_json::from_value(server).context("an element of SERVERS")?;
        if server.flags == 0 {
            // The slot is free.
            continue;
        }
        let statistics = bpftool::lookup(&setup.map("STATISTICS"), id)?;
        counts.push(Counts {
            id,
            address: server.address(),
            connections: bpftool::total(&statistics, "connections"),
            in_packets: bpftool::total(&statistics, "in_packets"),
            in_bytes: bpftool::total(&statistics, "in_bytes"),
            out_packets: bpftool::total(&statistics, "out_packets"),
            out_bytes: bpftool::total(&statistics, "out_bytes"),
        });
    }
    Ok(counts)
}
