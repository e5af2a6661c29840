//! The engine under test: all that the bench knows about its maps and programs is here. A case switches
//! itself on once the configuration takes it.

use std::net::IpAddr;

use anyhow::{Context as _, Result, anyhow};
use aya::Pod;
use aya::programs::ProgramFd;
use lvs_common::abi::{self, DEFAULT_CONNECTIONS, Flow, Interface, Load, V4, V6};
use lvs_userspace::bpf::{Dataplane, LoadOptions, Table};
use lvs_userspace::config;
use lvs_userspace::control::{
    ledger::Ledger,
    tables::{Choices, Tables},
    write,
};

use crate::case::{Case, Family, Hook, PORT};
use crate::frame::{OWN_MAC, Tuple};
use crate::place::{CLIENT_SIDE, SERVER_SIDE};

/// What the tables have room for, in entries: two for each connection.
pub(crate) const ENTRIES: u32 = 2 * DEFAULT_CONNECTIONS;
/// Test packets come in on the loopback interface.
const INGRESS: u32 = 1;

/// Why a case cannot be measured with the engine as it is.
pub(crate) fn objection(case: Case) -> Option<String> {
    config::parse("bench", &case.config(), &config::Policy::default())
        .err()
        .map(|_| "not in the configuration yet".to_owned())
}

/// The engine, loaded and configured.
pub(crate) struct Engine {
    dataplane: Dataplane,
    case: Case,
}

impl Engine {
    /// Loads it, with empty tables, for the namespace that the thread is in.
    pub(crate) fn load(case: Case) -> Result<Self> {
        Self::load_with(case, &case.config())
    }

    /// The same with another configuration that has the case's service.
    pub(crate) fn load_with(case: Case, config: &str) -> Result<Self> {
        let parsed = config::parse("bench", config, &config::Policy::default())
            .map_err(|_| anyhow!("the configuration for {case} has errors"))?;
        let choices = Choices {
            connections: DEFAULT_CONNECTIONS,
            ports: (1024..=u16::MAX).collect(),
            ..Choices::default()
        };
        let mut dataplane = Dataplane::load(&LoadOptions::default())?;
        let change = Ledger::first(&parsed.config, &choices)?;
        write::apply(&change, &Tables::default(), &mut dataplane.maps.split().0)?;
        for index in [
            INGRESS,
            nix::net::if_::if_nametoindex(CLIENT_SIDE)?,
            nix::net::if_::if_nametoindex(SERVER_SIDE)?,
        ] {
            let interface = Interface { mac: OWN_MAC, ..Interface::default() };
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
        let tuples = match self.case.family {
            Family::V4 => tuples(&self.dataplane.maps.four.connections)?,
            Family::V6 => tuples(&self.dataplane.maps.six.connections)?,
        };
        let service = (self.case.family.virtual_address(), PORT);
        Ok(tuples
            .into_iter()
            .partition(|tuple| (tuple.destination, tuple.destination_port) == service))
    }

    /// Counts active connections that are not there for the servers from this place of the configuration on.
    pub(crate) fn set_active(&mut self, first: usize, active: &[u32]) -> Result<()> {
        for (id, active) in (u32::try_from(first)?..).zip(active) {
            let load = Load { active: *active, ..Load::default() };
            self.dataplane.maps.loads.array.set(id, load, 0)?;
        }
        Ok(())
    }

    /// Sizes of the connection table's keys and values.
    pub(crate) const fn entry(family: Family) -> (usize, usize) {
        match family {
            Family::V4 => (size_of::<abi::Tuple<V4>>(), size_of::<Flow<V4>>()),
            Family::V6 => (size_of::<abi::Tuple<V6>>(), size_of::<Flow<V6>>()),
        }
    }
}

/// The keys of a connection table.
fn tuples<A>(table: &Table<abi::Tuple<A>, Flow<A>>) -> Result<Vec<Tuple>>
where
    A: Copy + Into<IpAddr>,
    abi::Tuple<A>: Pod,
    Flow<A>: Pod,
{
    let mut sweep = table.sweep();
    let mut tuples = Vec::new();
    loop {
        let entries = sweep.next(table)?;
        if entries.is_empty() {
            return Ok(tuples);
        }
        tuples.extend(entries.iter().map(|(key, _)| Tuple {
            source: key.source.into(),
            source_port: key.source_port,
            destination: key.destination.into(),
            destination_port: key.destination_port,
        }));
    }
}
