//! The counts and templates of a running `xlvs`, read from its pinned maps. By system calls and not by `bpftool`: they
//! are looked at hundreds of times.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use lvs_common::abi::{Load, Service, ServiceKey, Template, TemplateKey, V4, server_flags};
use lvs_common::wire::PROTOCOL_TCP;

use super::recording::{Loads, People, Scenario, Server, Templates};
use crate::xlvs::Setup;

/// Servers are looked for among so many ids.
const IDS: u32 = 4096;

/// The maps, and the addresses of the servers.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Tables {
    services: HashMap<MapData, ServiceKey<V4>, Service>,
    templates: HashMap<MapData, TemplateKey<V4>, Template>,
    servers: Array<MapData, lvs_common::abi::Server>,
    loads: Array<MapData, Load>,
    names: BTreeMap<Ipv4Addr, char>,
    /// The ids of the servers by service and name, until the next change.
    ids: BTreeMap<(u32, char), u32>,
}

impl Tables {
    /// Opens the maps.
    pub fn open(setup: &Setup, people: &People) -> Result<Self> {
        let names = people.addresses.iter().map(|(name, address)| (*address, *name)).collect();
        Ok(Self {
            services: map(setup, "SERVICES4", Map::HashMap)?,
            templates: map(setup, "TEMPLATES4", Map::HashMap)?,
            servers: map(setup, "SERVERS", Map::Array)?,
            loads: map(setup, "LOADS", Map::Array)?,
            names,
            ids: BTreeMap::new(),
        })
    }

    /// Says that servers may have come or gone.
    pub fn forget(&mut self) {
        self.ids.clear();
    }

    /// Active and inactive connections of the servers that a scenario has at the moment.
    pub fn loads(&mut self, scenario: &Scenario, servers: &[Server]) -> Result<Loads> {
        if self.ids.is_empty() {
            self.find_servers()?;
        }
        let services = self.services(scenario)?;
        let mut loads = Loads::new();
        for name in servers.iter().map(|server| server.name) {
            let [active, inactive] = loads.entry(name).or_default();
            for (service, heading) in &services {
                let id = self.ids.get(&(*service, name));
                let id = id.with_context(|| format!("{heading} has no server {name}"))?;
                let load = self.loads.get(id, 0).context("LOADS")?;
                *active += u64::from(load.active);
                *inactive += u64::from(load.inactive);
            }
        }
        Ok(loads)
    }

    /// The templates of a scenario's services.
    pub fn templates(&self, scenario: &Scenario) -> Result<Templates> {
        let services: BTreeMap<u32, String> = self.services(scenario)?.into_iter().collect();
        let mut templates = Templates::new();
        for entry in &self.templates {
            let (key, template) = entry.context("TEMPLATES4")?;
            if let Some(service) = services.get(&key.service) {
                let server = self.servers.get(&template.server, 0).context("SERVERS")?;
                let name = self.name(&server).context("a template of no server")?;
                templates.insert((key.client.into(), service.clone(), name));
            }
        }
        Ok(templates)
    }

    /// The services of a scenario: number, and name in the recordings.
    fn services(&self, scenario: &Scenario) -> Result<Vec<(u32, String)>> {
        let port = scenario.virtual_port();
        let protocol = PROTOCOL_TCP.into();
        let of_address = |address: &Ipv4Addr| {
            (ServiceKey { address: address.octets(), port, protocol }, format!("{address}:{port}"))
        };
        let keys: Vec<_> = match scenario.fwmark {
            Some(mark) => vec![(ServiceKey::of_mark(mark), format!("mark {mark}"))],
            None => scenario.virtuals.iter().map(of_address).collect(),
        };
        let find = |(key, heading): (ServiceKey<V4>, String)| {
            let service = self.services.get(&key, 0);
            let service = service.with_context(|| format!("there is no service {heading}"))?;
            Ok((service.id, heading))
        };
        keys.into_iter().map(find).collect()
    }

    fn find_servers(&mut self) -> Result<()> {
        for id in 0..IDS {
            let server = self.servers.get(&id, 0).context("SERVERS")?;
            if server.flags & server_flags::AVAILABLE != 0
                && let Some(name) = self.name(&server)
            {
                self.ids.insert((server.service, name), id);
            }
        }
        Ok(())
    }

    fn name(&self, server: &lvs_common::abi::Server) -> Option<char> {
        let [a, b, c, d, ..] = server.address;
        self.names.get(&Ipv4Addr::new(a, b, c, d)).copied()
    }
}

fn map<T: TryFrom<Map, Error = MapError>>(
    setup: &Setup,
    name: &str,
    kind: impl Fn(MapData) -> Map,
) -> Result<T> {
    let data = MapData::from_pin(setup.map(name)).with_context(|| name.to_owned())?;
    kind(data).try_into().with_context(|| name.to_owned())
}
