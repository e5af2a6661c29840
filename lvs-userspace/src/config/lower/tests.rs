//! What files mean, and which diagnostics they get. The texts of the diagnostics are in `tests/ui/`.

mod full_nat;
mod marks;
mod schedule;
mod targets;

use std::sync::Arc;
use std::{fmt::Write as _, net::IpAddr, time::Duration};

use super::super::{
    Config, Failure, Family, Forwarding, Granularity, Line, Persistence, Policy, Protocol, Quorum,
    RealServer, Report, Scheduler, SchedulerFlags, Target, Timeouts, VirtualServer, parse,
};

/// A service that is all right, with further lines in its block.
fn service(lines: &str) -> String {
    format!("virtual_server 10.0.0.1 80 {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{lines}\n}}\n")
}

/// The same with a real server.
fn with_server(lines: &str) -> String {
    service(&format!("{lines}\nreal_server 10.1.0.1 80 {{\n}}"))
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.parts().1.iter().map(|diagnostic| diagnostic.code.id()).collect()
}

fn read(text: &str) -> (Option<Config>, Vec<&'static str>) {
    match parse("f", text, &Policy::default()) {
        Ok(loaded) => (Some(loaded.config), codes(&loaded.notes)),
        Err(Failure::Invalid(report)) => (None, codes(&report)),
        Err(Failure::Io { .. }) => panic!("nothing is read here"),
    }
}

fn first(text: &str) -> VirtualServer {
    let (config, codes) = read(text);
    config.unwrap_or_else(|| panic!("{codes:?} in {text}")).services.remove(0)
}

const GUIDE: &str = "\
virtual_server 10.64.1.2 10000 {
  delay_loop 20
  lb_algo rr
  lb_kind NAT
  persistent_timeout 10
  protocol TCP
  real_server 192.168.1.100 8089 {
    weight 1
  }
  real_server 192.168.1.101 18089 {
    weight 1
  }
}
";

#[test]
fn the_guides_file_loads_with_one_notice() {
    let (config, codes) = read(GUIDE);
    let real = |last: u8, port, line| RealServer {
        smtp_alert: true,
        line,
        ..RealServer::new(IpAddr::from([192, 168, 1, last]), port, Forwarding::Nat)
    };
    let service = VirtualServer {
        target: Target::Address { address: IpAddr::from([10, 64, 1, 2]), port: 10000 },
        family: Family::Ipv4,
        protocol: Some(Protocol::Tcp),
        scheduler: Scheduler::RoundRobin,
        flags: SchedulerFlags::default(),
        forwarding: Forwarding::Nat,
        local_addresses: vec![],
        one_packet: false,
        persistence: Some(Persistence {
            timeout: Duration::from_secs(10),
            granularity: Granularity::full(Family::Ipv4),
        }),
        quorum: Quorum::default(),
        omega: false,
        sorry_server: None,
        ha_suspend: false,
        smtp_alert: false,
        persistence_engine: None,
        snmp_name: None,
        group: None,
        real_servers: Arc::new(vec![real(100, 8089, Line(7)), real(101, 18089, Line(10))]),
        line: 1,
    };
    assert_eq!(config, Some(Config { services: vec![service], ..Config::default() }));
    assert_eq!(codes, ["XLVS071"]);
}

#[test]
fn line_ends_and_layout_make_no_difference() {
    let (config, _) = read(GUIDE);
    assert_eq!(read(&GUIDE.replace('\n', "\r\n")).0, config);
    let commented = GUIDE.replace('\n', " # so\n");
    assert_eq!(read(&commented).0, config);
}

#[test]
fn defaults_are_keepaliveds() {
    let text = "virtual_server 10.0.0.1 80 { real_server 10.1.0.1 81 { } }";
    let (_, codes) = read(text);
    assert_eq!(codes, ["XLVS051", "XLVS072", "XLVS073"]);
    let service = first(text);
    assert_eq!(service.protocol, Some(Protocol::Udp));
    assert!(!service.one_packet);
    assert_eq!(service.scheduler, Scheduler::WeightedLeastConnections);
    assert_eq!(service.flags, SchedulerFlags::default());
    assert_eq!(service.forwarding, Forwarding::Nat);
    assert_eq!(service.persistence, None);
    let server = &service.real_servers[0];
    assert_eq!((server.weight, server.upper_threshold, server.lower_threshold), (1, 0, 0));
}

#[test]
fn values_are_read_as_keepalived_reads_them() {
    for (line, persistence, delay) in [
        ("persistence_timeout", Some(360.0), 60.0),
        ("persistence_timeout 2678400", Some(2_678_400.0), 60.0),
        ("delay_loop 0.000001", None, 0.000_001),
        ("delay_loop 1.5", None, 1.5),
        ("delay_loop .5", None, 0.5),
        ("delay_loop 20\ndelay_loop 30", None, 30.0),
    ] {
        let service =
            first(&service(&format!("{line}\nreal_server 10.1.0.1 80 {{\nTCP_CHECK {{ }}\n}}")));
        let timeout = service.persistence.map(|persistence| persistence.timeout);
        assert_eq!(timeout, persistence.map(Duration::from_secs_f64), "{line}");
        let schedule = &service.real_servers[0].checkers[0].schedule;
        assert_eq!(schedule.delay_loop, Duration::from_secs_f64(delay), "{line}");
    }
}

fn is_error(code: &str) -> bool {
    let warning = |group| code.starts_with(group);
    !(warning("XLVS06") || warning("XLVS07") || warning("XLVS09") || warning("XLVS1"))
}

#[test]
fn each_mistake_gets_its_code_and_no_other() {
    for (line, expected) in [
        ("sorry_server 1.2.3.4 x", "XLVS043"),
        ("weight 0", "XLVS044"),
        ("retry 0", "XLVS044"),
        ("smtp_alert ON", "XLVS045"),
        ("quorum_up '/bin/x", "XLVS049"),
        ("quorum_up a b c d", "XLVS041"),
        ("lb_kind TUN type gue", "XLVS049"),
        ("delay_loop", "XLVS040"),
        ("delay_loop 1 2", "XLVS041"),
        ("delay_loop 0", "XLVS044"),
        ("delay_loop 1.0000001", "XLVS044"),
        ("delay_loop -1", "XLVS044"),
        ("delay_loop +1", "XLVS044"),
        ("delay_loop 1s", "XLVS044"),
        ("delay_loop .", "XLVS044"),
        ("delay_loop 99999999999999999999999", "XLVS044"),
        ("persistence_timeout 2678401", "XLVS044"),
        ("delay_loop 1 { }", "XLVS023"),
        ("real_server 1.2.3.4 80 { weight -1\n}", "XLVS044"),
        ("real_server 1.2.3.4 80 { weight 2147483648\n}", "XLVS044"),
        ("real_server 1.2.3.4 80 { TCP_CHECK { connect_timeout 4295\n} }", "XLVS044"),
        ("real_server 1.2.3.4 80 { TCP_CHECK { connect_port 0\n} }", "XLVS043"),
        ("real_server 1.2.3.4 80 { MISC_CHECK { misc_path /bin/x y\n} }", "XLVS041"),
        ("real_server 1.2.3.4 80 { UDP_CHECK { payload 0g\n} }", "XLVS049"),
        ("real_server 1.2.3.4 80 { uthreshold -1\n}", "XLVS044"),
        ("real_server 1.2.3.4 80 { lthreshold 4294967296\n}", "XLVS044"),
        ("real_server 1.2.3.4 80 { uthreshold\n}", "XLVS040"),
        ("real_server 1.2.3.4 80 { uthreshold 4\nlthreshold 5\n}", "XLVS080"),
        ("real_server 1.2.3.4 80 { lthreshold 5\nuthreshold 0\n}", "XLVS080"),
        ("real_server 1.2.3.4 80 { lthreshold 5\n}", "XLVS080"),
        ("real_server 1.2.3.4 80 { lthreshold 5\nuthreshold x\n}", "XLVS044"),
        ("real_server 2001:db8::g 80 { }", "XLVS042"),
        ("real_server 1.2.3.4 65536 { }", "XLVS043"),
        ("real_server 1.2.3.4 http { }", "XLVS043"),
        ("real_server 1.2.3.04 80 { }", "XLVS042"),
        ("real_server 1.2.3 80 { }", "XLVS042"),
        ("real_server 1.2.3.4:80 { }", "XLVS042"),
        ("real_server 0.0.0.0 80 { }", "XLVS042"),
        ("real_server 224.0.0.1 80 { }", "XLVS042"),
        ("real_server { }", "XLVS040"),
        ("real_server 1.2.3.4 80 90 { }", "XLVS041"),
    ] {
        let (config, codes) = read(&with_server(line));
        let codes: Vec<_> = codes.into_iter().filter(|code| is_error(code)).collect();
        assert_eq!((config, codes), (None, vec![expected]), "{line}");
    }
}

#[test]
fn what_is_not_known_or_misplaced_is_skipped_with_its_block() {
    for (line, expected) in [
        ("wieght 1", "XLVS030"),
        ("frobnicate { x 1\nlb_algo wlc\n}", "XLVS030"),
        ("uthreshold 1", "XLVS031"),
        ("lvs_flush", "XLVS031"),
        ("syn_proxy", "XLVS036"),
    ] {
        let (config, codes) = read(&with_server(line));
        assert_eq!(codes, [expected], "{line}");
        assert_eq!(config.unwrap().services[0].scheduler, Scheduler::RoundRobin);
    }
}

#[test]
fn what_cannot_be_balanced_is_read_and_left_out() {
    for (from, to) in [
        ("lb_kind NAT", "lb_kind DR"),
        ("lb_kind NAT", "lb_kind TUN type gue port 6080 csum"),
        ("protocol TCP", "protocol SCTP"),
        ("real_server 10.1.0.1 80 {", "real_server 10.1.0.1 80 { lvs_method FNAT"),
    ] {
        let text = with_server("").replacen(from, to, 1);
        let (config, codes) = read(&text);
        assert_eq!(codes, ["XLVS077"], "{to}");
        assert!(!config.unwrap().services[0].is_balanced(), "{to}");
        let loaded = parse("f", &text, &Policy::default()).unwrap().balanced();
        assert!(loaded.config.services.is_empty());
    }
}

#[test]
fn what_keepalived_ignores_is_ignored() {
    for (line, expected) in [
        ("persistence_timeout 0", "XLVS110"),
        ("quorum 0", "XLVS110"),
        ("real_server 2001:db8::1 80 { }", "XLVS111"),
        ("real_server 2001:db8::1 0 { }", "XLVS111"),
        ("real_server 2001:db8::1 { }", "XLVS111"),
    ] {
        let (config, codes) = read(&with_server(line));
        assert!(codes.contains(&expected), "{line}: {codes:?}");
        assert_eq!(config, read(&with_server("")).0, "{line}");
    }
}

const IPV6: &str = "virtual_server 2001:db8::1 80 {\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n\
                    real_server fd00::1 80 {\n}\n}";

#[test]
fn ipv6_services_have_ipv6_servers() {
    let service = first(IPV6);
    let address = "2001:db8::1".parse().unwrap();
    assert_eq!(service.target, Target::Address { address, port: 80 });
    assert_eq!(service.family, Family::Ipv6);
    assert_eq!(service.real_servers[0].address, "fd00::1".parse::<IpAddr>().unwrap());
    let (config, codes) = read(&IPV6.replace("fd00::1", "10.1.0.1"));
    assert_eq!((config.unwrap().services.len(), codes), (0, vec!["XLVS111"]));
    // The same address in another spelling.
    assert_eq!(
        read(&format!("{IPV6}\n{}", IPV6.replace("db8::1", "DB8:0:0::0001"))),
        (None, vec!["XLVS053"])
    );
}

#[test]
fn a_port_has_one_service_for_each_protocol() {
    let tcp = with_server("");
    let udp = tcp.replace("TCP", "udp");
    let (config, codes) = read(&format!("{tcp}{udp}"));
    assert_eq!(codes, Vec::<&str>::new());
    let protocols: Vec<_> = config.unwrap().services.iter().map(|s| s.protocol).collect();
    assert_eq!(protocols, [Some(Protocol::Tcp), Some(Protocol::Udp)]);
    assert_eq!(read(&format!("{tcp}{udp}{udp}")), (None, vec!["XLVS053"]));
    // Without one it is UDP; with a wrong one nobody knows.
    let without = udp.replace("protocol udp\n", "");
    assert_eq!(read(&format!("{udp}{without}")), (None, vec!["XLVS051", "XLVS053"]));
    let wrong = tcp.replace("TCP", "TPC");
    assert_eq!(read(&format!("{tcp}{wrong}{wrong}")), (None, vec!["XLVS045", "XLVS045"]));
}

#[test]
fn ops_is_for_udp() {
    let udp = with_server("ops").replace("TCP", "UDP");
    assert!(first(&udp).one_packet);
    assert_eq!(read(&udp).1, Vec::<&str>::new());
    assert!(first(&udp.replace("protocol UDP\n", "")).one_packet);
    assert!(!first(&with_server("ops")).one_packet);
    assert_eq!(read(&with_server("ops")).1, ["XLVS064"]);
    assert_eq!(read(&udp.replace("ops", "ops yes")), (None, vec!["XLVS041"]));
}

#[test]
fn timeouts_are_read_and_0_is_the_default() {
    let timeouts = |lines: &str| {
        let (config, codes) = read(&format!("global_defs {{\n{lines}\n}}\n{}", with_server("")));
        (config.map(|config| config.timeouts), codes)
    };
    let of = |tcp, tcp_fin, udp| Some(Timeouts { tcp, tcp_fin, udp });
    for (lines, expected, codes) in [
        ("", of(None, None, None), vec![]),
        ("lvs_timeouts tcp 1 tcpfin 2 udp 2678400", of(Some(1), Some(2), Some(2_678_400)), vec![]),
        ("lvs_timeouts udp 0 tcp 3", of(Some(3), None, None), vec![]),
        ("lvs_timeouts udp 1\nlvs_timeouts tcp 3", of(Some(3), None, Some(1)), vec![]),
        ("lvs_timeouts tcp 1 tcp 0", of(None, None, None), vec!["XLVS061"]),
        ("lvs_timeouts tcp 1\nlvs_timeouts tcp 2", of(Some(2), None, None), vec!["XLVS061"]),
        ("lvs_timeouts", None, vec!["XLVS040"]),
        ("lvs_timeouts tcp 1 udp", None, vec!["XLVS040"]),
        ("lvs_timeouts tcp udp 1", None, vec!["XLVS044", "XLVS045"]),
        ("lvs_timeouts tcp 2678401", None, vec!["XLVS044"]),
        ("lvs_timeouts tcp -1", None, vec!["XLVS044"]),
        ("lvs_timeouts 900 120 300", None, vec!["XLVS045"]),
        ("lvs_timeouts TCP 900", None, vec!["XLVS045"]),
        ("lvs_timeouts tcp 1 { }", None, vec!["XLVS023"]),
        ("lvs_flush", of(None, None, None), vec!["XLVS076"]),
        ("lvs_flush_on_stop all", None, vec!["XLVS076", "XLVS045"]),
        ("smtp_server 10.0.0.1 0", None, vec!["XLVS076", "XLVS043"]),
        ("lb_algo rr", of(None, None, None), vec!["XLVS031"]),
        ("lvs_timeout tcp 1", of(None, None, None), vec!["XLVS030"]),
    ] {
        assert_eq!(timeouts(lines), (expected, codes), "{lines}");
    }
    assert_eq!(read("global_defs x {\n}").1, ["XLVS041"]);
    assert_eq!(read("global_defs {\n}").1, ["XLVS063"]);
    assert_eq!(read("global_defs\nlvs_timeouts tcp 1\n}").1, ["XLVS022"]);
}

#[test]
fn addresses_that_no_host_can_have_are_refused() {
    for address in [
        "::",
        "ff02::1",
        "fe80::1",
        "fe80::1%eth0",
        "::ffff:10.0.0.1",
        "2001:db8::/64",
        "2001:db8::1-2",
        "[2001:db8::1]",
        "2001:db8:::1",
        "2001:db8",
        "12345::",
        ":",
        "%",
        "-",
    ] {
        for from in ["2001:db8::1", "fd00::1"] {
            assert_eq!(read(&IPV6.replace(from, address)), (None, vec!["XLVS042"]), "{address}");
        }
    }
}

#[test]
fn other_words_for_the_right_one_are_wrong() {
    for (from, to) in [
        ("lb_algo rr", "lb_algo RR"),
        ("lb_kind NAT", "lb_kind nat"),
        ("lb_kind NAT", "lb_kind fnat"),
        ("protocol TCP", "protocol TPC"),
    ] {
        let text = with_server("").replacen(from, to, 1);
        assert_eq!(read(&text), (None, vec!["XLVS045"]), "{to}");
    }
}

#[test]
fn top_level_blocks_of_keepalived_are_told() {
    for (block, code) in [
        ("global_defs {\n router_id x\n}", "XLVS076"),
        ("vrrp_instance V {\n}", "XLVS078"),
        ("vrrp_instance V {\n virtual_ipaddress {\n lb_algo\n } } }", "XLVS108"),
        ("static_routes {\n 10.0.0.0/8 via 10.1.1.1", "XLVS108"),
        ("instance a", "XLVS078"),
    ] {
        let text = format!("{block}\n{}", with_server(""));
        let (config, codes) = read(&text);
        assert!(codes.contains(&code) && codes.len() <= 2, "{block}: {codes:?}");
        assert_eq!(config.map(|config| config.services.len()), Some(1), "{block}");
    }
}

#[test]
fn a_wrong_value_is_not_also_a_missing_one() {
    let text =
        "virtual_server 10.0.0.1 80 {\nlb_algo x\nlb_kind x\nprotocol x\nreal_server x y {\n}\n}";
    assert_eq!(read(text).1, ["XLVS045", "XLVS045", "XLVS045", "XLVS042", "XLVS043"]);
}

#[test]
fn everything_is_reported_in_one_run() {
    let text =
        "virtual_server 10.0.0.256 80 {\nlb_kind NAT\nbogus\n}\nvirtual_server 10.0.0.2 80 {\n";
    assert_eq!(
        read(text).1,
        [
            "XLVS051", "XLVS052", "XLVS073", "XLVS042", "XLVS030", "XLVS020", "XLVS051", "XLVS052",
            "XLVS072"
        ]
    );
}

#[test]
fn doubles_and_zero_weights() {
    let server = "real_server 10.1.0.1 80 {\nweight 0\n}";
    let (config, codes) = read(&service(&format!("{server}\n{server}")));
    assert_eq!(codes, ["XLVS062", "XLVS060"]);
    assert_eq!(config.unwrap().services[0].real_servers.len(), 1);
    assert_eq!(read(&with_server("protocol TCP")).1, ["XLVS061"]);
    assert_eq!(read(&with_server("lvs_sched rr")).1, ["XLVS061"]);
    assert_eq!(read(&with_server("").repeat(2)), (None, vec!["XLVS053"]));
    assert_eq!(read("# nothing\n"), (Some(Config::default()), vec!["XLVS063"]));
}

fn servers(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, index| {
        writeln!(text, "real_server 10.{}.{}.1 80 {{\n}}", index / 256, index % 256).unwrap();
        text
    })
}

#[test]
fn limits_are_told_once() {
    assert_eq!(read(&service(&servers(1_000))).1, Vec::<&str>::new());
    assert_eq!(read(&service(&servers(1_002))), (None, vec!["XLVS054"]));
    let many = |services: usize, lines: &str| {
        (1_001..=1_000 + services).fold(String::new(), |text, port| {
            text + &service(lines).replacen("80", &port.to_string(), 1)
        })
    };
    let one = servers(1);
    assert_eq!(read(&many(4_000, &one)).1, Vec::<&str>::new());
    assert_eq!(read(&many(4_002, &one)), (None, vec!["XLVS054"]));
    let thousand = servers(1_000);
    assert_eq!(read(&many(131, &thousand)).1, Vec::<&str>::new());
    assert_eq!(read(&many(133, &thousand)), (None, vec!["XLVS054"]));
    // Of a group each address counts.
    let group = |size: usize| {
        let ports =
            (1..=size).fold(String::new(), |text, port| text + &format!("10.0.0.2 {port}\n"));
        let service = service(&servers(34)).replacen("10.0.0.1 80", "group g", 1);
        format!("virtual_server_group g {{\n{ports}}}\n{service}")
    };
    let (config, codes) = read(&group(3_855));
    // That many ports are one service, and its clients need not stay.
    assert_eq!(codes, ["XLVS100"]);
    let services = config.unwrap().services;
    assert_eq!(services.iter().map(|s| s.real_servers.len()).sum::<usize>(), 131_070);
    assert_eq!(read(&group(3_856)), (None, vec!["XLVS054"]));
    assert_eq!(read(&group(4_001)), (None, vec!["XLVS054"]));
}
