//! Whatever the file holds: no panic, and every span lies in the text.

use proptest::prelude::*;

use std::{fs, path::Path};

use super::{
    Bounds, Config, Failure, Family, Forwarding, Granularity, Memory, Policy, Report, Target, diff,
    parse, parse_in, show,
};

/// Bounds that are soon reached.
const BOUNDS: Bounds = Bounds { bytes: 100_000, steps: 1_000, files: 20, depth: 8 };

const VALID: [&str; 4] = [
    include_str!("../../tests/ui/every-keyword.conf"),
    include_str!("../../tests/ui/guide.conf"),
    include_str!("../../tests/ui/full-nat.conf"),
    include_str!("../../tests/ui/all-of-ipvs.conf"),
];

/// Pieces that a configuration is made of, right and wrong ones.
const PIECES: &[&str] = &[
    "virtual_server",
    "real_server",
    "10.0.0.1",
    "80",
    "{",
    "}",
    "\n",
    "\r\n",
    " ",
    "\t",
    "  ",
    "lb_algo",
    "rr",
    "lb_kind",
    "NAT",
    "FNAT",
    "local_address_group",
    "laddr_group_name",
    "10.0.0.1-200",
    "fd00::1-ffff",
    "ops",
    "lvs_timeouts",
    "tcp",
    "protocol",
    "TCP",
    "weight",
    "uthreshold",
    "lthreshold",
    "virtual_server_group",
    "group",
    "fwmark",
    "fwmark_match",
    "ip_family",
    "inet6",
    "wlc",
    "mh",
    "mh-port",
    "sh-fallback",
    "flag-3",
    "hashed",
    "persistence_granularity",
    "255.255.0.255",
    "0",
    "4294967295",
    "10.0.0.0/8",
    "10.0.0.1-10.255.255.255",
    "fd00::/8",
    "1-65535",
    "1",
    "delay_loop",
    "global_defs",
    "\"",
    "#",
    "!",
    "\\",
    "\\#",
    "${",
    "$X",
    "${X}",
    "\n$X=",
    "$X=\\\n",
    "\\\n",
    "\n@a ",
    "\n@^a ",
    "~SEQ(X,1,2)",
    "~SEQ(X,",
    "~LST({X,Y},{1,2},{",
    "${_HASH}",
    "${_RANDOM 1 2}",
    ",",
    ")",
    "\ninclude a\n",
    "\nincludea {a,b}*\n",
    "include_check",
    "=== a\n",
    "=== b\n",
    "é",
    "\u{a0}",
    "\u{feff}",
    "\0",
    "persistent_timeout",
    "HTTP_GET",
    "url",
    "path",
    "regex",
    "MISC_CHECK",
    "misc_path",
    "FILE_CHECK",
    "track_file",
    "SSL",
    "sorry_server",
    "quorum",
    "quorum_up",
    "vrrp_instance",
    "'",
    "🦀",
    "\u{1b}[1m",
    "\u{202e}",
];

/// Shows the report in every way and checks its spans.
fn check(report: &Report) {
    let (source, diagnostics) = report.parts();
    for diagnostic in diagnostics {
        let spans =
            std::iter::once(&diagnostic.primary).chain(&diagnostic.others).map(|label| label.span);
        for span in spans {
            assert!(span.start() <= span.end(), "{diagnostic:?}");
            assert!(source.get(span).is_some(), "{diagnostic:?}");
            let place = source.locate(span);
            assert!(source.raw().get(place.start..place.end).is_some(), "{diagnostic:?}");
        }
    }
    assert_eq!(report.is_empty(), report.render(false).is_empty());
    assert_eq!(report.is_empty(), report.render(true).is_empty());
    assert!(report.lines().all(|(_, line)| !line.contains('\n')));
}

/// What the model promises.
fn check_model(config: &Config) {
    assert!(config.services.len() <= 4_000);
    let servers: usize = config.services.iter().map(|service| service.real_servers.len()).sum();
    assert!(servers <= 131_072);
    for service in &config.services {
        let family = match service.target {
            Target::Address { address, port } => {
                assert!(port > 0 || service.persistence.is_some());
                Family::of(address)
            }
            Target::Mark(mark) => {
                assert!(mark > 0);
                service.family
            }
        };
        assert_eq!(service.family, family);
        assert_eq!(service.protocol.is_none(), matches!(service.target, Target::Mark(_)));
        assert!(!service.real_servers.is_empty());
        for server in service.real_servers.iter() {
            let tunnel = matches!(server.forwarding, Forwarding::Tunnel(_));
            assert!(tunnel || Family::of(server.address) == family);
            assert!(server.lower_threshold <= server.upper_threshold);
        }
        assert!(service.local_addresses.iter().all(|address| Family::of(*address) == family));
        let granularity = service.persistence.map(|persistence| persistence.granularity);
        assert_eq!(granularity.map_or(family, Granularity::family), family);
    }
    assert!(config.marks.iter().map(|line| line.keys().count()).sum::<usize>() <= 65_536);
}

fn survive(text: &str) {
    let (text, memory) = Memory::split(text, "a", BOUNDS);
    match parse_in("f.conf", &text, &memory, &Policy::default()) {
        Ok(loaded) => {
            check(&loaded.notes);
            check_model(&loaded.config);
            let again = parse("again", &show(&loaded.config), &Policy::default());
            assert_eq!(diff(&loaded.config, &again.unwrap().config), "");
            assert_eq!(loaded.notes.errors(), 0);
        }
        Err(Failure::Invalid(report)) => {
            check(&report);
            assert!(report.errors() > 0);
        }
        Err(Failure::Io { .. }) => panic!("nothing is read here"),
    }
}

#[test]
fn the_corpus_of_the_fuzzer_is_survived() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/corpus/config");
    let inputs =
        fs::read_dir(folder).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    assert!(inputs.map(|input| survive(&String::from_utf8_lossy(&input))).count() >= 10);
}

proptest! {
    // The seeds of failures belong in a unit test, not in a file that tests write.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_text(text in "\\PC{0,200}|(?s).{0,200}") {
        survive(&text);
    }

    #[test]
    fn random_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES), 0..120)) {
        survive(&pieces.concat());
        survive(&pieces.join(" "));
    }

    #[test]
    fn mutated_files(
        valid in prop::sample::select(&VALID[..]),
        edits in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..20, prop::sample::select(PIECES)),
            1..6,
        )
    ) {
        let mut text: Vec<char> = valid.chars().collect();
        for (at, length, piece) in edits {
            let at = at.index(text.len() + 1);
            let end = (at + length).min(text.len());
            text.splice(at..end, piece.chars());
        }
        survive(&text.into_iter().collect::<String>());
    }
}
