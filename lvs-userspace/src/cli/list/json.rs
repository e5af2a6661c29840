//! The listing for programs, as docs/control.md has it.

use serde::Serialize;
use serde_json::{Value, json};

use super::{Listing, Server, Service, State, kind};
use crate::{
    config::{Granularity, Timeouts},
    control::{Told, edit::ServerName},
    inspect::{Counts, ServiceName},
};

/// The listing for programs, as docs/control.md has it.
#[derive(Debug, Serialize)]
pub(super) struct ListingJson<'a> {
    controller: Option<Value>,
    services: Vec<ServiceJson<'a>>,
    deleted: &'a [ServiceName],
    timeouts: Value,
}

#[expect(clippy::struct_excessive_bools, reason = "the flags of a service")]
#[derive(Debug, Serialize)]
pub(super) struct ServiceJson<'a> {
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
pub(super) struct ServerJson<'a> {
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

impl Listing<'_> {
    pub(super) fn json(&self, timeouts: &Timeouts) -> ListingJson<'_> {
        ListingJson {
            controller: self.told.map(controller_json),
            services: self.services.iter().map(Service::json).collect(),
            deleted: &self.deleted,
            timeouts: json!({"tcp": timeouts.tcp, "tcp_fin": timeouts.tcp_fin, "udp": timeouts.udp}),
        }
    }
}

impl Service<'_> {
    pub(super) fn json(&self) -> ServiceJson<'_> {
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
}

impl Server<'_> {
    pub(super) fn json(&self) -> ServerJson<'_> {
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
}

fn controller_json(told: &Told) -> Value {
    let outdated = told.out_of_date.as_ref();
    json!({
        "running": told.running,
        "changed": told.changed,
        "outdated": outdated.map(|(since, reason)| json!({"since": since, "reason": reason})),
    })
}
