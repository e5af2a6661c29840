//! `global_defs` as far as it concerns the balancer, `track_file`, and what else holds for all services.

use std::{net::IpAddr, path::PathBuf};

use serde::Serialize;

use super::{Script, ScriptUser};

/// What a file says for all services.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Global {
    /// `lvs_flush`: clear all services at the start. Here every start does.
    pub lvs_flush: bool,
    /// `lvs_flush_on_stop`.
    pub lvs_flush_on_stop: Option<FlushOnStop>,
    /// `lvs_sync_daemon`.
    pub sync_daemon: Option<SyncDaemon>,
    /// `script_user`.
    pub script_user: Option<ScriptUser>,
    /// `enable_script_security`: run no script as root that others can write.
    pub script_security: bool,
    /// `lvs_notify_fifo`: where changes of state are written.
    pub lvs_notify_fifo: Option<NotifyFifo>,
    /// `notify_fifo`: the same, of everything.
    pub notify_fifo: Option<NotifyFifo>,
    /// `rs_init_notifies`: run `notify_up` and `notify_down` for the first state too.
    pub rs_init_notifies: bool,
    /// Mail.
    pub mail: Mail,
    /// Every other keyword of `global_defs` with its arguments, checked but of no effect, in the order of the file.
    pub others: Vec<(&'static str, Vec<String>)>,
}

/// What to clear at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FlushOnStop {
    /// Everything at once.
    All,
    /// `VS`: the services of the file.
    VirtualServers,
}

/// The kernel's connection synchronisation (`ipvsadm --start-daemon`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SyncDaemon {
    /// The interface.
    pub interface: String,
    /// The `vrrp_instance` that decides between master and backup.
    pub instance: Option<String>,
    /// `id`, 0 to 255; absent for the instance's.
    pub id: Option<u8>,
    /// `maxlen`, 1 to 65507: bytes in a datagram.
    pub max_length: Option<u16>,
    /// `port`; 8848 by default.
    pub port: Option<u16>,
    /// `ttl`; 1 by default.
    pub ttl: Option<u8>,
    /// `group`: the multicast address; 224.0.0.81 by default.
    pub group: Option<IpAddr>,
}

/// A named pipe for changes of state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NotifyFifo {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub owner: Option<ScriptUser>,
    /// `…_script`: what reads it.
    pub script: Option<Script>,
}

/// Mail about changes of state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Mail {
    /// `notification_email`: to whom.
    pub to: Vec<String>,
    /// `notification_email_from`.
    pub from: Option<String>,
    /// `smtp_server`: its address or name, and port; 25 by default.
    pub server: Option<(String, u16)>,
    /// `smtp_helo_name`; the host's name by default.
    pub helo_name: Option<String>,
    /// `smtp_connect_timeout` in seconds; 30 by default.
    pub timeout: Option<u32>,
    /// `router_id`: what the host is called in a mail; its name by default.
    pub router_id: Option<String>,
    /// `no_checker_emails`: none about the results of single checkers.
    pub no_checker_emails: bool,
    /// `no_email_faults`.
    pub no_email_faults: bool,
}

/// A file whose number servers and VRRP can follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrackFile {
    /// What checkers call it.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// The `weight` of checkers that name none.
    pub weight: i32,
    /// The direction of those.
    pub reverse: bool,
    /// `init_file`: write this number at the start, if there is no file, or in any case.
    pub initial: Option<InitialValue>,
    /// The line in the file, counted from 1.
    pub line: usize,
}

/// What to write to a track file at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct InitialValue {
    /// The number; 0 by default.
    pub value: i32,
    /// Even if the file is there.
    pub overwrite: bool,
}
