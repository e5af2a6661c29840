//! `xlvs list`: the virtual services and their servers as the maps have them, and what the controller knows beside them: who is
//! down, why and since when, who stands in, and what was edited. The latter comes from its runtime directory (`Told`), so that
//! all of it is there while no controller runs, too. docs/control.md says what is in the JSON.

mod json;
#[cfg(test)]
mod tests;
mod text;

use std::{
    collections::{HashMap, HashSet},
    io,
};

use super::inspect::{Shown, no_such, print, wanted};
use crate::{
    bpf::PinnedMaps,
    control::{
        Place, Told,
        desired::{Kind, Kinds},
        edit::ServerName,
    },
    exit::Failure,
    health::{Name, Remembered, RememberedServer},
    inspect::{ServerView, ServiceName, ServiceView, Services},
};

/// What `xlvs list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    shown: Shown,
}

/// How a server stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    /// A check has failed.
    Down,
    /// Up, but the sorry server serves in its place.
    Held,
    /// It is the sorry server, and serves.
    Sorry,
    /// The file has it, and an edit has taken it away.
    Deleted,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Held => "held",
            Self::Sorry => "sorry",
            Self::Deleted => "deleted",
        }
    }

    /// For people, who are to see at a glance what is wrong.
    const fn shown(self) -> &'static str {
        match self {
            Self::Down => "DOWN",
            Self::Sorry => "SORRY",
            other => other.name(),
        }
    }
}

/// A server of a service.
#[derive(Debug)]
struct Server<'a> {
    name: ServerName,
    /// As the maps have it, if they do.
    view: Option<&'a ServerView>,
    /// `None` if the controller's directory is not known.
    state: Option<State>,
    since: Option<u64>,
    reason: Option<String>,
    edit: Option<Kind>,
}

/// A service with all that is known of it.
#[derive(Debug)]
struct Service<'a> {
    view: &'a ServiceView,
    /// What is out of the ordinary.
    health: Option<&'a Remembered>,
    edit: Option<Kind>,
    servers: Vec<Server<'a>>,
}

/// What is listed.
#[derive(Debug)]
struct Listing<'a> {
    told: Option<&'a Told>,
    services: Vec<Service<'a>>,
    /// Services of the file that an edit has deleted.
    deleted: Vec<ServiceName>,
}

pub(super) fn list(options: &List) -> Result<(), Failure> {
    let maps = PinnedMaps::open(&options.place.pin_dir)?;
    let mut services = Services::read(&maps, true)?;
    wanted(&mut services, options.shown.service);
    // What it says of them is no reason not to show them.
    let (told, trouble) = match Told::read(&options.place) {
        Ok(told) => (told, None),
        Err(error) => (None, Some(format!("{error:#}"))),
    };
    let mut listing = Listing::new(&services.services, told.as_ref());
    if let Some(filter) = options.shown.service {
        listing.deleted.retain(|name| filter.matches(*name));
        if listing.services.is_empty() && listing.deleted.is_empty() {
            return Err(no_such(filter));
        }
    }
    print(|out| {
        if options.shown.json {
            // There may be 100,000 servers: no tree is made of them first.
            serde_json::to_writer_pretty(&mut *out, &listing.json(&services.timeouts))
                .map_err(io::Error::from)?;
            return Ok(writeln!(out)?);
        }
        listing.print(trouble.as_deref(), out)
    })
}

impl<'a> Listing<'a> {
    fn new(views: &'a [ServiceView], told: Option<&'a Told>) -> Self {
        let mut health: HashMap<ServiceName, &Remembered> = HashMap::new();
        for one in told.iter().flat_map(|told| &told.memory.services) {
            let single = match one.service {
                Name::Single(name) => Some(name),
                Name::Group { .. } => None,
            };
            health.extend(one.names.iter().copied().chain(single).map(|name| (name, one)));
        }
        let mut edits = told.map(|told| told.edits.kinds()).unwrap_or_default();
        let services: Vec<Service<'_>> = views
            .iter()
            .map(|view| {
                let edits = edits.remove(&view.name).unwrap_or_default();
                Service::new(view, health.get(&view.name).copied(), &edits, told.is_some())
            })
            .collect();
        let deleted = edits.iter().filter(|(_, (kind, _))| *kind == Some(Kind::Deleted));
        let mut deleted: Vec<ServiceName> = deleted.map(|(name, _)| *name).collect();
        deleted.sort_by_cached_key(ToString::to_string);
        Self { told, services, deleted }
    }
}

impl<'a> Service<'a> {
    fn new(
        view: &'a ServiceView,
        health: Option<&'a Remembered>,
        (edit, edits): &Kinds,
        known: bool,
    ) -> Self {
        let remembered: HashMap<ServerName, &RememberedServer> = health
            .iter()
            .flat_map(|health| &health.servers)
            .map(|server| (ServerName { address: server.address, port: server.port }, server))
            .collect();
        let sorry = health.and_then(|health| health.sorry).filter(|sorry| sorry.serves);
        let sorry = sorry.map(|sorry| ServerName { address: sorry.address, port: sorry.port });
        let of = |name: ServerName, view: Option<&'a ServerView>| {
            let known_of = remembered.get(&name);
            let down = known_of.filter(|server| !server.up);
            let state = match down {
                _ if sorry == Some(name) && view.is_some() => State::Sorry,
                _ if view.is_none() && edits.get(&name) == Some(&Kind::Deleted) => State::Deleted,
                Some(_) => State::Down,
                None if view.is_none() && known_of.is_none() => State::Deleted,
                // An edit can have added one beside the sorry server.
                None if sorry.is_some() && view.is_none() => State::Held,
                None => State::Up,
            };
            let down = down.filter(|_| state == State::Down);
            Server {
                name,
                view,
                state: known.then_some(state),
                since: down.and_then(|down| down.since),
                reason: down.map(|down| down.why()),
                edit: edits.get(&name).copied(),
            }
        };
        let there = view.servers.iter().map(|server| {
            of(ServerName { address: server.address, port: server.port }, Some(server))
        });
        let mut servers: Vec<Server<'a>> = there.collect();
        if !remembered.is_empty() || !edits.is_empty() {
            let there: HashSet<ServerName> = servers.iter().map(|server| server.name).collect();
            let out = health.iter().flat_map(|health| &health.servers);
            let out = out.map(|server| ServerName { address: server.address, port: server.port });
            let out: Vec<ServerName> = out.filter(|name| !there.contains(name)).collect();
            let deleted = edits.iter().filter(|(name, kind)| {
                **kind == Kind::Deleted && !there.contains(*name) && !remembered.contains_key(*name)
            });
            let mut deleted: Vec<ServerName> = deleted.map(|(name, _)| *name).collect();
            deleted.sort_by_key(|name| (name.address, name.port));
            servers.extend(out.into_iter().chain(deleted).map(|name| of(name, None)));
        }
        Self { view, health, edit: *edit, servers }
    }

    fn count(&self, state: State) -> usize {
        self.servers.iter().filter(|server| server.state == Some(state)).count()
    }

    /// The sorry server, while it serves.
    fn sorry(&self) -> Option<ServerName> {
        let sorry = self.servers.iter().find(|server| server.state == Some(State::Sorry));
        sorry.map(|sorry| sorry.name)
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Changed => "changed",
        Kind::Deleted => "deleted",
    }
}
