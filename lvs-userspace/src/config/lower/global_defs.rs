//! `global_defs` blocks: what holds for all services.

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{
            FlushOnStop, Global, Mail, NotifyFifo, ScriptUser, SyncDaemon, Timeouts, TrackFile,
        },
        schema::{Form, Keyword as K, Place},
        tree::Directive,
    },
    keyword,
    number::{self, Unit},
    setting::Setting,
    shell,
    value::{self, Choice},
    values::{self, Values},
};

const TIMEOUTS: &str = "lvs_timeouts [tcp SECONDS] [tcpfin SECONDS] [udp SECONDS]";

const SYNC_DAEMON: &str = "lvs_sync_daemon INTERFACE [[inst] VRRP] [id ID] [maxlen LENGTH] [port PORT] [ttl TTL] [group ADDRESS]";

/// keepalived's manual has the first, its parser the second.
const INCLUDE_CHECKS: &[&str] = &["readable", "read", "match", "wildcard_match", "brace_match"];

#[derive(Clone, Copy)]
enum Timeout {
    Tcp,
    TcpFin,
    Udp,
}

static TIMEOUT: Choice<Timeout> = Choice {
    what: "timeout",
    understood: &[("tcp", Timeout::Tcp), ("tcpfin", Timeout::TcpFin), ("udp", Timeout::Udp)],
    any_case: false,
};

/// What services and their checkers have from elsewhere in the file.
#[derive(Default)]
pub(super) struct Shared {
    /// `smtp_alert_checker`, else `smtp_alert`.
    pub(super) smtp_alert: Option<bool>,
    /// `checker_log_all_failures`.
    pub(super) log_all_failures: bool,
    pub(super) track_files: Vec<TrackFile>,
    /// Names of `bfd_instance` blocks.
    pub(super) bfd: Vec<String>,
}

/// What all such blocks of a file say together.
#[derive(Default)]
pub(super) struct Draft {
    tcp: Setting<Option<u32>>,
    tcp_fin: Setting<Option<u32>>,
    udp: Setting<Option<u32>>,
    values: Values,
    sync_daemon: Setting<SyncDaemon>,
    others: Vec<(&'static str, Vec<String>)>,
}

impl Draft {
    pub(super) fn read(&mut self, directive: &Directive<'_>, sink: &mut Sink) {
        value::args(directive, 0..=0, "global_defs {", sink);
        for child in directive.block.iter().flat_map(|block| &block.children) {
            let Some(entry) = keyword::visit(child, Place::GlobalDefs, sink) else { continue };
            match entry.keyword {
                K::Timeouts => {
                    keyword::refuse_block(child, sink);
                    self.timeouts(child, sink);
                }
                K::SyncDaemon => {
                    keyword::refuse_block(child, sink);
                    let daemon = sync_daemon(child, sink);
                    self.sync_daemon.set(child, daemon, sink);
                }
                K::Other => {
                    if entry.name == "include_check" {
                        include_check(child, sink);
                    }
                    Values::default().read(entry, child, sink);
                    let words = if matches!(entry.form, Form::Script) {
                        shell::words(child.raw).unwrap_or_default()
                    } else {
                        child.args.iter().map(|word| word.text.clone().into_owned()).collect()
                    };
                    self.others.push((entry.name, words));
                }
                _ => {
                    check_words(entry.keyword, child, sink);
                    self.values.read(entry, child, sink);
                }
            }
        }
    }

    fn timeouts(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let args = value::args(child, 1..=usize::MAX, TIMEOUTS, sink).unwrap_or_default();
        for option in args.chunks(2) {
            let [name, rest @ ..] = option else { return };
            // After a wrong name nobody knows which word is meant for a number.
            let Some(timeout) = TIMEOUT.pick(name, sink) else { return };
            let setting = match timeout {
                Timeout::Tcp => &mut self.tcp,
                Timeout::TcpFin => &mut self.tcp_fin,
                Timeout::Udp => &mut self.udp,
            };
            let [word] = rest else {
                sink.push(value::missing_argument(&name.text, name.span.end(), TIMEOUTS));
                return;
            };
            let seconds = number::seconds(child, word, 0..=number::TIMEOUT_LIMIT, sink);
            let value = seconds.map(|seconds| (seconds > 0).then_some(seconds));
            setting.set_as(&name.text, name.span.to(word.span), value, sink);
        }
    }

    /// What services have from here.
    pub(super) fn shared(&self) -> Shared {
        let values = &self.values;
        Shared {
            smtp_alert: values.truth(K::SmtpAlertChecker).or_else(|| values.truth(K::SmtpAlert)),
            log_all_failures: values.is_on(K::CheckerLogAllFailures),
            ..Shared::default()
        }
    }

    pub(super) fn finish(self) -> (Timeouts, Global) {
        let Self { tcp, tcp_fin, udp, values, sync_daemon, others } = self;
        let timeouts = Timeouts {
            tcp: tcp.value().flatten(),
            tcp_fin: tcp_fin.value().flatten(),
            udp: udp.value().flatten(),
        };
        let flush = values.words(K::LvsFlushOnStop).map(|words| match words {
            [] => FlushOnStop::All,
            _ => FlushOnStop::VirtualServers,
        });
        let global = Global {
            lvs_flush: values.is_on(K::LvsFlush),
            lvs_flush_on_stop: flush,
            sync_daemon: sync_daemon.value(),
            script_user: values.user(K::ScriptUser),
            script_security: values.is_on(K::ScriptSecurity),
            lvs_notify_fifo: fifo(&values, K::LvsNotifyFifo, K::LvsNotifyFifoScript),
            notify_fifo: fifo(&values, K::NotifyFifo, K::NotifyFifoScript),
            rs_init_notifies: values.is_on(K::RsInitNotifies),
            mail: mail(&values),
            others,
        };
        (timeouts, global)
    }
}

/// Checks what the tables leave open.
fn check_words(keyword: K, child: &Directive<'_>, sink: &mut Sink) {
    match (keyword, child.args.as_slice()) {
        (K::LvsFlushOnStop, [word]) => {
            value::word_of(child, word, &["VS"], sink);
        }
        (K::MailServer, [_, port]) => {
            number::port_not_zero(port, sink);
        }
        _ => {}
    }
}

/// What it does is the preprocessor's; here its words are looked at.
fn include_check(child: &Directive<'_>, sink: &mut Sink) {
    for word in &child.args {
        let name = word.text.strip_prefix(['+', '-']).unwrap_or(&word.text);
        let word = Word { text: name.into(), span: word.span };
        value::word_of(child, &word, INCLUDE_CHECKS, sink);
    }
}

fn fifo(values: &Values, path: K, script: K) -> Option<NotifyFifo> {
    let [path, owner @ ..] = values.words(path)? else { return None };
    let owner = match owner {
        [user] => Some(ScriptUser { user: user.clone(), group: None }),
        [user, group, ..] => Some(ScriptUser {
            user: user.clone(),
            group: Some(group.trim_start_matches(':').to_owned()),
        }),
        [] => None,
    };
    Some(NotifyFifo { path: path.into(), owner, script: values.script(script) })
}

fn mail(values: &Values) -> Mail {
    let server = values.words(K::MailServer).and_then(|words| {
        let port = words.get(1).and_then(|port| port.parse().ok());
        Some((words.first()?.clone(), port.unwrap_or(25)))
    });
    Mail {
        to: values.words(K::MailTo).map(<[String]>::to_vec).unwrap_or_default(),
        from: values.text(K::MailFrom),
        server,
        helo_name: values.text(K::MailHelo),
        timeout: values.number(K::MailTimeout),
        router_id: values.text(K::RouterId),
        no_checker_emails: values.is_on(K::NoCheckerEmails),
        no_email_faults: values.is_on(K::NoEmailFaults),
    }
}

fn sync_daemon(child: &Directive<'_>, sink: &mut Sink) -> Option<SyncDaemon> {
    let args = value::args(child, 1..=usize::MAX, SYNC_DAEMON, sink)?;
    values::refuse_backslash(args, sink)?;
    let [interface, rest @ ..] = args else { return None };
    let mut daemon = SyncDaemon {
        interface: interface.text.clone().into_owned(),
        instance: None,
        id: None,
        max_length: None,
        port: None,
        ttl: None,
        group: None,
    };
    let mut rest = rest;
    // In the old form the instance comes without its keyword, and an id may follow.
    let known = ["inst", "id", "maxlen", "port", "ttl", "group"];
    if let [instance, behind @ ..] = rest
        && !known.contains(&&*instance.text)
    {
        daemon.instance = Some(instance.text.clone().into_owned());
        rest = behind;
    }
    for option in rest.chunks(2) {
        let [name, word] = option else {
            let name = option.first()?;
            sink.push(value::missing_argument(&name.text, name.span.end(), SYNC_DAEMON));
            return None;
        };
        let number = |low, most, sink: &mut Sink| {
            number::integer(child, word, low..=most, Unit::Other, sink)
        };
        match &*name.text {
            "inst" => daemon.instance = Some(word.text.clone().into_owned()),
            "id" => daemon.id = u8::try_from(number(0, 255, sink)?).ok(),
            "maxlen" => daemon.max_length = u16::try_from(number(1, 65_507, sink)?).ok(),
            "port" => daemon.port = Some(number::port_not_zero(word, sink)?),
            "ttl" => daemon.ttl = u8::try_from(number(1, 255, sink)?).ok(),
            "group" => match word.text.parse::<std::net::IpAddr>() {
                Ok(address) if address.is_multicast() => daemon.group = Some(address),
                _ => {
                    let message = format!("{} is not a multicast address", quoted(&word.text));
                    sink.push(
                        Diagnostic::new(Code::BadAddress, word.span, message)
                            .help("IPVS takes 224.0.0.81 without it"),
                    );
                    return None;
                }
            },
            _ => {
                let message = format!("{} is no option of `lvs_sync_daemon`", quoted(&name.text));
                sink.push(
                    Diagnostic::new(Code::BadText, name.span, message)
                        .help(format!("write `{SYNC_DAEMON}`")),
                );
                return None;
            }
        }
    }
    Some(daemon)
}
