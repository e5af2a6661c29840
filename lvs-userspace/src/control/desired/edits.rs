//! Edits, each with what the file said about the same thing when it was made.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{
    super::edit::{ServerName, ServerSpec, ServiceSpec},
    Fate, Outcome, SAYS_OTHERWISE, new_server, server_name,
};
use crate::{
    config::VirtualServer,
    health::{Endpoint, Pool},
    inspect::ServiceName,
};

/// All edits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edits {
    /// The oldest first.
    pub(super) services: Vec<ServiceEdit>,
    pub(super) tcp: Option<Edited<u32>>,
    pub(super) tcp_fin: Option<Edited<u32>>,
    pub(super) udp: Option<Edited<u32>>,
}

/// The edits of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceEdit {
    pub(super) name: ServiceName,
    /// What it is like, if that was edited.
    pub(super) spec: Option<Edited<ServiceSpec>>,
    /// The oldest first.
    pub(super) servers: Vec<ServerEdit>,
}

/// The edit of a real server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServerEdit {
    #[serde(flatten)]
    pub(super) name: ServerName,
    #[serde(flatten)]
    pub(super) spec: Edited<ServerSpec>,
}

/// What was there, according to the file, and what is to be there; `None` for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Edited<T> {
    pub(super) file: Option<T>,
    pub(super) now: Option<T>,
}

/// What an edit does to what the file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The file does not have it.
    Added,
    /// It is otherwise than the file says.
    Changed,
    /// The file has it, and it is not there.
    Deleted,
}

impl Kind {
    /// What it is called.
    pub(super) const fn noun(self) -> &'static str {
        match self {
            Self::Added => "addition",
            Self::Changed => "edit",
            Self::Deleted => "deletion",
        }
    }
}

/// The edits of a service: what it is like, and its servers.
pub type Kinds = (Option<Kind>, HashMap<ServerName, Kind>);

impl Edits {
    /// What they do, service by service.
    #[must_use]
    pub fn kinds(&self) -> HashMap<ServiceName, Kinds> {
        let servers = |edit: &ServiceEdit| {
            edit.servers.iter().map(|server| (server.name, server.spec.kind())).collect()
        };
        let kinds = self.services.iter();
        kinds
            .map(|edit| (edit.name, (edit.spec.as_ref().map(Edited::kind), servers(edit))))
            .collect()
    }

    /// How many things are edited.
    #[must_use]
    pub fn len(&self) -> usize {
        let services = self.services.iter();
        services.map(|edit| edit.servers.len() + usize::from(edit.spec.is_some())).sum::<usize>()
            + [&self.tcp, &self.tcp_fin, &self.udp].into_iter().flatten().count()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The services that edits are about.
    #[must_use]
    pub fn services(&self) -> HashSet<ServiceName> {
        self.services.iter().map(|edit| edit.name).collect()
    }
}

impl ServiceEdit {
    pub(super) fn server(&self, name: ServerName) -> Option<&ServerEdit> {
        self.servers.iter().find(|edit| edit.name == name)
    }

    /// Edits the servers that a service has, which are in this pool if they are checked.
    pub(super) fn apply_to_servers(&self, service: &mut VirtualServer, pool: Option<&Pool>) {
        if self.servers.is_empty() {
            return;
        }
        let VirtualServer { real_servers: servers, forwarding, .. } = service;
        let servers = Arc::make_mut(servers);
        let edits: HashMap<ServerName, &ServerEdit> =
            self.servers.iter().map(|edit| (edit.name, edit)).collect();
        let mut there = HashSet::new();
        servers.retain_mut(|server| {
            let Some(edit) = edits.get(&server_name(server)) else { return true };
            there.insert(edit.name);
            let Some(spec) = edit.spec.now else { return false };
            let checked = server.weight;
            spec.apply(server);
            let of_file = edit.spec.file.is_none_or(|file| file.weight == checked);
            let inhibited = pool.is_some_and(|pool| pool.inhibits(Endpoint::of(server)));
            if inhibited || (!of_file && spec.weight > 0) {
                // Its checks have given it another weight, which counts; but who is drained stays so.
                server.weight = checked;
            }
            true
        });
        // Who has gone because a check has failed, does not come back by an edit.
        let added = self.servers.iter().filter(|edit| edit.spec.file.is_none());
        for edit in added.filter(|edit| !there.contains(&edit.name)) {
            if let Some(spec) = edit.spec.now {
                let mut server = new_server(edit.name, *forwarding);
                spec.apply(&mut server);
                servers.push(server);
            }
        }
    }
}

impl<T> Edited<T> {
    pub(super) const fn kind(&self) -> Kind {
        match (&self.file, &self.now) {
            (None, _) => Kind::Added,
            (Some(_), Some(_)) => Kind::Changed,
            (Some(_), None) => Kind::Deleted,
        }
    }
}

impl<T: PartialEq> Edited<T> {
    /// None if it changes nothing.
    pub(super) fn new(file: Option<T>, now: Option<T>) -> Option<Self> {
        (file != now).then_some(Self { file, now })
    }

    /// The same to what another file says, if it still counts.
    pub(super) fn against(
        self,
        file: Option<&T>,
        what: String,
        fates: &mut Vec<Fate>,
    ) -> Option<Self> {
        let outcome = if self.file.as_ref() == file {
            Outcome::Kept
        } else if self.now.as_ref() == file {
            Outcome::InFile
        } else {
            Outcome::Dropped(SAYS_OTHERWISE)
        };
        fates.push(Fate { what, kind: self.kind(), outcome });
        (outcome == Outcome::Kept).then_some(self)
    }
}
