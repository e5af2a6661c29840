//! Full NAT and its local addresses.

use super::*;

/// A full NAT service that uses the group `x`.
fn full_nat(lines: &str) -> String {
    with_server(lines).replace("lb_kind NAT", "lvs_method FNAT\nladdr_group_name x")
}

#[test]
fn full_nat_takes_the_addresses_of_its_group() {
    let group = "local_address_group x {\n10.2.0.7\n10.2.0.1-3 # three\n}\n";
    let expected: Vec<_> = [7, 1, 2, 3].map(|last| IpAddr::from([10, 2, 0, last])).into();
    for text in [format!("{group}{}", full_nat("")), format!("{}{group}", full_nat(""))] {
        assert_eq!(read(&text).1, Vec::<&str>::new());
        let service = first(&text);
        assert_eq!(service.forwarding, Forwarding::FullNat);
        assert_eq!(service.local_addresses, expected);
    }
    let without = first(&full_nat("").replace("laddr_group_name x", ""));
    assert_eq!((without.forwarding, without.local_addresses), (Forwarding::FullNat, vec![]));
    let ops = first(&format!("{group}{}", full_nat("ops").replace("TCP", "UDP")));
    assert!(ops.one_packet);
}

#[test]
fn groups_that_cannot_be_used_are_told() {
    for (group, expected) in [
        ("local_address_group y {\n10.2.0.1\n}", vec!["XLVS055"]),
        ("local_address_group x {\n}", vec!["XLVS056"]),
        (
            "local_address_group x {\n10.2.0.1\n}\nlocal_address_group x {\n10.2.0.2\n}",
            vec!["XLVS057"],
        ),
        ("local_address_group x {\n10.2.0.1\nfd00::1\n}", vec!["XLVS058"]),
        ("local_address_group x {\nfd00::0-ff\nfd00::100\n}", vec!["XLVS059", "XLVS058"]),
        (
            "local_address_group x {\nfd00::0-ffff\nfd00::0-ffff\n}",
            vec!["XLVS059", "XLVS066", "XLVS058"],
        ),
        ("local_address_group x {\n10.2.0.1 dpdk0.1\n}", vec!["XLVS033"]),
        ("local_address_group x {\n10.2.0.1 10.2.0.2\n}", vec!["XLVS041"]),
        ("local_address_group x {\n10.2.0.1 10.2.0.2-3\n}", vec!["XLVS041"]),
        ("local_address_group x {\n10.2.0.1 dpdk0 1\n}", vec!["XLVS041"]),
        ("local_address_group x {\n10.2.0.1 { }\n}", vec!["XLVS023"]),
        ("local_address_group x {\n10.2.0.0/24\n}", vec!["XLVS046"]),
        ("local_address_group x {\n10.2.0.1-10.2.0.3\n}", vec!["XLVS046"]),
        ("local_address_group x {\n10.2.0.256\n}", vec!["XLVS042"]),
        ("local_address_group x {\nfe80::1\n}", vec!["XLVS042"]),
        ("local_address_group x {\nmy-host.example\n}", vec!["XLVS042"]),
        ("local_address_group {\n10.2.0.1\n}", vec!["XLVS040"]),
        ("local_address_group x y {\n10.2.0.1\n}", vec!["XLVS041"]),
        ("local_address_group x\n10.2.0.1\n}", vec!["XLVS022"]),
        ("local_address_group x", vec!["XLVS022"]),
        ("local_address_group x {\n10.2.0.1\n", vec!["XLVS020"]),
        ("local_address_group x {\n10.2.0.1\n}\n10.2.0.2\n}", vec!["XLVS021"]),
    ] {
        assert_eq!(read(&format!("{group}\n{}", full_nat(""))), (None, expected), "{group}");
    }
    assert_eq!(read(&full_nat("laddr_group_name")).1, ["XLVS061", "XLVS040"]);
}

#[test]
fn what_full_nat_does_not_need_is_left_out() {
    let group = "local_address_group x {\n10.2.0.1\n10.2.0.1-2\n}\n";
    let text = format!("{group}{}", full_nat(""));
    assert_eq!(read(&text).1, ["XLVS066"]);
    assert_eq!(first(&text).local_addresses.len(), 2);
    for nat in ["lb_kind NAT", ""] {
        let text = text.replace("lvs_method FNAT", nat);
        assert!(read(&text).1.contains(&"XLVS065"));
        assert_eq!(first(&text).local_addresses, Vec::<IpAddr>::new());
    }
    // Of a group that is not used nothing is asked but that it is right in itself.
    assert_eq!(read(&format!("{group}{IPV6}")).1, ["XLVS066"]);
}
