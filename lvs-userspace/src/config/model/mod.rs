//! What a configuration says, in types: the only part of the front end that the controller sees.
//!
//! Everything here has been checked: addresses and ports can be used as they are, defaults are filled in, groups are
//! taken apart.

mod checker;
mod forwarding;
mod global;
mod http;
mod json;
mod mark;
mod persistence;
mod real_server;
mod scheduler;
mod script;
mod service;

use serde::Serialize;

pub use self::{
    checker::{
        Check, Checker, Connection, DnsCheck, DnsType, FileCheck, MiscCheck, PatternByte, Schedule,
        SmtpCheck, UdpCheck, UdpReply,
    },
    forwarding::{Forwarding, Tunnel, TunnelChecksum, TunnelKind},
    global::{FlushOnStop, Global, InitialValue, Mail, NotifyFifo, SyncDaemon, TrackFile},
    http::{HttpCheck, HttpVersion, SslFiles, Url, UrlRegex},
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
