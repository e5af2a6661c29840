//! The engine under test: all that the bench knows about its maps and programs is here. A case switches
//! itself on once the configuration takes it; for IPv6 also [`READS_IPV6`], with the table's types in
//! [`Engine::entry`] and [`Engine::connections`].

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, anyhow};
use aya::programs::ProgramFd;
use lvs_common::abi::{Flow4, Interface, MAX_FLOWS, Tuple4};
use lvs_userspace::{bpf::Dataplane, config, control::tables::Tables};

use crate::case::{Case, Family, Hook, PORT};
use crate::frame::{OWN_MAC, Tuple};
use crate::place::{CLIENT_SIDE, SERVER_SIDE};

/// What the tables have room for, in entries: two for each connection.
pub(crate) const ENTRIES: u32 = MAX_FLOWS;
/// Test packets come in on the loopback interface.
const INGRESS: u32 = 1;

/// Whether this module knows the connection table for IPv6.
const READS_IPV6: bool = false;

/// Why a case cannot be measured with the engine as it is.
pub(crate) fn objection(case: Case) -> Option<String> {
    if case.family == Family::V6 && !READS_IPV6 {
        return Some("the bench does not know the engine's table for IPv6 yet".to_owned());
    }
    config::parse("bench", &case.config()).err().map(|_| "not in the configuration yet".to_owned())
}

/// The engine, loaded and configured.
pub(crate) struct Engine {
    dataplane: Dataplane,
    case: Case,
}

impl Engine {
    /// Loads it, with empty tables, for the namespace that the thread is in.
    pub(crate) fn load(case: Case) -> Result<Self> {
        let parsed = config::parse("bench", &case.config())
            .map_err(|_| anyhow!("the configuration for {case} has errors"))?;
        let mut dataplane = Dataplane::load(None, None)?;
        Tables::new(&parsed.config).write(&mut dataplane.maps)?;
        for index in [
            INGRESS,
            nix::net::if_::if_nametoindex(CLIENT_SIDE)?,
            nix::net::if_::if_nametoindex(SERVER_SIDE)?,
        ] {
            let interface = Interface { mac: OWN_MAC, reserved: 0 };
            dataplane.maps.interfaces.insert(index, interface, 0)?;
        }
        Ok(Self { dataplane, case })
    }

    /// The program.
    pub(crate) fn program(&mut self) -> Result<ProgramFd> {
        let fd = match self.case.hook {
            Hook::Xdp => self.dataplane.xdp()?.fd()?.try_clone(),
            Hook::Tc => self.dataplane.tc()?.fd()?.try_clone(),
        };
        fd.context("a second handle on the program")
    }

    /// What the packets carry that belong to the connections in the table: the clients' and the servers'.
    pub(crate) fn connections(&self) -> Result<(Vec<Tuple>, Vec<Tuple>)> {
        let table = &self.dataplane.maps.connections;
        let mut sweep = table.sweep();
        let mut tuples = Vec::new();
        loop {
            let entries = sweep.next(table)?;
            if entries.is_empty() {
                break;
            }
            tuples.extend(entries.iter().map(|(key, _)| tuple(key)));
        }
        let service = (self.case.family.virtual_address(), PORT);
        Ok(tuples
            .into_iter()
            .partition(|tuple| (tuple.destination, tuple.destination_port) == service))
    }

    /// Sizes of the connection table's keys and values.
    pub(crate) const fn entry() -> (usize, usize) {
        (size_of::<Tuple4>(), size_of::<Flow4>())
    }
}

fn tuple(key: &Tuple4) -> Tuple {
    Tuple {
        source: IpAddr::V4(Ipv4Addr::from(key.source)),
        source_port: key.source_port,
        destination: IpAddr::V4(Ipv4Addr::from(key.destination)),
        destination_port: key.destination_port,
    }
}
