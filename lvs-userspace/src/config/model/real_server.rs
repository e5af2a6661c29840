//! Real servers and the sorry server.

use std::{net::IpAddr, sync::Arc};

use serde::Serialize;

use super::{Checker, Forwarding, Line, Script};

/// A real server of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RealServer {
    /// The server's own address.
    pub address: IpAddr,
    /// The port it listens on; 0 is the port that the client used.
    pub port: u16,
    /// Its share of the connections; 0 takes no new ones. At most 2147483647.
    pub weight: u32,
    /// `lvs_method`, with the service's as default: how packets reach this one.
    pub forwarding: Forwarding,
    /// `uthreshold`: with so many connections it is overloaded and takes no new ones; 0 for no bound.
    pub upper_threshold: u32,
    /// `lthreshold`: with fewer connections it is not overloaded any more; 0 for three quarters of the upper one. Never
    /// more than that.
    pub lower_threshold: u32,
    /// A server that fails its checks gets weight 0 instead of being taken out, so that its connections go on.
    pub inhibit_on_failure: bool,
    /// What runs when it comes up.
    pub notify_up: Option<Arc<Script>>,
    /// What runs when it goes down.
    pub notify_down: Option<Arc<Script>>,
    /// Whether its changes of state are told by mail.
    pub smtp_alert: bool,
    /// Its name in SNMP.
    pub snmp_name: Option<String>,
    /// In the order of the file. It is up while none of them fails, so without one it always is. Shared with who makes them.
    pub checkers: Vec<Arc<Checker>>,
    /// The line in the file.
    pub line: Line,
}

impl RealServer {
    /// `weight` by default: `alloc_vs()` in keepalived's `check_data.c`.
    pub const WEIGHT: u32 = 1;

    /// One of which nothing is known but how to reach it: no file has it, and nobody checks it.
    #[must_use]
    pub const fn new(address: IpAddr, port: u16, forwarding: Forwarding) -> Self {
        Self {
            address,
            port,
            weight: Self::WEIGHT,
            forwarding,
            upper_threshold: 0,
            lower_threshold: 0,
            inhibit_on_failure: false,
            notify_up: None,
            notify_down: None,
            smtp_alert: false,
            snmp_name: None,
            checkers: Vec::new(),
            line: Line(0),
        }
    }
}

/// What takes the clients of a service that has lost its quorum. It is never checked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SorryServer {
    /// Its address, of the service's family.
    pub address: IpAddr,
    /// The port it listens on; 0 is the port that the client used.
    pub port: u16,
    /// `sorry_server_lvs_method`, with the service's as default.
    pub forwarding: Forwarding,
    /// `sorry_server_inhibit`: weight 0 instead of taking it out while the real servers do.
    pub inhibit: bool,
    /// The line in the file.
    pub line: Line,
}
