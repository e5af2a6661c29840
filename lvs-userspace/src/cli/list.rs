//! `xlvs list`: the virtual services and their servers as the maps have them, and what the controller knows beside them: who is
//! down, why and since when, who stands in, and what was edited. The latter comes from its runtime directory (`Told`), so that
//! all of it is there while no controller runs, too. docs/control.md says what is in the JSON.

use std::{
    collections::{HashMap, HashSet},
    io::{self, Write},
};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    inspect::{Early, Shown, print, wanted},
    places::Directories,
    table::Table,
};
use crate::{
    bpf::PinnedMaps,
    clock::age,
    config::{Granularity, Timeouts},
    control::{
        Told,
        desired::{Kind, Kinds},
        edit::ServerName,
    },
    exit::Failure,
    health::{Name, Remembered, RememberedServer},
    inspect::{Counts, ServerView, ServiceName, ServiceView, Services, persistence_mask},
};

/// What `xlvs list` takes.
#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    directories: Directories,
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

/// The listing for programs, as docs/control.md has it.
#[derive(Debug, Serialize)]
struct ListingJson<'a> {
    controller: Option<Value>,
    services: Vec<ServiceJson<'a>>,
    deleted: &'a [ServiceName],
    timeouts: Value,
}

#[expect(clippy::struct_excessive_bools, reason = "the flags of a service")]
#[derive(Debug, Serialize)]
struct ServiceJson<'a> {
    service: ServiceName,
    id: u32,
    scheduler: String,
    fallback: bool,
    source_port: bool,
    flag_3: bool,
    forwarding: String,
    one_packet: bool,
    persistence: Option<Value>,
    quorum: Option<bool>,
    sorry: Option<ServerName>,
    edit: Option<&'static str>,
    counts: Counts,
    servers: Vec<ServerJson<'a>>,
}

#[derive(Debug, Serialize)]
struct ServerJson<'a> {
    id: Option<u32>,
    #[serde(flatten)]
    name: ServerName,
    state: Option<&'static str>,
    since: Option<u64>,
    reason: Option<&'a str>,
    edit: Option<&'static str>,
    weight: Option<u32>,
    upper_threshold: Option<u32>,
    lower_threshold: Option<u32>,
    overloaded: Option<bool>,
    active: Option<u32>,
    inactive: Option<u32>,
    persistent: Option<u32>,
    counts: Option<Counts>,
}

pub(super) fn list(options: &List) -> Result<(), Failure> {
    let maps = PinnedMaps::open(options.directories.pins())?;
    let mut services = Services::read(&maps, true)?;
    wanted(&mut services, options.shown.service);
    // What it says of them is no reason not to show them.
    let (told, trouble) = match options.directories.files().map(Told::read) {
        None => (None, None),
        Some(Ok(told)) => (Some(told), None),
        Some(Err(error)) => (None, Some(format!("{error:#}"))),
    };
    let mut listing = Listing::new(&services.services, told.as_ref());
    if let Some(filter) = options.shown.service {
        listing.deleted.retain(|name| filter.matches(*name));
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

fn controller_json(told: &Told) -> Value {
    let outdated = told.out_of_date.as_ref();
    json!({
        "running": told.running,
        "changed": told.changed,
        "outdated": outdated.map(|(since, reason)| json!({"since": since, "reason": reason})),
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

    fn json(&self, timeouts: &Timeouts) -> ListingJson<'_> {
        ListingJson {
            controller: self.told.map(controller_json),
            services: self.services.iter().map(Service::json).collect(),
            deleted: &self.deleted,
            timeouts: json!({"tcp": timeouts.tcp, "tcp_fin": timeouts.tcp_fin, "udp": timeouts.udp}),
        }
    }

    fn print(&self, trouble: Option<&str>, out: &mut dyn Write) -> Result<(), Early> {
        let before = self.remarks(trouble);
        for line in &before {
            writeln!(out, "{line}")?;
        }
        if !before.is_empty() {
            writeln!(out)?;
        }
        let mut table = Table::new(&[
            "SERVICE / SERVER",
            "STATE",
            "SCHEDULER",
            "METHOD",
            ">WEIGHT",
            ">ACTIVE",
            ">INACTIVE",
            ">CLIENTS",
            ">UPPER",
            ">LOWER",
            "NOTES",
        ]);
        for service in &self.services {
            table.row(service.row());
            for server in &service.servers {
                table.row(server.row());
            }
        }
        for name in &self.deleted {
            let mut row = <[String; 11]>::default();
            let [service, state, .., notes] = &mut row;
            *service = name.to_string();
            State::Deleted.shown().clone_into(state);
            "by an edit".clone_into(notes);
            table.row(row);
        }
        Ok(table.print(out)?)
    }

    /// What is to be known about all of it.
    fn remarks(&self, trouble: Option<&str>) -> Vec<String> {
        let Some(told) = self.told else {
            return vec![match trouble {
                None => "Who is down and what was edited is not shown: give the --runtime-dir of `xlvs run`.".to_owned(),
                Some(trouble) => format!("Who is down and what was edited is not shown: {trouble}."),
            }];
        };
        let mut remarks = Vec::new();
        if !told.running {
            let what = match told.changed {
                Some(changed) => format!(
                    "who was down when it ended is shown, which had changed {} ago",
                    age(changed)
                ),
                None => "all of them were up when it ended".to_owned(),
            };
            remarks.push(format!("No controller runs: servers are not checked; {what}."));
        }
        if let Some((since, reason)) = &told.out_of_date {
            remarks.push(format!(
                "The configuration file is not what is in use, for {}: {reason}",
                age(*since)
            ));
        }
        remarks
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
                Some(_) => State::Down,
                None if view.is_none() && known_of.is_none() => State::Deleted,
                None if sorry.is_some() => State::Held,
                None => State::Up,
            };
            let down = down.filter(|_| state == State::Down);
            Server {
                name,
                view,
                state: known.then_some(state),
                since: down.and_then(|down| down.since),
                reason: down.map(|down| reasons(down)),
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

    fn json(&self) -> ServiceJson<'_> {
        let view = self.view;
        let persistence = view.persistence.map(|persistence| {
            let granularity = match persistence.granularity {
                Granularity::Mask(mask) => json!(mask),
                Granularity::Prefix(length) => json!(length),
            };
            json!({"timeout": persistence.timeout.as_secs(), "granularity": granularity})
        });
        let known = self.servers.iter().all(|server| server.state.is_some());
        ServiceJson {
            service: view.name,
            id: view.id,
            scheduler: view.scheduler.to_string(),
            fallback: view.flags.fallback,
            source_port: view.flags.port,
            flag_3: view.flags.flag_3,
            forwarding: view.forwarding.to_string(),
            one_packet: view.one_packet,
            persistence,
            quorum: known.then(|| self.health.is_none_or(|health| health.quorum)),
            sorry: self.sorry(),
            edit: self.edit.map(kind),
            counts: view.counts,
            servers: self.servers.iter().map(Server::json).collect(),
        }
    }

    fn row(&self) -> [String; 11] {
        let view = self.view;
        let sum = |of: fn(&ServerView) -> u32| {
            view.servers.iter().map(|server| u64::from(of(server))).sum::<u64>().to_string()
        };
        let mut notes = Vec::new();
        if let Some(health) = self.health.filter(|health| !health.quorum) {
            notes.push(format!(
                "no quorum: weight {} is up, {} is needed",
                health.weight, health.needed
            ));
        }
        notes.extend(edit_note(self.edit));
        notes.extend(what_it_is_like(view));
        [
            view.name.to_string(),
            self.state(),
            view.scheduler.to_string(),
            view.forwarding.to_string(),
            String::new(),
            sum(|server| server.active),
            sum(|server| server.inactive),
            sum(|server| server.persistent.unwrap_or_default()),
            String::new(),
            String::new(),
            notes.join(", "),
        ]
    }

    /// The worst that there is to say of it.
    fn state(&self) -> String {
        let (up, down) = (self.count(State::Up), self.count(State::Down));
        if self.sorry().is_some() {
            "SORRY".to_owned()
        } else if down > 0 && up == 0 {
            "ALL DOWN".to_owned()
        } else if down > 0 {
            format!("{down} of {} DOWN", up + down)
        } else {
            String::new()
        }
    }
}

impl Server<'_> {
    fn json(&self) -> ServerJson<'_> {
        let Self { name, view, .. } = self;
        ServerJson {
            id: view.map(|view| view.id),
            name: *name,
            state: self.state.map(State::name),
            since: self.since,
            reason: self.reason.as_deref(),
            edit: self.edit.map(kind),
            weight: view.map(|view| view.weight),
            upper_threshold: view.map(|view| view.upper_threshold),
            lower_threshold: view.map(|view| view.lower_threshold),
            overloaded: view.map(|view| view.overloaded),
            active: view.map(|view| view.active),
            inactive: view.map(|view| view.inactive),
            persistent: view.and_then(|view| view.persistent),
            counts: view.map(|view| view.counts),
        }
    }

    fn row(&self) -> [String; 11] {
        let number = |of: fn(&ServerView) -> u32| {
            self.view.map_or_else(|| "-".to_owned(), |view| of(view).to_string())
        };
        let limit = |of: fn(&ServerView) -> u32| {
            self.view.map_or_else(|| "-".to_owned(), |view| limit(of(view)))
        };
        [
            format!("  {}", self.name),
            self.state.map_or("", State::shown).to_owned(),
            String::new(),
            String::new(),
            number(|view| view.weight),
            number(|view| view.active),
            number(|view| view.inactive),
            number(|view| view.persistent.unwrap_or_default()),
            limit(|view| view.upper_threshold),
            limit(|view| view.lower_threshold),
            self.notes(),
        ]
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        match (&self.since, &self.reason) {
            (Some(since), Some(reason)) => notes.push(format!("for {}: {reason}", age(*since))),
            (None, Some(reason)) => notes.push(reason.clone()),
            _ => {}
        }
        if self.state == Some(State::Held) {
            notes.push("until there is a quorum".to_owned());
        }
        if self.view.is_some_and(|view| view.overloaded) {
            notes.push("overloaded".to_owned());
        }
        if self.state == Some(State::Deleted) {
            notes.push("by an edit".to_owned());
        } else {
            notes.extend(edit_note(self.edit));
        }
        notes.join(", ")
    }
}

/// Why a server is down: what each check that has failed says.
fn reasons(server: &RememberedServer) -> String {
    let failed = || server.checkers.iter().filter(|checker| !checker.up);
    let reasons: Vec<&str> = failed().filter_map(|checker| checker.reason.as_deref()).collect();
    if !reasons.is_empty() {
        reasons.join("; ")
    } else if failed().any(|checker| checker.made) {
        "a check has failed".to_owned()
    } else {
        "it was not checked yet (alpha)".to_owned()
    }
}

const fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Added => "added",
        Kind::Changed => "changed",
        Kind::Deleted => "deleted",
    }
}

fn edit_note(edit: Option<Kind>) -> Option<String> {
    edit.map(|edit| format!("{} by an edit", kind(edit)))
}

fn limit(threshold: u32) -> String {
    if threshold == 0 { "-".to_owned() } else { threshold.to_string() }
}

fn what_it_is_like(view: &ServiceView) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(persistence) = view.persistence {
        let mut note = format!("persistent {} s", persistence.timeout.as_secs());
        if let Some(mask) = persistence_mask(persistence.granularity) {
            note += " by ";
            note += &mask;
        }
        notes.push(note);
    }
    for (set, note) in [
        (view.one_packet, "one packet"),
        (view.flags.fallback, "fallback"),
        (view.flags.port, "source port"),
    ] {
        if set {
            notes.push(note.to_owned());
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Family, Forwarding, Protocol, Scheduler, SchedulerFlags};

    fn server(last: u8, weight: u32) -> ServerView {
        ServerView {
            id: last.into(),
            address: [10, 0, 0, last].into(),
            port: 80,
            weight,
            upper_threshold: 0,
            lower_threshold: 0,
            overloaded: false,
            active: 2,
            inactive: 0,
            persistent: Some(0),
            counts: Counts::default(),
        }
    }

    fn service(name: ServiceName, servers: Vec<ServerView>) -> ServiceView {
        ServiceView {
            name,
            id: 1,
            scheduler: Scheduler::RoundRobin,
            flags: SchedulerFlags::default(),
            forwarding: Forwarding::Nat,
            one_packet: false,
            persistence: None,
            servers,
            counts: Counts::default(),
        }
    }

    fn web(last: u8) -> ServiceName {
        ServiceName::Address {
            protocol: Protocol::Tcp,
            address: [192, 0, 2, last].into(),
            port: 80,
        }
    }

    fn told(memory: &str, edits: &str) -> Told {
        Told {
            memory: serde_json::from_str(&format!("{{\"services\":[{memory}]}}")).unwrap(),
            edits: serde_json::from_str(&format!(
                "{{\"services\":[{edits}],\"tcp\":null,\"tcp_fin\":null,\"udp\":null}}"
            ))
            .unwrap(),
            running: true,
            changed: None,
            out_of_date: None,
        }
    }

    fn printed(views: &[ServiceView], told: Option<&Told>) -> String {
        let mut out = Vec::new();
        assert!(Listing::new(views, told).print(None, &mut out).is_ok());
        String::from_utf8(out).unwrap()
    }

    /// The first is down and out, the second stays with weight 0; the sorry server serves two services, which are a group.
    #[test]
    fn who_is_down_stands_out_with_the_reason() {
        let memory = r#"{"service":{"group":"web","nth":0},"quorum":false,"weight":1,"needed":2,
            "names":[{"protocol":"TCP","address":"192.0.2.1","port":80},{"protocol":"TCP","address":"192.0.2.2","port":80}],
            "sorry":{"address":"10.0.0.9","port":80,"serves":true,"set":true},
            "servers":[
                {"address":"10.0.0.1","port":80,"up":false,"set":false,"weight":1,"since":1,
                    "checkers":[{"check":"x","made":true,"up":false,"added":0,"reason":"TCP_CHECK: connection refused"}]},
                {"address":"10.0.0.2","port":80,"up":false,"set":true,"weight":1,
                    "checkers":[{"check":"x","made":false,"up":false,"added":0}]},
                {"address":"10.0.0.3","port":80,"up":true,"set":false,"weight":1,"checkers":[]}]}"#;
        let told = told(memory, "");
        let views = [web(1), web(2)].map(|name| service(name, vec![server(9, 1), server(2, 0)]));
        let text = printed(&views, Some(&told));
        let age = age(1);
        let expected = format!(
            "\
SERVICE / SERVER  STATE  SCHEDULER  METHOD  WEIGHT  ACTIVE  INACTIVE  CLIENTS  UPPER  LOWER  NOTES
TCP 192.0.2.1:80  SORRY  rr         NAT                  4         0        0                no quorum: weight 1 is up, 2 is needed
  10.0.0.9:80     SORRY                          1       2         0        0      -      -
  10.0.0.2:80     DOWN                           0       2         0        0      -      -  it was not checked yet (alpha)
  10.0.0.1:80     DOWN                           -       -         -        -      -      -  for {age}: TCP_CHECK: connection refused
  10.0.0.3:80     held                           -       -         -        -      -      -  until there is a quorum
"
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(text[expected.len()..].starts_with("TCP 192.0.2.2:80  SORRY"), "{text}");
        let json = json!(Listing::new(&views, Some(&told)).services[0].json());
        assert_eq!(json["sorry"], json!({"address": "10.0.0.9", "port": 80}));
        assert_eq!((&json["quorum"], &json["edit"]), (&json!(false), &Value::Null));
        let down = &json["servers"][2];
        assert_eq!(
            (&down["state"], &down["since"], &down["reason"], &down["id"]),
            (&json!("down"), &json!(1), &json!("TCP_CHECK: connection refused"), &Value::Null)
        );
    }

    #[test]
    fn what_is_edited_is_marked() {
        let spec = r#"{"scheduler":"rr"}"#;
        let server_spec = r#"{"weight":1}"#;
        let edits = format!(
            r#"{{"name":{{"mark":7,"family":"IPv4"}},"spec":{{"file":null,"now":{spec}}},"servers":[
                {{"address":"10.0.0.1","port":80,"file":null,"now":{server_spec}}},
                {{"address":"10.0.0.2","port":80,"file":{server_spec},"now":null}},
                {{"address":"10.0.0.3","port":80,"file":{server_spec},"now":{{"weight":0}}}}]}},
              {{"name":{{"protocol":"TCP","address":"192.0.2.3","port":80}},"spec":{{"file":{spec},"now":null}},"servers":[]}}"#
        );
        let told = told("", &edits);
        let mark = ServiceName::Mark { mark: 7, family: Family::Ipv4 };
        let views =
            [service(web(1), vec![server(5, 1)]), service(mark, vec![server(1, 1), server(3, 0)])];
        let text = printed(&views, Some(&told));
        let lines: Vec<Vec<&str>> =
            text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
        let ends = |line: usize, wanted: &str| lines[line].join(" ").ends_with(wanted);
        assert_eq!(lines[0].join(" "), "TCP 192.0.2.1:80 rr NAT 2 0 0");
        assert!(
            ends(1, "- -") && ends(2, "added by an edit") && ends(3, "added by an edit"),
            "{text}"
        );
        assert!(ends(4, "- - changed by an edit"), "{text}");
        assert!(
            lines[5].join(" ").starts_with("10.0.0.2:80 deleted") && ends(5, "by an edit"),
            "{text}"
        );
        assert_eq!(lines[6].join(" "), "TCP 192.0.2.3:80 deleted by an edit");
        let listing = Listing::new(&views, Some(&told));
        let kinds: Vec<Value> = listing.services[1]
            .servers
            .iter()
            .map(|server| json!(server.json())["edit"].clone())
            .collect();
        assert_eq!(kinds, [json!("added"), json!("changed"), json!("deleted")]);
    }

    #[test]
    fn what_is_not_known_is_not_said() {
        let views = [service(web(1), vec![server(1, 1)])];
        let text = printed(&views, None);
        assert!(
            text.starts_with(
                "Who is down and what was edited is not shown: give the --runtime-dir"
            ),
            "{text}"
        );
        let json = json!(Listing::new(&views, None).services[0].json());
        assert_eq!((&json["quorum"], &json["servers"][0]["state"]), (&Value::Null, &Value::Null));
        let ended = Told { running: false, changed: Some(crate::clock::now()), ..told("", "") };
        let text = printed(&views, Some(&ended));
        assert!(text.starts_with("No controller runs: servers are not checked"), "{text}");
        assert!(text.contains("is shown, which had changed 0s ago.\n\nSERVICE"), "{text}");
    }
}
