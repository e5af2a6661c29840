//! Whatever the file holds: no panic, and every span lies in the text.

use proptest::prelude::*;

use super::{Failure, Report, parse};

const VALID: [&str; 2] =
    [include_str!("../../tests/ui/guide.conf"), include_str!("../../tests/ui/full-nat.conf")];

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
    "@a",
    "~SEQ(",
    "include",
    "é",
    "\u{a0}",
    "\u{feff}",
    "\0",
    "persistent_timeout",
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
            assert!(span.start <= span.end, "{diagnostic:?}");
            assert!(source.text().get(span.start..span.end).is_some(), "{diagnostic:?}");
        }
    }
    assert_eq!(report.is_empty(), report.render(false).is_empty());
    assert_eq!(report.is_empty(), report.render(true).is_empty());
    assert!(report.lines().all(|(_, line)| !line.contains('\n')));
}

fn survive(text: &str) {
    match parse("f.conf", text) {
        Ok(loaded) => {
            check(&loaded.notes);
            assert_eq!(loaded.notes.errors(), 0);
        }
        Err(Failure::Invalid(report)) => {
            check(&report);
            assert!(report.errors() > 0);
        }
        Err(Failure::Io { .. }) => panic!("nothing is read here"),
    }
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
