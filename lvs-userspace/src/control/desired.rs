//! The desired state: what the configuration file says, and what was edited since.
//!
//! An edit is kept with what the file said about the same thing when it was made. As long as the file says that, the edit
//! counts; once the file says something else, the file does. "The same thing" is what a service is like, one real server
//! of it, or one of the time-outs: a reload that changes the weight of one server leaves the edits of all others alone. An
//! edit that leads back to what the file says is none any more.

mod edits;

use std::{collections::HashMap, fmt, sync::Arc};

use lvs_common::tcp::TcpState;

use self::edits::{Edited, ServerEdit, ServiceEdit};
pub use self::edits::{Edits, Kind, Kinds};
use super::{
    edit::{Edit, Refusal, ServerName, ServerSpec, ServiceSpec, check_timeouts},
    tables::UDP_TIMEOUT,
};
use crate::{
    config::{
        Config, Forwarding, Quorum, RealServer, Scheduler, SchedulerFlags, Timeouts, VirtualServer,
    },
    health::{self, Pool, ServiceId, State},
    inspect::ServiceName,
};

/// Virtual services that fit, real servers of one, and real servers of all (README, Limits).
const MOST_SERVICES: usize = 4000;
const MOST_SERVERS_EACH: usize = 1000;
const MOST_SERVERS: usize = lvs_common::abi::MAX_SERVERS as usize / 2;

/// What became of an edit when the file was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fate {
    /// What was edited.
    pub what: String,
    /// How.
    pub kind: Kind,
    /// Whether the edit still counts.
    pub outcome: Outcome,
}

/// What becomes of an edit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It counts.
    Kept,
    /// The file says the same now.
    InFile,
    /// It counts no more, for this reason.
    Dropped(&'static str),
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (noun, what) = (self.kind.noun(), &self.what);
        match self.outcome {
            Outcome::Kept => write!(f, "the {noun} of {what} is kept"),
            Outcome::InFile => write!(f, "the {noun} of {what} has become part of the file"),
            Outcome::Dropped(reason) => write!(f, "the {noun} of {what} is dropped: {reason}"),
        }
    }
}

const SAYS_OTHERWISE: &str = "the file now says something else about it";
const DISCARDED: &str = "all were to be";
const SERVICE_GONE: &str = "its service has gone from the file";

/// Places of services in the file, and of the servers in each.
type Index = HashMap<ServiceName, (usize, HashMap<ServerName, usize>)>;

/// The desired state.
#[derive(Clone, Debug)]
pub struct Desired {
    file: Arc<Config>,
    /// Where each service is in the file, and where its servers are in it.
    index: Arc<Index>,
    edits: Edits,
    /// Servers of the file that edits have deleted and added again, which nobody has been told of.
    again: Vec<(ServiceName, ServerName)>,
}

impl Desired {
    /// What a file says, edited by nobody.
    #[must_use]
    pub fn new(mut file: Config) -> Self {
        let Timeouts { tcp, tcp_fin, udp } = &mut file.timeouts;
        tcp.get_or_insert(TcpState::Established.timeout());
        tcp_fin.get_or_insert(TcpState::FinWait.timeout());
        udp.get_or_insert(UDP_TIMEOUT);
        let places = |service: &VirtualServer| {
            service
                .real_servers
                .iter()
                .enumerate()
                .map(|(at, server)| (server_name(server), at))
                .collect()
        };
        let services = file.services.iter().enumerate();
        let index =
            services.map(|(at, service)| (service_name(service), (at, places(service)))).collect();
        let index = Arc::new(index);
        Self { file: Arc::new(file), index, edits: Edits::default(), again: Vec::new() }
    }

    /// The same with edits that were made to what another file said, and what becomes of each.
    #[must_use]
    pub fn with(file: Config, edits: Edits) -> (Self, Vec<Fate>) {
        let mut desired = Self::new(file);
        let mut fates = Vec::new();
        let Edits { services, tcp, tcp_fin, udp } = edits;
        for edit in services {
            desired.take_over(edit, &mut fates);
        }
        let Timeouts { tcp: of_tcp, tcp_fin: of_tcp_fin, udp: of_udp } = desired.file.timeouts;
        for (edit, file, place, what) in [
            (tcp, of_tcp, &mut desired.edits.tcp, "the time-out tcp"),
            (tcp_fin, of_tcp_fin, &mut desired.edits.tcp_fin, "the time-out tcpfin"),
            (udp, of_udp, &mut desired.edits.udp, "the time-out udp"),
        ] {
            *place = edit.and_then(|edit| edit.against(file.as_ref(), what.to_owned(), &mut fates));
        }
        (desired, fates)
    }

    /// The same with the next file, and with the edits unless they are to be discarded.
    #[must_use]
    pub fn reloaded(&self, mut file: Config, discard_edits: bool) -> (Self, Vec<Fate>) {
        file.share(&self.file);
        let (desired, mut fates) = Self::with(file, self.edits.clone());
        if !discard_edits {
            return (desired, fates);
        }
        for fate in &mut fates {
            fate.outcome = Outcome::Dropped(DISCARDED);
        }
        (Self { edits: Edits::default(), ..desired }, fates)
    }

    /// What the file says, which is what is checked.
    #[must_use]
    pub const fn file(&self) -> &Arc<Config> {
        &self.file
    }

    /// Servers of the file that edits have deleted and added again since this was asked last.
    pub(super) fn came_again(&mut self) -> Vec<(ServiceName, ServerName)> {
        std::mem::take(&mut self.again)
    }

    /// Servers of the file that are in no map because an edit has deleted them, or their service.
    pub(super) fn left_out(&self) -> impl Iterator<Item = (ServiceName, ServerName)> {
        self.edits.services.iter().flat_map(|edit| {
            let gone = edit.spec.as_ref().is_some_and(|spec| spec.now.is_none());
            let file = self.file_service(edit.name).filter(|_| gone);
            let of_service = file.into_iter().flat_map(|file| file.real_servers.iter());
            let deleted = edit.servers.iter().filter(|server| server.spec.now.is_none());
            let servers = deleted.map(|server| server.name).chain(of_service.map(server_name));
            servers.map(|server| (edit.name, server))
        })
    }

    /// The edits.
    #[must_use]
    pub const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// Takes the edits of a service over that were made to what another file said.
    fn take_over(&mut self, edit: ServiceEdit, fates: &mut Vec<Fate>) {
        let ServiceEdit { name, spec, servers } = edit;
        let file = self.file_service(name).map(ServiceSpec::of);
        let spec = spec.and_then(|spec| spec.against(file.as_ref(), name.to_string(), fates));
        let exists = spec.as_ref().map_or(file.is_some(), |spec| spec.now.is_some());
        let mut kept = Vec::new();
        for ServerEdit { name: server, spec } in servers {
            let what = format!("{name}, real server {server}");
            if !exists {
                let (kind, outcome) = (spec.kind(), Outcome::Dropped(SERVICE_GONE));
                fates.push(Fate { what, kind, outcome });
                continue;
            }
            let file = self.file_server(name, server).map(ServerSpec::of);
            if let Some(spec) = spec.against(file.as_ref(), what, fates) {
                kept.push(ServerEdit { name: server, spec });
            }
        }
        if spec.is_some() || !kept.is_empty() {
            self.edits.services.push(ServiceEdit { name, spec, servers: kept });
        }
    }

    fn file_service(&self, name: ServiceName) -> Option<&VirtualServer> {
        let (at, _) = self.index.get(&name)?;
        self.file.services.get(*at)
    }

    fn file_server(&self, service: ServiceName, server: ServerName) -> Option<&RealServer> {
        let (_, servers) = self.index.get(&service)?;
        self.file_service(service)?.real_servers.get(*servers.get(&server)?)
    }

    fn edited(&self, name: ServiceName) -> Option<&ServiceEdit> {
        self.edits.services.iter().find(|edit| edit.name == name)
    }

    /// Changes the edits of a service, which may be none yet, or none any more.
    fn change(&mut self, name: ServiceName, change: impl FnOnce(&mut ServiceEdit)) {
        let services = &mut self.edits.services;
        if let Some(edit) = services.iter_mut().find(|edit| edit.name == name) {
            change(edit);
        } else {
            let mut edit = ServiceEdit { name, spec: None, servers: Vec::new() };
            change(&mut edit);
            services.push(edit);
        }
        services
            .retain(|edit| edit.name != name || edit.spec.is_some() || !edit.servers.is_empty());
    }

    /// Whether there is such a service.
    #[must_use]
    pub fn has(&self, name: ServiceName) -> bool {
        match self.edited(name).and_then(|edit| edit.spec.as_ref()) {
            Some(spec) => spec.now.is_some(),
            None => self.index.contains_key(&name),
        }
    }

    /// Whether a service that there is has such a server.
    fn has_server(&self, service: ServiceName, server: ServerName) -> bool {
        let edited = self.edited(service).and_then(|edit| edit.server(server));
        match edited {
            Some(edit) => edit.spec.now.is_some(),
            None => self.file_server(service, server).is_some(),
        }
    }

    /// Makes an edit, or refuses it and changes nothing. (Counts are not of the desired state: zeroing them is checked only.)
    pub fn edit(&mut self, edit: &Edit) -> Result<(), Refusal> {
        match edit {
            Edit::AddService { service, spec } => {
                if self.has(*service) {
                    return Err(Refusal::ServiceExists);
                }
                let spec = spec.clone().checked(*service)?;
                // It begins without servers, also where the file has some.
                self.hide_servers(*service);
                self.set_service(*service, Some(spec));
            }
            Edit::EditService { service, spec } => {
                if !self.has(*service) {
                    return Err(Refusal::NoService);
                }
                let spec = spec.clone().checked(*service)?;
                self.set_service(*service, Some(spec));
            }
            Edit::DeleteService { service } => {
                if !self.has(*service) {
                    return Err(Refusal::NoService);
                }
                self.delete_service(*service);
            }
            Edit::AddServer { service, server, spec } => {
                if !self.has(*service) {
                    return Err(Refusal::NoService);
                }
                spec.check(*service, *server)?;
                if self.has_server(*service, *server) {
                    return Err(Refusal::ServerExists);
                }
                self.set_server(*service, *server, Some(*spec));
                if self.file_server(*service, *server).is_some() {
                    self.again.push((*service, *server));
                }
            }
            Edit::EditServer { service, server, spec } => {
                if !self.has(*service) {
                    return Err(Refusal::NoService);
                }
                spec.check(*service, *server)?;
                if !self.has_server(*service, *server) {
                    return Err(Refusal::NoServer);
                }
                self.set_server(*service, *server, Some(*spec));
            }
            Edit::DeleteServer { service, server } => {
                if !self.has(*service) {
                    return Err(Refusal::NoService);
                }
                if !self.has_server(*service, *server) {
                    return Err(Refusal::NoServer);
                }
                self.set_server(*service, *server, None);
            }
            Edit::Clear => {
                let names: Vec<_> = self.index.keys().copied().collect();
                self.edits.services.clear();
                for name in names {
                    self.delete_service(name);
                }
            }
            Edit::Zero { service } => {
                if service.is_some_and(|service| !self.has(service)) {
                    return Err(Refusal::NoService);
                }
            }
            Edit::SetTimeouts { tcp, tcp_fin, udp } => {
                check_timeouts([*tcp, *tcp_fin, *udp])?;
                let Timeouts { tcp: of_tcp, tcp_fin: of_tcp_fin, udp: of_udp } = self.file.timeouts;
                for (now, file, place) in [
                    (*tcp, of_tcp, &mut self.edits.tcp),
                    (*tcp_fin, of_tcp_fin, &mut self.edits.tcp_fin),
                    (*udp, of_udp, &mut self.edits.udp),
                ] {
                    if now != 0 {
                        *place = Edited::new(file, Some(now));
                    }
                }
            }
        }
        Ok(())
    }

    fn set_service(&mut self, name: ServiceName, now: Option<ServiceSpec>) {
        let file = self.file_service(name).map(ServiceSpec::of);
        self.change(name, |edit| edit.spec = Edited::new(file, now));
    }

    fn delete_service(&mut self, name: ServiceName) {
        self.change(name, |edit| edit.servers.clear());
        self.set_service(name, None);
    }

    /// Has a service have none of the servers that the file gives it.
    fn hide_servers(&mut self, name: ServiceName) {
        let Some(service) = self.file_service(name) else { return };
        let hidden = service.real_servers.iter().map(|server| ServerEdit {
            name: server_name(server),
            spec: Edited { file: Some(ServerSpec::of(server)), now: None },
        });
        let hidden = hidden.collect();
        self.change(name, |edit| edit.servers = hidden);
    }

    fn set_server(&mut self, service: ServiceName, server: ServerName, now: Option<ServerSpec>) {
        let file = self.file_server(service, server).map(ServerSpec::of);
        let edited = Edited::new(file, now);
        self.change(service, |edit| {
            let servers = &mut edit.servers;
            let there = |edit: &&mut ServerEdit| edit.name == server && edit.spec.now.is_some();
            if let Some(spec) = &edited
                && let Some(edit) = servers.iter_mut().find(there)
            {
                edit.spec = spec.clone();
                return;
            }
            // One that comes back is the newest.
            servers.retain(|edit| edit.name != server);
            servers.extend(edited.map(|spec| ServerEdit { name: server, spec }));
        });
    }

    /// The configuration that the file and the edits make together, with all servers up. Services and servers of the file
    /// come first.
    #[must_use]
    pub fn effective(&self) -> Config {
        self.edit_config((*self.file).clone(), &State::default())
    }

    /// The same with what checks have found: what the data path should do. An edit changes nothing of who is up and whether
    /// there is a quorum, as with keepalived, which sees no edits.
    #[must_use]
    pub fn serving(&self, state: &State) -> Config {
        self.edit_config(health::apply(&self.file, state), state)
    }

    fn edit_config(&self, mut config: Config, state: &State) -> Config {
        if self.edits.is_empty() {
            return config;
        }
        let ids = ServiceId::of_all(&config);
        let pools: HashMap<ServiceName, &Pool> = config
            .services
            .iter()
            .zip(&ids)
            .filter_map(|(service, id)| Some((service_name(service), state.pools.get(id)?)))
            .collect();
        let edits: HashMap<ServiceName, &ServiceEdit> =
            self.edits.services.iter().map(|edit| (edit.name, edit)).collect();
        config.services.retain_mut(|service| {
            let Some(edit) = edits.get(&service_name(service)) else { return true };
            match &edit.spec {
                Some(Edited { now: None, .. }) => return false,
                Some(Edited { now: Some(spec), .. }) => spec.apply(service),
                None => {}
            }
            edit.apply_to_servers(service, pools.get(&edit.name).copied());
            true
        });
        for edit in &self.edits.services {
            if let Some(Edited { file: None, now: Some(spec) }) = &edit.spec {
                let mut service = new_service(edit.name);
                spec.apply(&mut service);
                edit.apply_to_servers(&mut service, None);
                config.services.push(service);
            }
        }
        let now = |edit: &Option<Edited<u32>>, file| match edit {
            Some(edit) => edit.now,
            None => file,
        };
        let Timeouts { tcp, tcp_fin, udp } = config.timeouts;
        config.timeouts = Timeouts {
            tcp: now(&self.edits.tcp, tcp),
            tcp_fin: now(&self.edits.tcp_fin, tcp_fin),
            udp: now(&self.edits.udp, udp),
        };
        config
    }
}

/// Whether there is room for as much; what there is too much of otherwise.
pub fn check_room(config: &Config) -> Result<(), String> {
    if config.services.len() > MOST_SERVICES {
        return Err(format!("there is room for {MOST_SERVICES} virtual services"));
    }
    let crowded = |service: &&VirtualServer| service.real_servers.len() > MOST_SERVERS_EACH;
    if let Some(service) = config.services.iter().find(crowded) {
        let name = service_name(service);
        return Err(format!(
            "{name}: there is room for {MOST_SERVERS_EACH} real servers of a service"
        ));
    }
    let servers: usize = config.services.iter().map(|service| service.real_servers.len()).sum();
    if servers > MOST_SERVERS {
        return Err(format!("there is room for {MOST_SERVERS} real servers in all"));
    }
    Ok(())
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.address, self.port).fmt(f)
    }
}

/// The name of a service of a configuration.
pub(super) fn service_name(service: &VirtualServer) -> ServiceName {
    ServiceName::new(service.target, service.protocol, service.family)
}

/// Where a real server of a configuration is.
pub(super) const fn server_name(server: &RealServer) -> ServerName {
    ServerName { address: server.address, port: server.port }
}

/// A service that no file has; none of its servers is checked.
fn new_service(name: ServiceName) -> VirtualServer {
    VirtualServer {
        target: name.target(),
        family: name.family(),
        protocol: name.protocol(),
        scheduler: Scheduler::WeightedLeastConnections,
        flags: SchedulerFlags::default(),
        forwarding: Forwarding::Nat,
        local_addresses: Vec::new(),
        one_packet: false,
        persistence: None,
        quorum: Quorum::default(),
        omega: false,
        sorry_server: None,
        ha_suspend: false,
        smtp_alert: false,
        persistence_engine: None,
        snmp_name: None,
        group: None,
        real_servers: Arc::default(),
        line: 0,
    }
}

/// A real server that no file has.
const fn new_server(name: ServerName, forwarding: Forwarding) -> RealServer {
    RealServer::new(name.address, name.port, forwarding)
}

#[cfg(test)]
mod tests;
