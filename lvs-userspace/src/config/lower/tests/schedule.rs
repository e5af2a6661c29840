//! Schedulers and their flags, persistence, thresholds.

use std::net::Ipv4Addr;

use super::*;

fn with_scheduler(lines: &str) -> String {
    with_server("").replace("lb_algo rr", lines)
}

#[test]
fn all_schedulers_of_ipvs_are_known_by_their_names() {
    for name in [
        "rr", "wrr", "lc", "wlc", "sh", "dh", "lblc", "lblcr", "sed", "nq", "mh", "fo", "ovf",
        "twos",
    ] {
        for keyword in ["lb_algo", "lvs_sched"] {
            let text = with_scheduler(&format!("{keyword} {name}"));
            assert_eq!(first(&text).scheduler.to_string(), name);
            assert_eq!(read(&text).1, Vec::<&str>::new());
        }
    }
}

#[test]
fn flags_are_taken_as_keepalived_takes_them() {
    for (lines, fallback, port, flag_3, codes) in [
        ("lb_algo sh\nsh-fallback", true, false, false, vec![]),
        ("lb_algo sh\nsh-port", false, true, false, vec![]),
        ("lb_algo mh\nmh-port\nmh-fallback", true, true, false, vec![]),
        ("flag-1\nlb_algo sh\nflag-2", true, true, false, vec![]),
        ("lb_algo mh\nflag-3", false, false, true, vec!["XLVS067"]),
        ("lb_algo wlc\nflag-1", true, false, false, vec!["XLVS067"]),
        ("sh-port\nlb_algo sh", false, false, false, vec!["XLVS067"]),
        ("lb_algo sh\nmh-port", false, false, false, vec!["XLVS067"]),
        ("lb_algo rr\nsh-port\nsh-fallback", false, false, false, vec!["XLVS067", "XLVS067"]),
        ("sh-fallback", false, false, false, vec!["XLVS073", "XLVS067"]),
        ("lb_algo sh\nsh-port\nsh-port", false, true, false, vec!["XLVS061"]),
        // Odd, but so it is in keepalived.
        ("lb_algo sh\nsh-port\nlb_algo mh", false, true, false, vec!["XLVS061"]),
        ("lb_algo sh\nhashed", false, false, false, vec!["XLVS074"]),
    ] {
        let text = with_scheduler(lines);
        assert_eq!(read(&text).1, codes, "{lines}");
        assert_eq!(first(&text).flags, SchedulerFlags { fallback, port, flag_3 }, "{lines}");
    }
    assert_eq!(read(&with_scheduler("lb_algo sh\nsh-port 1")), (None, vec!["XLVS041"]));
    assert_eq!(read(&with_scheduler("lb_algo sh\nhashed on")).1, ["XLVS074", "XLVS041"]);
    // A wrong scheduler is enough to hear of.
    assert_eq!(read(&with_scheduler("lb_algo shh\nsh-port")), (None, vec!["XLVS045"]));
}

#[test]
fn granularity_is_a_mask_or_the_length_of_a_prefix() {
    let of = |seconds, granularity| {
        Some(Persistence { timeout: Duration::from_secs(seconds), granularity })
    };
    for (lines, seconds, mask) in [
        ("persistence_timeout 5", 5, [255, 255, 255, 255]),
        ("persistence_granularity 255.255.255.0", 360, [255, 255, 255, 0]),
        ("persistence_granularity 255.0.0.255\npersistence_timeout 5", 5, [255, 0, 0, 255]),
        ("persistence_timeout\npersistence_granularity 0.0.0.0", 360, [0, 0, 0, 0]),
    ] {
        let expected = of(seconds, Granularity::Mask(Ipv4Addr::from(mask)));
        assert_eq!(first(&with_server(lines)).persistence, expected, "{lines}");
    }
    let ipv6 = |lines: &str| IPV6.replace("protocol", &format!("{lines}\nprotocol"));
    for (lines, seconds, length) in [
        ("persistence_timeout 5", 5, 128),
        ("persistence_granularity 1", 360, 1),
        ("persistence_granularity 128\npersistence_timeout 5", 5, 128),
    ] {
        let expected = of(seconds, Granularity::Prefix(length));
        assert_eq!(first(&ipv6(lines)).persistence, expected, "{lines}");
    }
    for (line, expected) in [
        ("persistence_granularity", "XLVS040"),
        ("persistence_granularity 0", "XLVS047"),
        ("persistence_granularity 129", "XLVS047"),
        ("persistence_granularity +24", "XLVS047"),
        ("persistence_granularity 255.255.255", "XLVS047"),
        ("persistence_granularity ffff::", "XLVS047"),
        ("persistence_granularity /24", "XLVS047"),
    ] {
        assert_eq!(read(&with_server(line)), (None, vec![expected]), "{line}");
        assert_eq!(read(&ipv6(line)), (None, vec![expected]), "{line}");
    }
    for length in [1, 24, 31, 32, 33, 128] {
        let line = format!("persistence_granularity {length}");
        assert_eq!(read(&with_server(&line)), (None, vec!["XLVS047"]), "{line}");
    }
    let mask = ipv6("persistence_granularity 255.255.255.0");
    assert_eq!(read(&mask), (None, vec!["XLVS047"]));
}

#[test]
fn thresholds_are_numbers_and_0_is_none() {
    for (lines, upper, lower) in [
        ("uthreshold 4294967295", u32::MAX, 0),
        ("uthreshold 10\nlthreshold 10", 10, 10),
        ("lthreshold 0", 0, 0),
        ("lthreshold 3\nuthreshold 10", 10, 3),
    ] {
        let text = service(&format!("real_server 10.1.0.1 80 {{\n{lines}\n}}"));
        assert_eq!(read(&text).1, Vec::<&str>::new());
        let server = &first(&text).real_servers[0];
        assert_eq!((server.upper_threshold, server.lower_threshold), (upper, lower), "{lines}");
    }
}
