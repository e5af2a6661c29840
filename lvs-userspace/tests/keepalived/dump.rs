//! A configuration in the words of keepalived's `--dump-conf`.

use std::{collections::HashSet, net::SocketAddr, path::Path, time::Duration};

use lvs_userspace::config::{
    Check, Checker, Config, Connection, DnsType, Family, Granularity, HttpCheck, HttpVersion,
    Protocol, RealServer, Scheduler, Script, SmtpCheck, Target, Url, VirtualServer,
};

/// The services, then the health checkers; of a group only the first service, for keepalived has but one.
pub(crate) fn dump(config: &Config) -> Vec<String> {
    let mut seen = HashSet::new();
    let of_group = |service: &&VirtualServer| match &service.group {
        Some(group) => seen.insert((group.clone(), service.line)),
        None => true,
    };
    let services: Vec<&VirtualServer> = config.services.iter().filter(of_group).collect();
    let mut lines: Vec<String> = services.iter().flat_map(|it| service(it)).collect();
    let checkers = services.iter().flat_map(|service| {
        let of = move |server| checkers(service, server);
        service.real_servers.iter().flat_map(of)
    });
    let checkers: Vec<String> = checkers.collect();
    if !checkers.is_empty() {
        lines.push("------< Health checkers >------".to_owned());
    }
    lines.extend(checkers);
    lines
}

fn service(service: &VirtualServer) -> Vec<String> {
    let mut lines = vec!["------< Virtual server >------".to_owned()];
    lines.push(match (&service.group, service.target) {
        (Some(group), _) => format!("VS GROUP = [{group}]:0"),
        (None, Target::Address { address, port }) => format!("VS VIP = {address}, VPORT = {port}"),
        (None, Target::Mark(mark)) => format!("VS FWMARK = {mark}"),
    });
    lines.extend(service.snmp_name.iter().map(|name| format!("SNMP name = {name}")));
    lines.push(format!(
        "Address family = {}",
        if service.family == Family::Ipv6 { "inet6" } else { "inet" }
    ));
    lines.push(format!("lvs_sched = {}", service.scheduler));
    let flags = &service.flags;
    let named: &[(&str, bool)] = match service.scheduler {
        Scheduler::SourceHash => &[("sh-port", flags.port), ("sh-fallback", flags.fallback)],
        Scheduler::MaglevHash => &[("mh-port", flags.port), ("mh-fallback", flags.fallback)],
        _ => &[("flag-1", flags.fallback), ("flag-2", flags.port), ("flag-3", flags.flag_3)],
    };
    lines.extend(named.iter().map(|(name, set)| format!("{name} = {}", enabled(*set))));
    lines.push(format!("One packet scheduling = {}", enabled(service.one_packet)));
    if let Some(persistence) = &service.persistence {
        lines.push(format!("persistence timeout = {}", persistence.timeout.as_secs()));
        match persistence.granularity {
            Granularity::Mask(mask) if mask != std::net::Ipv4Addr::BROADCAST => {
                lines.push(format!("persistence granularity = {mask}"));
            }
            Granularity::Prefix(bits) if bits != 128 => {
                lines.push(format!("persistence granularity = {bits}"));
            }
            _ => {}
        }
    }
    lines.push(format!("protocol = {}", protocol(service).to_uppercase().replace("NONE", "none")));
    lines.push(format!("omega is {}", on(service.omega)));
    lines.push(format!(
        "quorum = {}, hysteresis = {}",
        service.quorum.weight, service.quorum.hysteresis
    ));
    lines.extend(script("Quorum up notify script = ", service.quorum.up.as_ref()));
    lines.extend(script("Quorum down notify script = ", service.quorum.down.as_ref()));
    if service.ha_suspend {
        lines.push("Using HA suspend".to_owned());
    }
    lines.push(format!("Using smtp notification = {}", yes(service.smtp_alert)));
    lines.push(format!("default forwarding method = {}", service.forwarding));
    if let Some(sorry) = &service.sorry_server {
        lines.push(format!("sorry server = {}", endpoint(service, sorry.address, sorry.port)));
        lines.push(format!("forwarding method = {}", sorry.forwarding));
    }
    lines.extend(service.real_servers.iter().flat_map(real_server));
    lines
}

fn real_server(server: &RealServer) -> Vec<String> {
    let mut lines = vec!["------< Real server >------".to_owned()];
    lines.push(format!(
        "RIP = {}, RPORT = {}, WEIGHT = {}",
        server.address, server.port, server.weight
    ));
    lines.push(format!("forwarding method = {}", server.forwarding));
    lines.push(format!(
        "connection limit range = {} -> {}",
        server.lower_threshold, server.upper_threshold
    ));
    lines.push(format!("Inhibit on failure is {}", on(server.inhibit_on_failure)));
    lines.extend(script("RS up notify script = ", server.notify_up.as_deref()));
    lines.extend(script("RS down notify script = ", server.notify_down.as_deref()));
    lines.extend(server.snmp_name.iter().map(|name| format!("SNMP name = {name}")));
    lines.push(format!("Using smtp notification = {}", yes(server.smtp_alert)));
    let files = server.checkers.iter().filter_map(|checker| match &checker.check {
        Check::File(file) => Some(format!(
            "{}, weight {}{}",
            file.track_file,
            file.weight,
            if file.reverse { " reverse" } else { "" }
        )),
        _ => None,
    });
    let files: Vec<String> = files.collect();
    if !files.is_empty() {
        lines.push("Tracked Files".to_owned());
    }
    lines.extend(files);
    lines
}

fn checkers(service: &VirtualServer, server: &RealServer) -> Vec<String> {
    let name = match (&service.group, service.target) {
        (Some(group), _) => format!("[{group}]:0"),
        (None, Target::Address { address, port }) => endpoint(service, address, port),
        (None, Target::Mark(mark)) => format!("FWM {mark}"),
    };
    let pair = format!("{name} -> {}", endpoint(service, server.address, server.port));
    let each = server.checkers.iter().flat_map(|checker| single(checker));
    each.flat_map(|it| std::iter::once(pair.clone()).chain(checker(&it))).collect()
}

/// keepalived has a checker of its own for each host of an `SMTP_CHECK`, and none for a script that is not
/// there.
fn single(checker: &Checker) -> Vec<Checker> {
    let with = |check| Checker { check, ..checker.clone() };
    match &checker.check {
        Check::Misc(misc) if !is_there(&misc.script) => Vec::new(),
        Check::Smtp(smtp) => {
            let alone = |host: &Connection| SmtpCheck { hosts: vec![host.clone()], ..smtp.clone() };
            smtp.hosts.iter().map(|host| with(Check::Smtp(alone(host)))).collect()
        }
        _ => vec![checker.clone()],
    }
}

fn checker(checker: &Checker) -> Vec<String> {
    let schedule = &checker.schedule;
    let mut lines = Vec::new();
    if !matches!(checker.check, Check::File(_)) {
        lines.push(format!("Alpha = {}", yes(schedule.alpha)));
        lines.push(format!("Delay loop = {} us", schedule.delay_loop.as_micros()));
        lines.push(format!("Warmup = {} us", schedule.warmup.as_micros()));
        lines.push(format!("Retries = {}", schedule.retry));
        if schedule.retry != 0 {
            lines.push(format!(
                "Delay before retry = {} us",
                schedule.delay_before_retry.as_micros()
            ));
        }
    }
    lines.push(format!("Log all failures = {}", yes(schedule.log_all_failures)));
    match &checker.check {
        Check::Tcp(to) | Check::Ping(to) => {
            lines.extend(connection(to));
            lines.push(format!("Keepalive method = {}", checker.check.keyword()));
        }
        Check::Http(http) => {
            lines.extend(connection(&http.connection));
            lines.extend(pages(http));
        }
        Check::Smtp(smtp) => {
            lines.extend(smtp.hosts.iter().flat_map(connection));
            lines.push("Keepalive method = SMTP_CHECK".to_owned());
            lines.push(format!("helo = {}", smtp.helo_name));
        }
        Check::Dns(dns) => {
            lines.extend(connection(&dns.connection));
            lines.push("Keepalive method = DNS_CHECK".to_owned());
            lines.push(format!("Type = {}", dns_type(dns.record)));
            // The default.
            lines.push(
                format!("Name = {}", if dns.name == "." { "" } else { &dns.name })
                    .trim_end()
                    .to_owned(),
            );
        }
        Check::Misc(misc) => {
            lines.push("Keepalive method = MISC_CHECK".to_owned());
            lines.push(format!("script = {}", command(&misc.script)));
            // 2.2.7 prints 0 for the default.
            let default = misc.timeout.as_secs() == schedule.delay_loop.as_secs();
            lines.push(format!("timeout = {}", if default { 0 } else { misc.timeout.as_secs() }));
            lines.push(format!("dynamic = {}", if misc.dynamic { "YES" } else { "NO" }));
            lines.push(format!("uid:gid = {}", ids(&misc.script)));
        }
        Check::Udp(udp) => {
            lines.extend(connection(&udp.connection));
            lines.push("Keepalive method = UDP_CHECK".to_owned());
            lines.push(match udp.payload.len() {
                0 => "Payload specified = no".to_owned(),
                length => format!("Payload len = {length}"),
            });
            lines.push(format!("Require reply = {}", yes(udp.reply.is_some())));
            if let Some(reply) = &udp.reply {
                lines.push(format!("Min reply length = {}", reply.min_length));
                lines.push(format!("Max reply length = {}", reply.max_length));
                lines.push(format!("Reply data len = {}", reply.pattern.len()));
                if !reply.pattern.is_empty() {
                    let masked = reply.pattern.iter().any(|byte| byte.mask != 0xff);
                    lines.push(format!("Reply data mask = {}", yes(masked)));
                }
            }
        }
        Check::File(file) => {
            lines.push("Keepalive method = FILE_CHECK".to_owned());
            lines.push(format!("Tracked file = {}", file.track_file));
        }
        Check::Bfd(name) => lines.push(format!("BFD_CHECK {name}")),
    }
    lines
}

fn connection(to: &Connection) -> Vec<String> {
    let mut lines = vec!["Connection".to_owned()];
    lines.push(format!("Dest = [{}]:{}", to.address, to.port));
    if let Some(address) = to.bind_address {
        lines.push(match to.bind_port {
            Some(port) => format!("Bind to = [{address}]:{port}"),
            None => format!("Bind to = [{address}]:0"),
        });
    }
    if let Some(interface) = &to.bind_interface {
        lines.push(format!("Bind i/f = {interface}"));
    }
    if to.mark != 0 {
        lines.push(format!("Mark = {}", to.mark));
    }
    lines.push(format!("Timeout = {}", decimal(to.timeout)));
    lines
}

fn pages(http: &HttpCheck) -> Vec<String> {
    let version = match http.version {
        HttpVersion::V10 => "1.0",
        HttpVersion::V10Close => "1.0C",
        HttpVersion::V11 => "1.1",
    };
    let keyword = if http.tls { "SSL_GET" } else { "HTTP_GET" };
    let mut lines = vec![format!("Keepalive method = {keyword}, http protocol {version}")];
    lines.push(format!("Enable SNI {}", set(http.sni)));
    lines.push(format!("Fast recovery {}", set(http.fast_recovery)));
    lines.extend(http.urls.iter().flat_map(page));
    lines
}

fn page(url: &Url) -> Vec<String> {
    let mut lines = vec![format!("Checked url = {}", url.path)];
    if let Some(digest) = url.digest {
        lines.push(format!("digest = {}", digest.map(|byte| format!("{byte:02x}")).concat()));
    }
    lines.push("HTTP Status Code(s)".to_owned());
    lines.extend(url.status_codes.iter().map(|codes| {
        if codes.start() == codes.end() {
            codes.start().to_string()
        } else {
            format!("{}-{}", codes.start(), codes.end())
        }
    }));
    if let Some(regex) = &url.regex {
        lines.push(format!("Regex = \"{}\"", regex.pattern));
        if regex.no_match {
            lines.push("Regex no match".to_owned());
        }
        if let (Some(from), Some(to)) = (regex.min_offset, regex.max_offset) {
            lines.push(format!("Regex min offset = {from}, max_offset = {to}"));
        }
    }
    lines
}

/// A script that is not there is left out by keepalived.
fn script(title: &str, script: Option<&Script>) -> Option<String> {
    let script = script.filter(|script| is_there(script))?;
    Some(format!("{title}{}, uid:gid {}", command(script), ids(script)))
}

fn is_there(script: &Script) -> bool {
    script.command.first().is_some_and(|program| Path::new(program).exists())
}

/// The command as keepalived prints it. It has found the program by then; those in the files lie in `/usr/bin`.
fn command(script: &Script) -> String {
    let words: Vec<String> = script.command.iter().map(|word| word.replace('\'', "")).collect();
    words.join(" ").replace("/bin/", "/usr/bin/").replace("/usr/usr/", "/usr/")
}

/// The files name two users.
fn ids(script: &Script) -> &'static str {
    match &script.user {
        Some(user) if user.user == "nobody" => "65534:65534",
        _ => "0:0",
    }
}

fn endpoint(service: &VirtualServer, address: std::net::IpAddr, port: u16) -> String {
    let socket = SocketAddr::new(address, port);
    format!("[{}]:{}:{}", socket.ip(), protocol(service), port)
}

fn protocol(service: &VirtualServer) -> &'static str {
    match service.protocol {
        Some(Protocol::Tcp) => "tcp",
        Some(Protocol::Udp) => "udp",
        Some(Protocol::Sctp) => "sctp",
        None => "none",
    }
}

fn dns_type(record: DnsType) -> String {
    format!("{record:?}").to_uppercase()
}

fn decimal(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

fn enabled(set: bool) -> &'static str {
    if set { "enabled" } else { "disabled" }
}

fn on(set: bool) -> &'static str {
    if set { "ON" } else { "OFF" }
}

fn yes(set: bool) -> &'static str {
    if set { "yes" } else { "no" }
}

fn set(set: bool) -> &'static str {
    if set { "set" } else { "unset" }
}
