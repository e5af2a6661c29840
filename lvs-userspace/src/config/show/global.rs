//! `global_defs`, `SSL`, `track_file`.

use super::{
    super::{
        model::{Config, FlushOnStop, Global, Mail, NotifyFifo, SslFiles, SyncDaemon, TrackFile},
        quote,
        schema::{self, Form, Place},
    },
    Text, checker,
};

/// Writes what does not belong to one service.
pub(super) fn write(config: &Config, out: &mut Text) {
    let mut inner = Text { depth: 1, ..Text::default() };
    timeouts(config, &mut inner);
    global(&config.global, &mut inner);
    if !inner.text.is_empty() {
        out.block("global_defs", |out| out.text.push_str(&inner.text));
    }
    if let Some(ssl) = &config.ssl {
        out.block("SSL", |out| self::ssl(ssl, out));
    }
    for file in &config.track_files {
        out.block(&format!("track_file {}", quote::plain(&file.name)), |out| {
            track_file(file, out);
        });
    }
    // keepalived's own, but checkers name them.
    for name in bfd(config) {
        out.block(&format!("bfd_instance {}", quote::plain(name)), |_| {});
    }
}

/// The BFD sessions that checkers are about, each once.
fn bfd(config: &Config) -> Vec<&str> {
    let servers = config.services.iter().flat_map(|service| service.real_servers.iter());
    let checks = servers.flat_map(|server| &server.checkers);
    let mut names: Vec<&str> = checks
        .filter_map(|checker| match &checker.check {
            super::super::model::Check::Bfd(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn timeouts(config: &Config, out: &mut Text) {
    let timeouts = config.timeouts;
    let given = [("tcp", timeouts.tcp), ("tcpfin", timeouts.tcp_fin), ("udp", timeouts.udp)];
    let given: Vec<String> = given
        .iter()
        .filter_map(|(name, seconds)| seconds.map(|seconds| format!("{name} {seconds}")))
        .collect();
    if !given.is_empty() {
        out.line(&format!("lvs_timeouts {}", given.join(" ")));
    }
}

fn global(global: &Global, out: &mut Text) {
    let Global {
        lvs_flush,
        lvs_flush_on_stop,
        sync_daemon,
        script_user,
        script_security,
        lvs_notify_fifo,
        notify_fifo,
        rs_init_notifies,
        mail,
        others,
    } = global;
    out.flag("lvs_flush", *lvs_flush);
    match lvs_flush_on_stop {
        Some(FlushOnStop::All) => out.line("lvs_flush_on_stop"),
        Some(FlushOnStop::VirtualServers) => out.line("lvs_flush_on_stop VS"),
        None => {}
    }
    if let Some(daemon) = sync_daemon {
        out.line(&self::sync_daemon(daemon));
    }
    if let Some(user) = script_user {
        out.line(&format!("script_user {}", checker::user(user)));
    }
    out.flag("enable_script_security", *script_security);
    fifo("lvs_notify_fifo", lvs_notify_fifo.as_ref(), out);
    fifo("notify_fifo", notify_fifo.as_ref(), out);
    out.flag("rs_init_notifies", *rs_init_notifies);
    self::mail(mail, out);
    for (keyword, words) in others {
        let is_script = schema::find(Place::GlobalDefs, keyword)
            .is_some_and(|entry| matches!(entry.form, Form::Script));
        let quote = if is_script { quote::escaped } else { quote::plain };
        let words: Vec<String> = words.iter().map(|word| format!(" {}", quote(word))).collect();
        out.line(&format!("{keyword}{}", words.concat()));
    }
}

fn sync_daemon(daemon: &SyncDaemon) -> String {
    let mut line = format!("lvs_sync_daemon {}", quote::plain(&daemon.interface));
    let options = [
        ("inst", daemon.instance.as_deref().map(quote::plain)),
        ("id", daemon.id.map(|id| id.to_string())),
        ("maxlen", daemon.max_length.map(|length| length.to_string())),
        ("port", daemon.port.map(|port| port.to_string())),
        ("ttl", daemon.ttl.map(|ttl| ttl.to_string())),
        ("group", daemon.group.map(|group| group.to_string())),
    ];
    for (name, value) in options {
        if let Some(value) = value {
            line.extend([" ", name, " ", &value]);
        }
    }
    line
}

fn fifo(keyword: &str, fifo: Option<&NotifyFifo>, out: &mut Text) {
    let Some(NotifyFifo { path, owner, script }) = fifo else { return };
    let owner = owner.as_ref().map(|owner| format!(" {}", checker::user(owner)));
    let path = quote::plain(&path.to_string_lossy());
    out.line(&format!("{keyword} {path}{}", owner.unwrap_or_default()));
    if let Some(script) = script {
        out.line(&format!("{keyword}_script {}", checker::script(script)));
    }
}

fn mail(mail: &Mail, out: &mut Text) {
    let Mail {
        to,
        from,
        server,
        helo_name,
        timeout,
        router_id,
        no_checker_emails,
        no_email_faults,
    } = mail;
    if !to.is_empty() {
        out.block("notification_email", |out| {
            for address in to {
                out.line(&quote::first(address));
            }
        });
    }
    out.word("notification_email_from", from.as_deref());
    if let Some((server, port)) = server {
        out.line(&format!("smtp_server {} {port}", quote::plain(server)));
    }
    out.word("smtp_helo_name", helo_name.as_deref());
    if let Some(timeout) = timeout {
        out.line(&format!("smtp_connect_timeout {timeout}"));
    }
    out.word("router_id", router_id.as_deref());
    out.flag("no_checker_emails", *no_checker_emails);
    out.flag("no_email_faults", *no_email_faults);
}

fn ssl(ssl: &SslFiles, out: &mut Text) {
    out.word("password", ssl.password.as_deref());
    for (keyword, path) in [("ca", &ssl.ca), ("certificate", &ssl.certificate), ("key", &ssl.key)] {
        if let Some(path) = path {
            out.word(keyword, Some(&path.to_string_lossy()));
        }
    }
}

fn track_file(file: &TrackFile, out: &mut Text) {
    out.word("file", Some(&file.path.to_string_lossy()));
    let reverse = if file.reverse { " reverse" } else { "" };
    out.line(&format!("weight {}{reverse}", file.weight));
    if let Some(initial) = file.initial {
        let overwrite = if initial.overwrite { " overwrite" } else { "" };
        out.line(&format!("init_file {}{overwrite}", initial.value));
    }
}
