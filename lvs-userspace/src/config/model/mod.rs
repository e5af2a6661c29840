//! What a configuration says, in types: the only part of the front end that the controller sees.
//!
//! Everything here has been checked: addresses and ports can be used as they are, defaults are filled in, groups are
//! taken apart.

mod checker;
mod forwarding;
mod global;
mod http;
mod json;
mod line;
mod mark;
mod persistence;
mod real_server;
mod scheduler;
mod script;
mod service;

use std::{collections::HashMap, sync::Arc};

use serde::Serialize;

pub use self::{
    checker::{
        Check, Checker, Connection, DnsCheck, DnsType, FileCheck, MiscCheck, PatternByte, Schedule,
        SmtpCheck, UdpCheck, UdpReply,
    },
    forwarding::{Forwarding, Tunnel, TunnelChecksum, TunnelKind},
    global::{FlushOnStop, Global, InitialValue, Mail, NotifyFifo, SyncDaemon, TrackFile},
    http::{HttpCheck, HttpVersion, SslFiles, Url, UrlRegex},
    line::Line,
    mark::MarkMatch,
    persistence::{Granularity, Persistence},
    real_server::{RealServer, SorryServer},
    scheduler::{Scheduler, SchedulerFlags},
    script::{Script, ScriptUser},
    service::{Family, Protocol, Quorum, Target, VirtualServer},
};

/// All of a configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Config {
    /// In the order of the file, at most 4,000 with 131,072 real servers in all; no two have the same target, family
    /// and protocol.
    pub services: Vec<VirtualServer>,
    /// `fwmark_match`: which packets carry a mark, in the order of the file. Where several fit a packet, the first
    /// one counts. They have at most 65,536 keys in all.
    pub marks: Vec<MarkMatch>,
    /// `lvs_timeouts`.
    pub timeouts: Timeouts,
    /// `global_defs` but for that.
    pub global: Global,
    /// `SSL`.
    pub ssl: Option<SslFiles>,
    /// `track_file`: no two have the same name.
    pub track_files: Vec<TrackFile>,
}

impl Config {
    /// Has what is as it was in another configuration be the other's: it is there once then, and the two are compared at
    /// once.
    pub(crate) fn share(&mut self, before: &Self) {
        let key = |service: &VirtualServer| (service.target, service.family, service.protocol);
        let before: HashMap<_, &VirtualServer> =
            before.services.iter().map(|service| (key(service), service)).collect();
        for service in &mut self.services {
            let Some(was) = before.get(&key(service)) else { continue };
            if service.real_servers == was.real_servers {
                service.real_servers = Arc::clone(&was.real_servers);
                continue;
            }
            let servers = Arc::make_mut(&mut service.real_servers).iter_mut();
            for (server, was) in servers.zip(was.real_servers.iter()) {
                if server.checkers == was.checkers {
                    server.checkers.clone_from(&was.checkers);
                }
            }
        }
    }
}

/// For how many seconds a connection lives without a packet; absent means the default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Timeouts {
    /// An established TCP connection, 900 by default.
    pub tcp: Option<u32>,
    /// A TCP connection that is being closed, 120 by default.
    pub tcp_fin: Option<u32>,
    /// UDP, 300 by default.
    pub udp: Option<u32>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Policy, parse};

    #[test]
    fn what_is_as_it_was_is_there_once() {
        let service = |last: u8, weight: u8| {
            format!(
                "virtual_server 10.0.0.{last} 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n\
                 real_server 10.1.0.1 80 {{\nweight {weight}\nTCP_CHECK {{\n}}\n}}\n}}\n"
            )
        };
        let read = |text: &str| parse("f", text, &Policy::default()).unwrap().config;
        let before = read(&format!("{}{}", service(1, 1), service(2, 1)));
        // A service more at the top, so that all others stand elsewhere, and another weight in the last one.
        let mut after = read(&format!("{}{}{}", service(3, 1), service(1, 1), service(2, 7)));
        let wanted = after.clone();
        after.share(&before);
        assert_eq!(after, wanted);
        let servers =
            |config: &super::Config, at: usize| Arc::clone(&config.services[at].real_servers);
        assert!(Arc::ptr_eq(&servers(&after, 1), &servers(&before, 0)));
        let (is, was) = (servers(&after, 2), servers(&before, 1));
        assert_eq!((is[0].weight, was[0].weight), (7, 1));
        assert!(Arc::ptr_eq(&is[0].checkers[0], &was[0].checkers[0]));
    }
}
