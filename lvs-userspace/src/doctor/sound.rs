//! Facts of a host on which all is well, for tests of rules to spoil.

use super::facts::{
    Address, Facts, File, Host, Interface, Kernel, Outcome, Server, State, Tried, Way,
};
use crate::{
    bpf::{Mode, Survey},
    config::{Forwarding, Policy, parse},
    control::Place,
};

/// What rules are tried with: nothing is wrong here.
pub(super) fn facts() -> Facts {
    let text = "virtual_server 10.64.1.2 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n \
        real_server 192.168.1.100 80 {\n weight 1\n }\n}\n";
    let config = parse("test", text, &Policy::default());
    let eth = |name: &str, index| Interface {
        name: name.to_owned(),
        index,
        up: true,
        carrier: true,
        mtu: 1500,
        driver: Some("ice".to_owned()),
        xdp_features: Some(0x7f),
        queues: Some((4, 4)),
        ..Interface::default()
    };
    let address = |address: &str, length, interface| Address {
        address: address.parse().unwrap(),
        length,
        interface,
        global: true,
        dynamic: false,
    };
    let settings = [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        ("net/ipv4/neigh/default/gc_thresh3", "1024"),
        ("net/ipv4/conf/all/rp_filter", "0"),
    ];
    let tried =
        |from: &str| Some(Tried { from: Some(from.parse().unwrap()), outcome: Outcome::Open });
    Facts {
        kernel: Kernel {
            release: "6.18.1".to_owned(),
            btf: true,
            jit: Some("1".to_owned()),
            programs: Some(Ok(())),
            ..Kernel::default()
        },
        file: File { path: "/etc/xlvs.conf".into(), changed: 100, ..File::default() },
        config: config.unwrap().config,
        mode: Mode::Auto,
        interfaces: vec![eth("out", 2), eth("in", 3)],
        no_interfaces: Vec::new(),
        host: Host {
            settings: settings.map(|(path, value)| (path.to_owned(), value.to_owned())).into(),
            addresses: vec![
                address("10.64.1.254", 24, 2),
                address("10.64.1.2", 32, 2),
                address("192.168.1.1", 24, 3),
            ],
            default_routes: [Some(2), None],
            names: [(2, "out".to_owned()), (3, "in".to_owned())].into(),
            cpus: 4,
            ports: Some(36_280),
            ..Host::default()
        },
        servers: vec![Server {
            address: "192.168.1.100".parse().unwrap(),
            port: 80,
            forwarding: Forwarding::Nat,
            tcp: true,
            locals: Vec::new(),
            way: Way::Out(3, "192.168.1.100".parse().unwrap()),
            resolved: Some(true),
            plain: tried("192.168.1.1"),
            from_elsewhere: tried("10.64.1.254"),
        }],
        not_tried: 0,
        state: State {
            pin_dir: Place::PIN_DIR.into(),
            runtime_dir: Place::RUNTIME_DIR.into(),
            survey: Survey { bpffs: true, ..Survey::default() },
            now: 1000,
            ..State::default()
        },
        unseen: Vec::new(),
    }
}
