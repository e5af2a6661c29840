//! `fwmark_match`: which packets carry a mark.

use super::*;

/// A service of the mark 7 and these lines for it.
fn marked(lines: &str) -> String {
    let service = with_server("").replace("10.0.0.1 80", "fwmark 7").replace("protocol TCP\n", "");
    format!("{service}fwmark_match 7 {{\n{lines}\n}}\n")
}

#[test]
fn a_match_is_addresses_ports_and_protocols() {
    let text = marked("10.0.0.1 80\n10.0.0.8/31 1-2 TCP\n10.0.0.3-4 53 udp");
    let (config, codes) = read(&text);
    // Several ports, and clients that need not stay.
    assert_eq!(codes, ["XLVS100"]);
    let marks = config.unwrap().marks;
    assert!(marks.iter().all(|line| line.mark == 7));
    assert_eq!(marks.iter().map(|line| line.line).collect::<Vec<_>>(), [9, 10, 11]);
    let keys: Vec<String> = marks
        .iter()
        .flat_map(|line| line.keys().map(|(address, port, p)| format!("{address} {port} {p}")))
        .collect();
    assert_eq!(
        keys,
        [
            "10.0.0.1 80 TCP",
            "10.0.0.1 80 UDP",
            "10.0.0.8 1 TCP",
            "10.0.0.8 2 TCP",
            "10.0.0.9 1 TCP",
            "10.0.0.9 2 TCP",
            "10.0.0.3 53 UDP",
            "10.0.0.4 53 UDP",
        ]
    );
    assert_eq!(marks.iter().map(super::super::super::MarkMatch::count).sum::<usize>(), 8);
}

#[test]
fn lines_that_match_nothing_are_refused() {
    for (line, expected) in [
        ("", "XLVS056"),
        ("10.0.0.1", "XLVS040"),
        ("10.0.0.1 0", "XLVS043"),
        ("10.0.0.1 0-80", "XLVS043"),
        ("10.0.0.1 81-80", "XLVS043"),
        ("10.0.0.1 80-", "XLVS043"),
        ("10.0.0.1 80-65536", "XLVS043"),
        ("10.0.0.1 http", "XLVS043"),
        ("10.0.0.1 80 ICMP", "XLVS045"),
        ("10.0.0.1 80 SCTP", "XLVS045"),
        ("10.0.0.1 80 TCP UDP", "XLVS041"),
        ("10.0.0.1:80", "XLVS042"),
        ("10.0.0.1/24 80", "XLVS046"),
        ("10.0.0.1 80 {\n}", "XLVS023"),
        ("0.0.0.0/1 80", "XLVS046"),
        ("128.0.0.0/2 80", "XLVS054"),
        ("fd00::/8 80", "XLVS054"),
        ("10.0.0.1 1-32768\n10.0.0.2 1 TCP", "XLVS054"),
    ] {
        assert_eq!(read(&marked(line)), (None, vec![expected]), "{line}");
    }
    assert_eq!(read(&marked("10.0.0.1 1-32768")).1, ["XLVS100"]);
    assert_eq!(read(&marked("10.0.0.1 80\nfwmark 7")).1, ["XLVS031"]);
    let text = marked("10.0.0.1 80");
    for (from, to, code) in [
        ("_match 7", "_match", "XLVS040"),
        ("_match 7", "_match 7 8", "XLVS041"),
        ("_match 7", "_match 0", "XLVS048"),
        ("_match 7 {", "_match 7", "XLVS022"),
    ] {
        assert_eq!(read(&text.replacen(from, to, 1)), (None, vec![code]), "{to}");
    }
}

#[test]
fn marks_and_services_that_do_not_meet_are_told() {
    let plain = with_server("").replace("10.0.0.1", "10.0.0.5");
    for (text, expected) in [
        (marked("10.0.0.1 80"), vec![]),
        (marked("10.0.0.1 80\n10.0.0.1 79-81 TCP"), vec!["XLVS090", "XLVS100"]),
        (marked("10.0.0.1 80 TCP\n10.0.0.1 80 UDP"), vec![]),
        (marked("10.0.0.1 80") + "fwmark_match 7 {\n10.0.0.0/24 80\n}", vec!["XLVS090"]),
        // A mark of one family is none of the other.
        (marked("fd00::1 80"), vec!["XLVS092", "XLVS093"]),
        (marked("10.0.0.1 80\nfd00::1 80"), vec!["XLVS093"]),
        (marked("10.0.0.1 80").replace("_match 7", "_match 8"), vec!["XLVS092", "XLVS093"]),
        (marked("10.0.0.5 80") + &plain, vec!["XLVS091"]),
        (marked("10.0.0.5 80 UDP") + &plain, vec![]),
        (marked("10.0.0.5 81") + &plain, vec![]),
        (marked("10.0.0.5 81") + &plain.replace(".5 80", ".5"), vec!["XLVS068", "XLVS091"]),
        // Without a service of the mark, that of the address counts.
        (format!("{plain}fwmark_match 7 {{\n10.0.0.5 80\n}}"), vec!["XLVS093"]),
    ] {
        let (config, mut codes) = read(&text);
        codes.sort_unstable();
        assert_eq!(codes, expected, "{text}");
        assert!(config.is_some());
    }
}
