//! What is shown is the same configuration again.

use std::sync::Arc;
use std::{fs, path::Path, time::Duration};

use proptest::prelude::*;
use serde_json::Value;

use super::{
    super::{
        Check, Config, Forwarding, Policy, diff, parse,
        schema::{self, Place},
    },
    show,
};

const EVERY_KEYWORD: &str = include_str!("../../../tests/ui/every-keyword.conf");

fn config(text: &str) -> Config {
    match parse("f", text, &Policy::default()) {
        Ok(loaded) => loaded.config,
        Err(error) => panic!("{error:?}\n{text}"),
    }
}

fn assert_same_again(before: &Config) {
    let text = show(before);
    let after = config(&text);
    assert_eq!(diff(before, &after), "", "{text}");
    assert_eq!(show(&after), text);
    assert!(unnumbered(before) == unnumbered(&after), "{text}");
}

/// All of it but the numbers of lines.
fn unnumbered(config: &Config) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                fields.remove("line");
                fields.values_mut().for_each(strip);
            }
            Value::Array(values) => values.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let mut value = serde_json::to_value(config).unwrap();
    strip(&mut value);
    value
}

#[test]
fn what_is_shown_is_read_as_the_same() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui");
    let mut read = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "conf") {
            continue;
        }
        let Ok(text) = fs::read_to_string(&path) else { continue };
        if let Ok(loaded) = parse("f", &text, &Policy::default()) {
            assert_same_again(&loaded.config);
            read += 1;
        }
    }
    assert!(read > 20, "only {read} files can be used");
}

#[test]
fn one_file_has_every_keyword() {
    let words: Vec<&str> = EVERY_KEYWORD.split_whitespace().collect();
    for place in Place::ALL {
        for entry in schema::entries(place) {
            assert!(words.contains(&entry.name), "{} of {}", entry.name, place.name());
        }
    }
    let config = config(EVERY_KEYWORD);
    let checkers = &config.services[0].real_servers[0].checkers;
    assert_eq!(checkers.len(), 12);
}

/// What no `"` and no `$` stands in, so that it can be written between quotes.
fn plain() -> impl Strategy<Value = String> {
    "[^\"$\\p{C}]{1,20}"
}

/// Pieces of words that some stage or other looks at.
const PIECES: &[&str] = &[
    "@x",
    "@^x",
    "@",
    "~SEQ(i,1,2)",
    "~LST(a,b)",
    "$A",
    "${A}",
    "$A=1",
    "\\",
    "\\\\",
    "\\#",
    "\\!",
    "'",
    "\"",
    "#",
    "!",
    "{",
    "}",
    " ",
    "\t",
    "a",
    "b",
    "include",
    "include x",
    "$",
    "${",
    "${_HASH}",
    "$_PWD",
    "é",
    "\\$",
    "\\n",
    "\\r",
    "\\x",
    "\\c",
    "\\042",
    "\\x41",
    "/bin/x",
    "0",
    "-",
    ",",
    "(",
    ")",
    "=",
    "\\\"",
    "''",
    "${_BANG}",
    "real_server",
    "virtual_server",
    "SSL",
    ":",
];

/// Lines with words that are quoted in one way or other; `%` stands for a word.
const QUOTED: &[(&str, &str)] = &[
    ("GLOBAL", "notification_email {\n%\n% %\n}"),
    ("GLOBAL", "notification_email_from %"),
    ("GLOBAL", "router_id %"),
    ("GLOBAL", "script_user % %"),
    ("GLOBAL", "startup_script % %"),
    ("GLOBAL", "shutdown_script /bin/a % %"),
    ("GLOBAL", "lvs_notify_fifo /tmp/f % %\nlvs_notify_fifo_script % %"),
    ("GLOBAL", "notify_fifo %"),
    ("GLOBAL", "umask % %"),
    ("GLOBAL", "smtp_server %"),
    ("GLOBAL", "lvs_sync_daemon % %"),
    ("TOP", "SSL {\npassword %\n}"),
    ("TOP", "track_file % {\nfile %\n}"),
    ("SERVICE", "quorum_up % % %"),
    ("SERVICE", "quorum_down \"/bin/a\" % %"),
    ("SERVICE", "snmp_name %"),
    ("SERVICE", "virtualhost %"),
    ("SERVER", "notify_up /bin/a%"),
    ("SERVER", "HTTP_GET {\nurl {\npath /%\nvirtualhost %\nregex %\n}\n}"),
    ("SERVER", "MISC_CHECK {\nmisc_path %\nuser % %\n}"),
    ("SERVER", "DNS_CHECK {\nname %\n}"),
    ("SERVER", "SMTP_CHECK {\nhelo_name %\n}"),
];

const AROUND: &str = "global_defs {
GLOBAL
}
TOP
virtual_server 10.0.0.1 80 {
protocol TCP
lb_algo rr
lb_kind NAT
SERVICE
real_server 10.1.0.1 80 {
weight 1
SERVER
}
}
";

/// A word as it may be written, rightly or not.
fn written() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES), 1..5);
    (pieces, 0..10).prop_map(|(pieces, way)| match way {
        0..6 => format!("\"{}\"", pieces.concat().replace('"', "")),
        6..8 => format!("'{}'", pieces.concat()),
        _ => pieces.concat(),
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_can_be_written_comes_back(
        line in prop::sample::select(QUOTED),
        words in prop::collection::vec(written(), 3),
    ) {
        let mut words = words.iter();
        let (place, line) = line;
        let line = line.split_inclusive('%').map(|part| match part.strip_suffix('%') {
            Some(part) => format!("{part}{}", words.next().map_or("", String::as_str)),
            None => part.to_owned(),
        });
        let line: String = line.collect();
        let text = ["GLOBAL", "TOP", "SERVICE", "SERVER"]
            .into_iter()
            .fold(AROUND.to_owned(), |text, name| {
                text.replace(name, if name == place { &line } else { "" })
            });
        if let Ok(loaded) = parse("f", &text, &Policy::default()) {
            assert_same_again(&loaded.config);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_quotes_comes_back(
        program in "[^\\x00]{1,20}",
        arguments in prop::collection::vec("[^\\x00]{0,20}", 0..4),
        text in plain(),
        other in plain(),
        pattern in "[^\\x00]{1,30}".prop_filter("ends the quote", |text| !text.contains("\\E")),
        micros in 1..10_000_000_u64,
        numbers in any::<[u32; 4]>(),
    ) {
        let mut config = config(EVERY_KEYWORD);
        let command: Vec<String> = std::iter::once(program).chain(arguments).collect();
        config.track_files[0].name.clone_from(&other);
        config.ssl.as_mut().unwrap().password = Some(text.clone());
        config.global.mail.router_id = Some(other.clone());
        // With a `\` at the end it might not stand before the group.
        config.global.script_user.as_mut().unwrap().user = format!("{other}.");
        let quorum_down = config.services[0].quorum.down.clone();
        for service in &mut config.services {
            service.snmp_name = Some(text.clone());
            if service.forwarding == Forwarding::FullNat {
                service.quorum.up.as_mut().unwrap().command.clone_from(&command);
                service.quorum.down.clone_from(&quorum_down);
            }
            for server in Arc::make_mut(&mut service.real_servers) {
                server.weight = numbers[0] >> 1;
                server.lower_threshold = numbers[1].min(numbers[2]);
                server.upper_threshold = numbers[1].max(numbers[2]);
                if let Some(up) = &mut server.notify_up {
                    Arc::make_mut(up).command.clone_from(&command);
                }
                for checker in &mut server.checkers {
                    let checker = Arc::make_mut(checker);
                    if !matches!(checker.check, Check::Bfd(_) | Check::File(_)) {
                        checker.schedule.delay_loop = Duration::from_micros(micros);
                        checker.schedule.retry = numbers[3];
                    }
                    match &mut checker.check {
                        Check::Misc(misc) => misc.script.command.clone_from(&command),
                        Check::Http(http) => {
                            http.urls[0].path.clone_from(&text);
                            if let Some(regex) = &mut http.urls[0].regex {
                                // Any text is an expression behind `\Q`.
                                regex.pattern = format!("\\Q{pattern}");
                            }
                        }
                        Check::Dns(dns) => dns.name.clone_from(&other),
                        Check::Bfd(name) => name.clone_from(&text),
                        Check::File(file) if file.track_file == "load" => {
                            file.track_file.clone_from(&other);
                        }
                        _ => {}
                    }
                }
            }
        }
        // The quorum is corrected by the weights.
        let most = config.services[0].real_servers.iter().map(|server| u64::from(server.weight)).sum::<u64>();
        prop_assume!(most >= 2 && other != "other");
        assert_same_again(&config);
    }
}
