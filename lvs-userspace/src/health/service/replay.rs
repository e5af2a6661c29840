//! keepalived's own behaviour as the measure: what it did on real IPVS in the scripted failures of
//! `tests/health/record.py` is done again here, and must come out the same: who is told what in which order, and who is in
//! the pool with which weight in which place.

use std::sync::Arc;
use std::{collections::HashMap, net::Ipv4Addr};

use serde_json::Value;

use super::{Notice, Service};
use crate::{
    config::{
        Check, Checker, FileCheck, Line, Quorum, RealServer, Schedule, SorryServer, VirtualServer,
    },
    health::{files::added, identity::ServiceId, service::tests},
};

const RECORDED: &str = include_str!("../../../tests/health/keepalived.json");

fn number(value: &Value) -> u32 {
    value.as_u64().unwrap_or_else(|| panic!("{value} is no number")) as u32
}

fn lines(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|line| format!("{}\n", line.as_str().unwrap())).collect()
}

/// `SERVICES` of the recorder.
fn service(at: usize, recorded: &Value) -> VirtualServer {
    let octet = u8::try_from(at).unwrap() + 1;
    let flag = |name: &str| recorded[name].as_bool().unwrap_or(false);
    let tcp = flag("tcp");
    let server = |(nth, weight): (usize, &Value)| {
        let address = Ipv4Addr::new(127, 1, octet, u8::try_from(nth).unwrap() + 1);
        let check = |which: u64| {
            if tcp {
                return tests::tcp(address);
            }
            let weight = recorded["factor"].as_i64().unwrap_or(0) as i32;
            let track_file = format!("f{nth}_{which}");
            Check::File(FileCheck { track_file, weight, reverse: false })
        };
        let schedule = || Schedule { alpha: flag("alpha"), ..tests::schedule() };
        let checks = 1..=recorded["checks"].as_u64().unwrap_or(1);
        let checkers =
            checks.map(check).map(|check| Checker { check, schedule: schedule(), line: Line(1) });
        RealServer {
            inhibit_on_failure: flag("inhibit"),
            checkers: checkers.map(Arc::new).collect(),
            ..tests::real_server(address, number(weight))
        }
    };
    let real_servers: Vec<RealServer> =
        recorded["weights"].as_array().unwrap().iter().enumerate().map(server).collect();
    let kind = recorded["sorry"].as_str();
    let sorry_server = kind.map(|kind| SorryServer {
        address: Ipv4Addr::new(127, 1, octet, if kind == "first" { 1 } else { 100 }).into(),
        port: 80,
        forwarding: crate::config::Forwarding::Nat,
        // `validate_check_config()`: as that of the real server that it is.
        inhibit: kind == "inhibit" || (kind == "first" && flag("inhibit")),
        line: Line(1),
    });
    VirtualServer {
        quorum: Quorum {
            weight: number(&recorded["quorum"]),
            hysteresis: number(&recorded["hysteresis"]),
            up: None,
            down: None,
        },
        omega: flag("omega"),
        sorry_server,
        real_servers: Arc::new(real_servers),
        ..tests::virtual_server(Ipv4Addr::new(10, 99, 0, octet))
    }
}

/// Does what a step says, and gives the lines that are written for it.
fn step(
    config: &VirtualServer,
    service: &mut Service,
    (server, checker): (usize, usize),
    value: i64,
) -> Vec<String> {
    let mut notices = Vec::new();
    let (up, weight) = match &config.real_servers[server].checkers[checker].check {
        Check::File(check) => {
            let added = added(check, value);
            (added.is_some(), added.unwrap_or(0))
        }
        _ => (value != 0, 0),
    };
    service.judge(server, checker, up, weight, &mut notices);
    notices.iter().map(Notice::fifo_line).collect()
}

fn pool(service: &Service) -> Value {
    let members = service.pool.members.iter();
    members.map(|member| serde_json::json!([member.server.address, member.weight])).collect()
}

#[test]
fn does_as_keepalived_did() {
    let recorded: Value = serde_json::from_str(RECORDED).unwrap();
    let configs: Vec<VirtualServer> = recorded["services"]
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(at, value)| service(at, value))
        .collect();
    let started = lines(&recorded["start"]["fifo"]);
    let mut services = Vec::new();
    for (at, config) in configs.iter().enumerate() {
        let id = ServiceId::of_all(&tests::config(vec![config.clone()])).remove(0);
        let mut service = Service::new(id, config, |checker| match &checker.check {
            Check::File(check) => added(check, 0),
            _ => Some(0),
        });
        let mut notices = Vec::new();
        service.start(false, &mut notices);
        let mut told: Vec<String> = notices.iter().map(Notice::fifo_line).collect();
        let own = format!("[10.99.0.{}]:tcp:80 ", at + 1);
        let wanted: Vec<String> =
            started.iter().filter(|line| line.contains(&own)).cloned().collect();
        // The first results, in the order in which keepalived had them; the first server is well, the second is not.
        for line in wanted.iter().filter(|line| line.starts_with("RS")) {
            let server = usize::from(line.starts_with(&format!("RS [127.1.{}.2]", at + 1)));
            told.extend(step(config, &mut service, (server, 0), i64::from(server == 0)));
        }
        if configs[at]
            .real_servers
            .iter()
            .any(|server| matches!(server.checkers[0].check, Check::Tcp(_)))
        {
            // A success that changes nothing is not told.
            told.extend(step(config, &mut service, (0, 0), 1));
        }
        assert_eq!(told, wanted, "at the start of {}", recorded["services"][at]["name"]);
        assert_eq!(pool(&service), recorded["start"]["pools"][at], "at the start of {at}");
        services.push(service);
    }
    let mut counts: HashMap<usize, usize> = HashMap::new();
    for recorded_step in recorded["steps"].as_array().unwrap() {
        let at = number(&recorded_step["service"]) as usize - 1;
        let server = number(&recorded_step["server"]) as usize - 1;
        let checker = number(&recorded_step["check"]) as usize - 1;
        let value = recorded_step["value"].as_i64().unwrap();
        let told = step(&configs[at], &mut services[at], (server, checker), value);
        let nth = counts.entry(at).or_default();
        *nth += 1;
        let what = format!("step {nth} of {}: {recorded_step}", recorded["services"][at]["name"]);
        assert_eq!(told, lines(&recorded_step["fifo"]), "{what}");
        assert_eq!(pool(&services[at]), recorded_step["pool"], "{what}");
    }
    let mut notices = Vec::new();
    for service in &mut services {
        service.stop(true, &mut notices);
    }
    let told: Vec<String> = notices.iter().map(Notice::fifo_line).collect();
    assert_eq!(told, lines(&recorded["stop"]));
    assert!(counts.values().sum::<usize>() > 250);
}
