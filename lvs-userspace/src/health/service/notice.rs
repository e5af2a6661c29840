//! What there is to tell of a service and its servers.

use std::{fmt, sync::Arc};

use super::Service;
use crate::{
    config::{Protocol, Script},
    health::identity::{Endpoint, ServiceId, trio},
};

/// Something to tell: a script to run, a line for the FIFOs. The order counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notice {
    pub(crate) service: ServiceId,
    /// That of the service, absent with a mark.
    pub(crate) protocol: Option<Protocol>,
    /// The server that it is about; absent for the service's quorum.
    pub(crate) server: Option<Endpoint>,
    pub(crate) up: bool,
    pub(crate) script: Option<Arc<Script>>,
}

impl Service {
    pub(super) fn tell_server(&self, at: usize, notices: &mut Vec<Notice>) {
        let Some(server) = self.servers.get(at) else { return };
        let script = if server.alive { &server.notify_up } else { &server.notify_down };
        notices.push(Notice {
            service: self.id.clone(),
            protocol: self.protocol,
            server: Some(server.endpoint),
            up: server.alive,
            script: script.clone(),
        });
    }

    pub(super) fn tell_quorum(&self, notices: &mut Vec<Notice>) {
        let script = if self.has_quorum { &self.quorum.up } else { &self.quorum.down };
        notices.push(Notice {
            service: self.id.clone(),
            protocol: self.protocol,
            server: None,
            up: self.has_quorum,
            script: script.clone().map(Arc::new),
        });
    }
}

impl Notice {
    /// A line for the FIFOs: `notify_fifo_rs()` and `notify_fifo_vs()`.
    pub(crate) fn fifo_line(&self) -> String {
        let state = if self.up { "UP" } else { "DOWN" };
        let service = self.service.fifo_name();
        match self.server {
            Some(server) => {
                let server = trio(server.address, self.protocol, server.port);
                format!("RS {server} {service} {state}\n")
            }
            None => format!("VS {service} {state}\n"),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { service, .. } = self;
        match (self.server, self.up) {
            (Some(server), true) => write!(f, "real server {server} of {service} is up"),
            (Some(server), false) => write!(f, "real server {server} of {service} is down"),
            (None, true) => write!(f, "{service} has its quorum"),
            (None, false) => write!(f, "{service} has no quorum"),
        }
    }
}
