//! The checkers of a real server.

use std::{net::IpAddr, time::Duration};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{
            Check, Checker, Connection, DnsCheck, DnsType, FileCheck, Line, MiscCheck, PatternByte,
            Schedule, Script, SmtpCheck, TrackFile, UdpCheck, UdpReply,
        },
        schema::{self, Form, Keyword as K, Place},
        tree::Directive,
    },
    Context, http, keyword,
    number::{self, Unit},
    values::{self, Values},
};

/// What checkers have from outside.
#[derive(Debug, Clone)]
pub(super) struct Inherited<'a> {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    pub(super) delay_loop: Duration,
    /// Of the service, not of the real server: that is what `misc_timeout` goes by.
    pub(super) service_delay_loop: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) retry: Option<u32>,
    pub(super) delay_before_retry: Option<Duration>,
    pub(super) warmup: Option<Duration>,
    pub(super) alpha: bool,
    pub(super) log_all_failures: bool,
    pub(super) virtualhost: Option<String>,
    pub(super) track_files: &'a [TrackFile],
    /// Names of `bfd_instance` blocks.
    pub(super) bfd: &'a [String],
}

/// A checker's block, read as far as it stands by itself.
pub(super) struct Block<'d, 's> {
    pub(super) place: Place,
    pub(super) directive: &'d Directive<'s>,
    pub(super) values: Values,
    /// `url` of HTTP, `host` of SMTP.
    pub(super) inner: Vec<Values>,
}

/// Reads the block of a checker; if it has none, that has been reported.
fn read<'d, 's>(directive: &'d Directive<'s>, place: Place, sink: &mut Sink) -> Block<'d, 's> {
    let mut block = Block { place, directive, values: Values::default(), inner: Vec::new() };
    let children = directive.block.iter().flat_map(|block| &block.children);
    for child in children {
        let entry = match keyword::visit_or_guess(child, place, sink) {
            Ok(entry) => entry,
            Err(guess) => {
                block.values.guess(guess);
                continue;
            }
        };
        let Form::Block(_, inner) = entry.form else {
            block.values.read(entry, child, sink);
            continue;
        };
        let Some(content) = &child.block else {
            sink.push(values::missing_open(child));
            continue;
        };
        if inner == Place::Url {
            // Whatever is wrong with it is said of itself.
            block.values.guess(Some(entry.keyword));
        }
        super::value::args(child, 0..=0, entry.form.usage(entry.name), sink);
        let mut values = Values::default();
        for line in &content.children {
            match keyword::visit_or_guess(line, inner, sink) {
                Ok(entry) => values.read(entry, line, sink),
                Err(guess) => values.guess(guess),
            }
        }
        if inner != Place::Url || http::is_usable(&values, child, sink) {
            block.inner.push(values);
        }
    }
    block
}

/// Reads a checker and fills in what it does not say. One that cannot work is left out, as in keepalived.
pub(super) fn lower(
    directive: &Directive<'_>,
    inherited: &Inherited<'_>,
    context: &mut Context<'_>,
) -> Option<Checker> {
    let place = schema::needs_block(&directive.keyword.text)?;
    let line = Line(context.line(directive.keyword.span));
    let sink = &mut *context.sink;
    super::value::args(directive, 0..=0, format_args!("{} {{", directive.keyword.text), sink);
    let block = read(directive, place, sink);
    let connection = || Connection::of(&block.values, inherited);
    let check = match place {
        Place::TcpCheck => Check::Tcp(connection()),
        Place::PingCheck => Check::Ping(connection()),
        Place::HttpGet | Place::SslGet => {
            Check::Http(Box::new(http::lower(&block, inherited, sink)?))
        }
        Place::SmtpCheck => Check::Smtp(smtp(&block, inherited)),
        Place::DnsCheck => Check::Dns(DnsCheck {
            connection: connection(),
            record: record(block.values.text(K::RecordType).as_deref()),
            name: record_name(&block.values, sink),
        }),
        Place::MiscCheck => Check::Misc(misc(&block, inherited, sink)?),
        Place::UdpCheck => Check::Udp(udp(&block, inherited, sink)),
        Place::BfdCheck => Check::Bfd(bfd(&block, inherited, sink)?),
        Place::FileCheck => Check::File(file(&block, inherited, sink)?),
        _ => return None,
    };
    check_connections(&check, directive, sink)?;
    let schedule = schedule(&check, &block.values, inherited);
    Some(Checker { check, schedule, line })
}

/// Says that a checker is left out.
pub(super) fn left_out(block: &Block<'_, '_>, lacks: &str, help: &str) -> Diagnostic {
    let name = quoted(&block.directive.keyword.text);
    let message = format!("{name} {lacks}, so it is left out, as in keepalived");
    Diagnostic::new(Code::CheckIncomplete, block.directive.head(), message)
        .help(format!("{help}; the server counts as up without a check"))
}

fn schedule(check: &Check, values: &Values, inherited: &Inherited<'_>) -> Schedule {
    let alpha = values.truth(K::Alpha).unwrap_or(inherited.alpha);
    if matches!(check, Check::Bfd(_) | Check::File(_)) {
        // They ask nobody; a file is known at once.
        return Schedule { alpha: alpha && matches!(check, Check::Bfd(_)), ..Schedule::default() };
    }
    let retry = match check {
        Check::Dns(_) => Schedule::RETRY_DNS,
        Check::Misc(_) => Schedule::RETRY_MISC,
        _ => Schedule::RETRY,
    };
    let delay_loop = values.time(K::DelayLoop).unwrap_or(inherited.delay_loop);
    let delay_before_retry = match check {
        Check::Http(_) => Schedule::DELAY_BEFORE_RETRY_HTTP,
        Check::Dns(_) => delay_loop,
        _ => Schedule::DELAY_BEFORE_RETRY,
    };
    Schedule {
        delay_loop,
        retry: values
            .number(K::Retry)
            .or_else(|| values.number(K::NbGetRetry))
            .or(inherited.retry)
            .unwrap_or(retry),
        delay_before_retry: values
            .time(K::DelayBeforeRetry)
            .or(inherited.delay_before_retry)
            .unwrap_or(delay_before_retry),
        warmup: values.time(K::Warmup).or(inherited.warmup).unwrap_or(delay_loop),
        alpha,
        log_all_failures: values.truth(K::LogAllFailures).unwrap_or(inherited.log_all_failures),
    }
}

impl Connection {
    pub(super) fn of(values: &Values, inherited: &Inherited<'_>) -> Self {
        Self {
            address: values.address(K::ConnectIp).unwrap_or(inherited.address),
            port: values.port(K::ConnectPort).unwrap_or(inherited.port),
            bind_address: values.address(K::BindTo),
            bind_port: values.port(K::BindPort),
            bind_interface: values.text(K::BindIf),
            timeout: values.time(K::ConnectTimeout).unwrap_or(inherited.connect_timeout),
            mark: values.number(K::SocketMark).unwrap_or(0),
        }
    }
}

/// Whom a check asks.
fn connections(check: &Check) -> &[Connection] {
    match check {
        Check::Tcp(connection) | Check::Ping(connection) => std::slice::from_ref(connection),
        Check::Http(http) => std::slice::from_ref(&http.connection),
        Check::Dns(dns) => std::slice::from_ref(&dns.connection),
        Check::Udp(udp) => std::slice::from_ref(&udp.connection),
        Check::Smtp(smtp) => &smtp.hosts,
        Check::Misc(_) | Check::Bfd(_) | Check::File(_) => &[],
    }
}

/// Whether what a check asks can be reached at all; a port may come later, so that only a warning is given.
fn check_connections(check: &Check, directive: &Directive<'_>, sink: &mut Sink) -> Option<()> {
    let name = || quoted(&directive.keyword.text);
    for connection in connections(check) {
        if let Some(from) = connection.bind_address
            && from.is_ipv4() != connection.address.is_ipv4()
        {
            let to = connection.address;
            let message = format!("{} cannot reach {to} from {from}, so it is left out", name());
            sink.push(
                Diagnostic::new(Code::BindFamily, directive.head(), message)
                    .help("give `bindto` an address of the other family, or delete it"),
            );
            return None;
        }
        let local = matches!(connection.address, IpAddr::V6(v6) if v6.is_unicast_link_local());
        if local && connection.bind_interface.is_none() {
            let message = format!(
                "{} asks an address that is valid on one link only, so it is left out",
                name()
            );
            sink.push(
                Diagnostic::new(Code::CheckIncomplete, directive.head(), message)
                    .help("name the interface: `bind_if INTERFACE`"),
            );
            return None;
        }
        if connection.port == 0 && !matches!(check, Check::Ping(_)) {
            let message = format!("{} has no port to ask, and always fails", name());
            sink.push(
                Diagnostic::new(Code::CheckWithoutPort, directive.head(), message)
                    .help("the real server has none either; write `connect_port PORT`"),
            );
        }
    }
    Some(())
}

fn smtp(block: &Block<'_, '_>, inherited: &Inherited<'_>) -> SmtpCheck {
    let own = Connection::of(&block.values, inherited);
    // What a host does not say itself, the checker says.
    let defaults = Inherited {
        address: own.address,
        port: own.port,
        connect_timeout: own.timeout,
        ..inherited.clone()
    };
    let mut hosts: Vec<Connection> =
        block.inner.iter().map(|host| Connection::of(host, &defaults)).collect();
    if hosts.is_empty() {
        hosts.push(own);
    }
    let helo_name = block.values.text(K::HeloName);
    SmtpCheck { helo_name: helo_name.unwrap_or_else(|| SmtpCheck::HELO_NAME.to_owned()), hosts }
}

fn record(name: Option<&str>) -> DnsType {
    DnsType::NAMES
        .iter()
        .find(|(known, _)| name == Some(known))
        .map_or_else(DnsType::default, |(_, record)| *record)
}

/// What is asked for.
fn record_name(values: &Values, sink: &mut Sink) -> String {
    let Some(name) = values.text(K::RecordName) else { return DnsCheck::NAME.to_owned() };
    if let Some((fault, place)) = DnsCheck::name_fault(&name).zip(values.argument(K::RecordName)) {
        let message = format!("{} {fault}", quoted(&name));
        sink.push(
            Diagnostic::new(Code::BadText, place, message)
                .help("write a name such as `www.example.org`, or `.` for the root"),
        );
    }
    name
}

fn misc(block: &Block<'_, '_>, inherited: &Inherited<'_>, sink: &mut Sink) -> Option<MiscCheck> {
    let values = &block.values;
    let Some(script) = values.script(K::MiscPath) else {
        if !values.is_meant(K::MiscPath) {
            sink.push(left_out(block, "has no `misc_path`", "add `misc_path \"/path/program\"`"));
        }
        return None;
    };
    let seconds = values.number::<u32>(K::MiscTimeout).filter(|seconds| *seconds > 0);
    Some(MiscCheck {
        script: Script { user: values.user(K::User), ..script },
        timeout: seconds.map_or(inherited.service_delay_loop, |s| Duration::from_secs(s.into())),
        dynamic: values.is_on(K::MiscDynamic),
    })
}

fn udp(block: &Block<'_, '_>, inherited: &Inherited<'_>, sink: &mut Sink) -> UdpCheck {
    let values = &block.values;
    let mut bytes = |keyword, wild| {
        let words = values.words(keyword)?;
        let pattern = hex(words, wild);
        if pattern.is_none() && (!words.is_empty() || keyword == K::Payload) {
            let name = if wild { "require_reply" } else { "payload" };
            let help = if wild {
                "write pairs of hexadecimal digits, X for any digit: `0a XX 00`"
            } else {
                "write pairs of hexadecimal digits: `0a 0b 00`"
            };
            let head = values.head(keyword)?;
            let message = format!("`{name}` takes bytes in hexadecimal");
            sink.push(Diagnostic::new(Code::BadText, head, message).help(help));
        }
        pattern
    };
    let payload = bytes(K::Payload, false).unwrap_or_default();
    let pattern = bytes(K::RequireReply, true).unwrap_or_default();
    let lengths = [K::MinReplyLength, K::MaxReplyLength];
    let min_length = values.number(K::MinReplyLength).unwrap_or(UdpReply::MIN_LENGTH);
    let max_length = values.number(K::MaxReplyLength).unwrap_or(UdpReply::MAX_LENGTH);
    if let Some(head) = values.first_of(&lengths) {
        if pattern.is_empty() {
            let message = "the length of an answer is read with bytes in `require_reply` only";
            sink.push(
                Diagnostic::new(Code::WithoutEffect, head, message)
                    .help("write how the answer begins, or delete the line"),
            );
        } else if min_length > max_length {
            let message =
                format!("no answer has at least {min_length} and at most {max_length} bytes");
            sink.push(
                Diagnostic::new(Code::WithoutEffect, head, message)
                    .help("exchange the two; as it is the check always fails"),
            );
        }
    }
    let wanted = values.head(K::RequireReply).is_some();
    UdpCheck {
        connection: Connection::of(values, inherited),
        payload: payload.into_iter().map(|byte| byte.value).collect(),
        reply: wanted.then_some(UdpReply { pattern, min_length, max_length }),
    }
}

/// `read_hex_str()` in keepalived's `lib/utils.c`: a lone digit before a blank is a byte too.
fn hex(words: &[String], wild: bool) -> Option<Vec<PatternByte>> {
    let digits = words.iter().flat_map(|word| word.as_bytes().chunks(2));
    let bytes = digits.map(|digits| {
        digits
            .iter()
            .try_fold(PatternByte { value: 0, mask: 0 }, |byte, digit| {
                let any = wild && matches!(digit, b'x' | b'X');
                let value = if any { 0 } else { char::from(*digit).to_digit(16)? };
                Some(PatternByte {
                    value: (byte.value << 4) | value as u8,
                    mask: (byte.mask << 4) | if any { 0 } else { 0x0f },
                })
            })
            // A lone digit stands for the lower half; the upper one is 0.
            .map(|byte| PatternByte {
                mask: if digits.len() == 1 { byte.mask | 0xf0 } else { byte.mask },
                ..byte
            })
    });
    bytes.collect::<Option<Vec<_>>>().filter(|bytes| !bytes.is_empty())
}

fn bfd(block: &Block<'_, '_>, inherited: &Inherited<'_>, sink: &mut Sink) -> Option<String> {
    let Some(name) = block.values.text(K::BfdName) else {
        if !block.values.is_meant(K::BfdName) {
            sink.push(left_out(block, "has no `name`", "add `name BFD_INSTANCE`"));
        }
        return None;
    };
    if !inherited.bfd.contains(&name) {
        sink.push(of_nothing(block, &name, "bfd_instance"));
        return None;
    }
    Some(name)
}

fn file(block: &Block<'_, '_>, inherited: &Inherited<'_>, sink: &mut Sink) -> Option<FileCheck> {
    let values = &block.values;
    let Some(name) = values.text(K::CheckedFile) else {
        if !values.is_meant(K::CheckedFile) {
            sink.push(left_out(block, "has no `track_file`", "add `track_file NAME`"));
        }
        return None;
    };
    let own = values.words(K::FileWeight).map(|_| weight(block.directive, sink));
    let Some(tracked) = inherited.track_files.iter().find(|file| file.name == name) else {
        sink.push(of_nothing(block, &name, "track_file"));
        return None;
    };
    let (weight, reverse) = match own {
        Some(own) => own?,
        None => (tracked.weight, tracked.reverse),
    };
    Some(FileCheck { track_file: name, weight, reverse })
}

fn of_nothing(block: &Block<'_, '_>, name: &str, what: &str) -> Diagnostic {
    let check = quoted(&block.directive.keyword.text);
    let message =
        format!("{check} is about {}, which is not there, so it is left out", quoted(name));
    Diagnostic::new(Code::CheckOfNothing, block.directive.head(), message)
        .help(format!("add {}", quoted(&format!("{what} {name} {{"))))
}

/// The last `weight` line of a block: a number, and perhaps `reverse`.
pub(super) fn weight(directive: &Directive<'_>, sink: &mut Sink) -> Option<(i32, bool)> {
    let mut lines = directive.block.iter().flat_map(|block| &block.children).rev();
    let line = lines.find(|line| line.keyword.text == "weight")?;
    let usage = "weight NUMBER [reverse]";
    let args = super::value::args(line, 1..=2, usage, sink)?;
    let limit = i64::from(i32::MAX);
    let number = number::integer(line, args.first()?, -limit..=limit, Unit::Other, sink)?;
    let reverse = match args.get(1) {
        None => false,
        Some(word) => direction(line, word, sink)?,
    };
    Some((i32::try_from(number).ok()?, reverse))
}

fn direction(line: &Directive<'_>, word: &Word<'_>, sink: &mut Sink) -> Option<bool> {
    super::value::word_of(line, word, &["reverse", "noreverse"], sink).map(|word| word == "reverse")
}
