//! Checkers.

use std::{net::IpAddr, time::Duration};

use super::{
    super::{
        model::{
            Check, Checker, Connection, DnsType, HttpCheck, HttpVersion, PatternByte, Script,
            ScriptUser, SmtpCheck, UdpCheck, Url,
        },
        quote,
    },
    Text,
};

/// Writes a checker of the server at this address; `misc_timeout` is left out where it is the service's `delay_loop`.
pub(super) fn write(
    checker: &Checker,
    server: (IpAddr, u16),
    delay_loop: Duration,
    out: &mut Text,
) {
    out.block(checker.check.keyword(), |out| {
        match &checker.check {
            Check::Tcp(to) | Check::Ping(to) => connection(to, server, out),
            Check::Http(check) => http(check, server, out),
            Check::Smtp(check) => smtp(check, server, out),
            Check::Dns(check) => {
                let name = DnsType::NAMES.iter().find(|(_, record)| *record == check.record);
                out.word("type", name.map(|(name, _)| *name));
                out.word("name", Some(&check.name));
                connection(&check.connection, server, out);
            }
            Check::Misc(check) => {
                out.line(&format!("misc_path {}", quote::command(&check.script.command)));
                if check.timeout != delay_loop {
                    out.time("misc_timeout", check.timeout);
                }
                out.flag("misc_dynamic", check.dynamic);
                if let Some(user) = &check.script.user {
                    out.line(&format!("user {}", self::user(user)));
                }
            }
            Check::Udp(check) => udp(check, server, out),
            Check::Bfd(name) => {
                out.word("name", Some(name));
                out.truth("alpha", checker.schedule.alpha);
                return;
            }
            Check::File(check) => {
                out.word("track_file", Some(&check.track_file));
                let reverse = if check.reverse { " reverse" } else { "" };
                out.line(&format!("weight {}{reverse}", check.weight));
                return;
            }
        }
        let schedule = &checker.schedule;
        out.time("delay_loop", schedule.delay_loop);
        out.line(&format!("retry {}", schedule.retry));
        out.time("delay_before_retry", schedule.delay_before_retry);
        out.time("warmup", schedule.warmup);
        out.truth("alpha", schedule.alpha);
        out.truth("log_all_failures", schedule.log_all_failures);
    });
}

fn connection(to: &Connection, server: (IpAddr, u16), out: &mut Text) {
    if to.address != server.0 {
        out.line(&format!("connect_ip {}", to.address));
    }
    if to.port != server.1 && to.port != 0 {
        out.line(&format!("connect_port {}", to.port));
    }
    if let Some(address) = to.bind_address {
        out.line(&format!("bindto {address}"));
    }
    if let Some(port) = to.bind_port {
        out.line(&format!("bind_port {port}"));
    }
    out.word("bind_if", to.bind_interface.as_deref());
    out.time("connect_timeout", to.timeout);
    if to.mark != 0 {
        out.line(&format!("fwmark {}", to.mark));
    }
}

fn http(check: &HttpCheck, server: (IpAddr, u16), out: &mut Text) {
    out.line(match check.version {
        HttpVersion::V10 => "http_protocol 1.0",
        HttpVersion::V10Close => "http_protocol 1.0C",
        HttpVersion::V11 => "http_protocol 1.1",
    });
    if check.sni {
        out.truth("enable_sni", true);
    }
    out.word("sni_name", check.sni_name.as_deref());
    if check.fast_recovery {
        out.truth("fast_recovery", true);
    }
    for url in &check.urls {
        out.block("url", |out| self::url(url, out));
    }
    connection(&check.connection, server, out);
}

fn url(url: &Url, out: &mut Text) {
    out.word("path", Some(&url.path));
    if let Some(digest) = url.digest {
        out.line(&format!("digest {:032x}", u128::from_be_bytes(digest)));
    }
    let codes = url.status_codes.iter().map(|codes| match (codes.start(), codes.end()) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    });
    out.line(&format!("status_code {}", codes.collect::<Vec<_>>().join(" ")));
    out.word("virtualhost", url.virtualhost.as_deref());
    if url.tls_compliant {
        out.truth("tls_compliant", true);
    }
    let Some(regex) = &url.regex else { return };
    out.line(&format!("regex {}", quote::escaped(&regex.pattern)));
    out.flag("regex_no_match", regex.no_match);
    if !regex.options.is_empty() {
        out.line(&format!("regex_options {}", regex.options.join(" ")));
    }
    if let Some(offset) = regex.min_offset {
        out.line(&format!("regex_min_offset {offset}"));
    }
    if let Some(offset) = regex.max_offset {
        out.line(&format!("regex_max_offset {offset}"));
    }
    if let Some((start, most)) = regex.stack {
        out.line(&format!("regex_stack {start} {most}"));
    }
}

fn smtp(check: &SmtpCheck, server: (IpAddr, u16), out: &mut Text) {
    out.word("helo_name", Some(&check.helo_name));
    match check.hosts.as_slice() {
        [host] => connection(host, server, out),
        hosts => {
            for host in hosts {
                out.block("host", |out| connection(host, server, out));
            }
        }
    }
}

fn udp(check: &UdpCheck, server: (IpAddr, u16), out: &mut Text) {
    if !check.payload.is_empty() {
        let bytes = check.payload.iter().map(|byte| format!("{byte:02x}"));
        out.line(&format!("payload {}", bytes.collect::<Vec<_>>().join(" ")));
    }
    if let Some(reply) = &check.reply {
        let bytes = reply.pattern.iter().copied().map(pattern).collect::<Vec<_>>().join(" ");
        out.line(format!("require_reply {bytes}").trim_end());
        out.line(&format!("min_reply_length {}", reply.min_length));
        out.line(&format!("max_reply_length {}", reply.max_length));
    }
    connection(&check.connection, server, out);
}

fn pattern(byte: PatternByte) -> String {
    let half = |shift: u8| match byte.mask >> shift & 0x0f {
        0 => 'X',
        _ => char::from_digit(u32::from(byte.value >> shift & 0x0f), 16).unwrap_or('0'),
    };
    [half(4), half(0)].iter().collect()
}

/// A program with its user, behind a keyword.
pub(super) fn script(script: &Script) -> String {
    let mut text = quote::command(&script.command);
    if let Some(ScriptUser { user, group }) = &script.user {
        for word in std::iter::once(user).chain(group) {
            text.extend([" ", &quote::behind_program(word)]);
        }
    }
    text
}

/// A user and group.
pub(super) fn user(user: &ScriptUser) -> String {
    let group = user.group.as_ref().map(|group| format!(" {}", quote::plain(group)));
    format!("{}{}", quote::plain(&user.user), group.unwrap_or_default())
}
