//! What services are for: addresses with and without ports, marks, groups.

use super::*;

fn with_head(head: &str, lines: &str) -> String {
    with_server(lines).replace("10.0.0.1 80", head)
}

/// A service of a group `g` with these lines.
fn with_group(group: &str, lines: &str) -> String {
    format!("virtual_server_group g {{\n{group}\n}}\n{}", with_head("group g", lines))
}

fn targets(text: &str) -> Vec<String> {
    let (config, codes) = read(text);
    let services = config.unwrap_or_else(|| panic!("{codes:?} in {text}")).services;
    services.iter().map(|service| service.target.to_string()).collect()
}

#[test]
fn a_service_without_a_port_is_persistent() {
    for head in ["10.0.0.1", "10.0.0.1 0", "10.0.0.1 000"] {
        let text = with_head(head, "");
        assert_eq!(read(&text).1, ["XLVS068"], "{head}");
        let service = first(&text);
        let address = IpAddr::from([10, 0, 0, 1]);
        assert_eq!(service.target, Target::Address { address, port: 0 });
        let timeout = service.persistence.map(|persistence| persistence.timeout);
        assert_eq!(timeout, Some(Duration::from_secs(360)));
        for line in ["persistence_timeout 5", "persistence_granularity 255.255.255.0"] {
            assert_eq!(read(&with_head(head, line)).1, Vec::<&str>::new());
        }
    }
    let group = with_group("10.0.0.1 80\n10.0.0.2", "");
    assert_eq!(read(&group).1, ["XLVS068"]);
    assert!(read(&group).0.unwrap().services.iter().all(|service| service.persistence.is_some()));
}

#[test]
fn a_real_server_without_a_port_has_the_services() {
    let port = |head: &str, server: &str| {
        let text = service(&format!("real_server 10.1.0.1{server} {{\n}}"));
        first(&text.replace("10.0.0.1 80", head)).real_servers[0].port
    };
    for server in ["", " 0", " 00"] {
        assert_eq!(port("10.0.0.1 80", server), 80);
        assert_eq!(port("10.0.0.1", server), 0);
        assert_eq!(port("fwmark 7", server), 0);
    }
    assert_eq!(port("fwmark 7", " 8080"), 8080);
    // In keepalived it stays 0 for a group, which comes to the same.
    let group = with_group("10.0.0.1 80", "real_server 10.1.0.2 {\n}");
    assert_eq!(first(&group).real_servers[0].port, 0);
    let double = service("real_server 10.1.0.1 {\n}\nreal_server 10.1.0.1 80 {\n}");
    assert_eq!(read(&double).1, ["XLVS060"]);
}

#[test]
fn a_mark_stands_for_all_protocols() {
    let text = with_head("fwmark 4294967295", "ops").replace("protocol TCP\n", "");
    // Nothing in the file sets the mark.
    assert_eq!(read(&text).1, ["XLVS092"]);
    let service = first(&text);
    assert_eq!(service.target, Target::Mark(u32::MAX));
    assert_eq!((service.family, service.protocol), (Family::Ipv4, None));
    assert!(service.one_packet);
    assert_eq!(service.persistence, None);
    assert_eq!(read(&with_head("fwmark 7", "")).1, ["XLVS092", "XLVS069"]);
    for (head, code) in [
        ("fwmark 0", "XLVS048"),
        ("fwmark -1", "XLVS048"),
        ("fwmark 4294967296", "XLVS048"),
        ("fwmark 0x7", "XLVS048"),
        ("fwmark", "XLVS040"),
        ("fwmark 7 8", "XLVS041"),
    ] {
        let text = with_head(head, "").replace("protocol TCP\n", "");
        assert_eq!(read(&text), (None, vec![code]), "{head}");
    }
}

#[test]
fn the_family_of_a_mark_is_that_of_its_servers() {
    let mark = |lines: &str| {
        let text = "virtual_server fwmark 7 {\nlb_algo rr\nlb_kind NAT\n";
        format!("{text}{lines}\n}}\n")
    };
    let (four, six) = ("real_server 10.1.0.1 {\n}\n", "real_server fd00::1 {\n}\n");
    for (lines, family) in [
        (four.to_owned(), Family::Ipv4),
        (six.to_owned(), Family::Ipv6),
        (format!("{six}ip_family inet6"), Family::Ipv6),
        (format!("persistence_granularity 64\n{six}"), Family::Ipv6),
    ] {
        assert_eq!(first(&mark(&lines)).family, family, "{lines}");
    }
    for (lines, code) in [
        (format!("{six}ip_family ipv6"), "XLVS045"),
        (format!("{four}persistence_granularity 64"), "XLVS047"),
    ] {
        assert_eq!(read(&mark(&lines)), (None, vec![code]), "{lines}");
    }
    assert_eq!(first(&mark(&format!("{four}{six}"))).real_servers.len(), 1);
    // Each family has marks of its own.
    assert_eq!(targets(&(mark(four) + &mark(six))), ["fwmark 7", "fwmark 7"]);
    assert_eq!(read(&mark(four).repeat(2)), (None, vec!["XLVS053"]));
    assert_eq!(read(&with_server("ip_family inet")).1, Vec::<&str>::new());
    assert_eq!(read(&with_server("ip_family inet6")), (None, vec!["XLVS058"]));
}

#[test]
fn a_group_is_a_service_for_each_of_its_addresses() {
    let group = "10.0.0.1 80\n10.0.0.8/31 81\n10.0.1.255-10.0.2.0 82\n10.0.0.4-5 83\nfwmark 7";
    let expected = [
        "10.0.0.1 port 80",
        "10.0.0.8 port 81",
        "10.0.0.9 port 81",
        "10.0.1.255 port 82",
        "10.0.2.0 port 82",
        "10.0.0.4 port 83",
        "10.0.0.5 port 83",
        "fwmark 7",
    ];
    let text = with_group(group, "");
    assert_eq!(targets(&text), expected);
    let (config, codes) = read(&text);
    assert_eq!(codes, ["XLVS092"]);
    for service in config.unwrap().services {
        let mark = matches!(service.target, Target::Mark(_));
        assert_eq!(service.protocol, (!mark).then_some(Protocol::Tcp));
        assert_eq!((service.real_servers.len(), service.line), (1, 8));
    }
    // It may stand behind its service, and be used for each protocol.
    let service = with_head("group g", "");
    let behind = format!("{service}virtual_server_group g {{\n{group}\n}}");
    assert_eq!(targets(&behind), expected);
    let udp = service.replace("TCP", "UDP");
    let both = format!("{service}{udp}virtual_server_group g {{\n10.0.0.1 80\n}}");
    assert_eq!(targets(&both).len(), 2);
}

#[test]
fn groups_that_cannot_be_used_are_told() {
    for (group, expected) in [
        ("10.0.0.1 80\n10.0.0.1 80", vec!["XLVS053"]),
        ("fwmark 7\nfwmark 7", vec!["XLVS053"]),
        ("10.0.0.0/30 80\n10.0.0.1-2 80", vec!["XLVS053"]),
        ("10.0.0.1 80\nfd00::1 80", vec!["XLVS058"]),
        ("fwmark 7 inet6", vec!["XLVS058"]),
        ("fwmark 7 ipv4", vec!["XLVS045"]),
        ("fwmark", vec!["XLVS040"]),
        ("fwmark 0", vec!["XLVS048"]),
        ("fwmark 7 inet 8", vec!["XLVS041"]),
        ("fwmark 7 { }", vec!["XLVS023"]),
        ("", vec!["XLVS056"]),
        ("10.0.0.1 80-90", vec!["XLVS043"]),
        ("10.0.0.1 80 90", vec!["XLVS041"]),
        ("10.0.0.1 80 {\n}", vec!["XLVS023"]),
        ("10.0.0.1/24 80", vec!["XLVS046"]),
        ("10.0.0.0/0 80", vec!["XLVS046"]),
        ("10.0.0.9-8 80", vec!["XLVS046"]),
        ("10.0.0.9-10.0.0.8 80", vec!["XLVS046"]),
        ("224.0.0.1 80", vec!["XLVS042"]),
        ("web.example 80", vec!["XLVS042"]),
        // Neither is taken apart.
        ("10.0.0.0/8 80", vec!["XLVS054"]),
        ("fd00::/8 80", vec!["XLVS058", "XLVS054"]),
    ] {
        let (config, codes) = read(&with_group(group, ""));
        let codes: Vec<_> = codes.into_iter().filter(|code| is_error(code)).collect();
        assert_eq!((config, codes), (None, expected), "{group}");
    }
    let text = with_group("10.0.0.1 80", "");
    for (from, to, code) in [
        ("group g", "group h", "XLVS055"),
        ("group g", "group", "XLVS040"),
        ("group g", "group g h", "XLVS041"),
        ("_group g {", "_group {", "XLVS040"),
        ("_group g {", "_group g", "XLVS022"),
    ] {
        let (config, codes) = read(&text.replacen(from, to, 1));
        assert_eq!((config, codes), (None, vec![code]), "{from} {to}");
    }
    let double = "virtual_server_group g {\n10.0.0.9 80\n}\n";
    assert_eq!(read(&format!("{double}{text}")), (None, vec!["XLVS057"]));
    // With the same address and protocol as a service of its own.
    let own = with_head("10.0.0.1 80", "");
    assert_eq!(read(&format!("{text}{own}")), (None, vec!["XLVS053"]));
    assert_eq!(read(&format!("{text}{}", with_head("group g", ""))), (None, vec!["XLVS053"]));
}
