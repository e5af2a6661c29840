use std::net::Ipv4Addr;
use std::sync::Arc;

use super::{Notice, Service};
use crate::{
    config::{
        Check, Checker, Config, Connection, Family, Forwarding, Line, Protocol, Quorum, RealServer,
        Schedule, Scheduler, SchedulerFlags, SorryServer, Target, VirtualServer,
    },
    health::identity::{Endpoint, ServiceId},
};

pub(in crate::health) fn schedule() -> Schedule {
    Schedule {
        delay_loop: std::time::Duration::from_secs(10),
        retry: 1,
        delay_before_retry: std::time::Duration::from_secs(1),
        warmup: std::time::Duration::ZERO,
        alpha: false,
        log_all_failures: false,
    }
}

pub(in crate::health) fn connection(address: Ipv4Addr, port: u16) -> Connection {
    Connection {
        address: address.into(),
        port,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: std::time::Duration::from_secs(2),
        mark: 0,
    }
}

pub(in crate::health) fn tcp(address: Ipv4Addr) -> Check {
    Check::Tcp(connection(address, 80))
}

pub(in crate::health) fn real_server(address: Ipv4Addr, weight: u32) -> RealServer {
    RealServer { weight, ..RealServer::new(address.into(), 80, Forwarding::Nat) }
}

pub(in crate::health) fn virtual_server(address: Ipv4Addr) -> VirtualServer {
    VirtualServer {
        target: Target::Address { address: address.into(), port: 80 },
        family: Family::Ipv4,
        protocol: Some(Protocol::Tcp),
        scheduler: Scheduler::RoundRobin,
        flags: SchedulerFlags::default(),
        forwarding: Forwarding::Nat,
        local_addresses: Vec::new(),
        one_packet: false,
        persistence: None,
        quorum: Quorum::default(),
        omega: false,
        sorry_server: None,
        ha_suspend: false,
        smtp_alert: false,
        persistence_engine: None,
        snmp_name: None,
        group: None,
        real_servers: Arc::default(),
        line: 1,
    }
}

pub(in crate::health) fn config(services: Vec<VirtualServer>) -> Config {
    Config { services, ..Config::default() }
}

/// A service with servers 10.0.0.1 and so on, each with a TCP check.
pub(super) fn service(weights: &[u32], change: impl Fn(&mut VirtualServer)) -> VirtualServer {
    let mut service = virtual_server(Ipv4Addr::new(192, 0, 2, 1));
    let servers: Vec<_> = weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            let address = Ipv4Addr::new(10, 0, 0, at as u8 + 1);
            let checker = Checker { check: tcp(address), schedule: schedule(), line: Line(1) };
            RealServer { checkers: vec![Arc::new(checker)], ..real_server(address, *weight) }
        })
        .collect();
    service.real_servers = Arc::new(servers);
    change(&mut service);
    service
}

pub(super) fn sorry() -> SorryServer {
    SorryServer {
        address: Ipv4Addr::new(10, 0, 0, 100).into(),
        port: 80,
        forwarding: Forwarding::Nat,
        inhibit: false,
        line: Line(1),
    }
}

fn new(config: &VirtualServer) -> Service {
    let id = ServiceId::of_all(&super::tests::config(vec![config.clone()])).remove(0);
    Service::new(id, config, |_| Some(0))
}

pub(super) fn started(config: &VirtualServer) -> (Service, String) {
    let mut service = new(config);
    let mut notices = Vec::new();
    service.start(false, &mut notices);
    (service, told(&notices))
}

/// `3 down, service up`: servers by the last number of their address.
fn told(notices: &[Notice]) -> String {
    let line = |notice: &Notice| {
        let who = notice.server.map_or_else(
            || "service".to_owned(),
            |server| server.address.to_string().rsplit('.').next().unwrap().to_owned(),
        );
        format!("{who} {}", if notice.up { "up" } else { "down" })
    };
    notices.iter().map(line).collect::<Vec<_>>().join(", ")
}

/// `1*5 100*1`.
fn pool(service: &Service) -> String {
    let line = |member: &crate::health::Member| {
        let address = member.server.address.to_string();
        format!("{}*{}", address.rsplit('.').next().unwrap(), member.weight)
    };
    service.pool.members.iter().map(line).collect::<Vec<_>>().join(" ")
}

fn judge(service: &mut Service, server: usize, checker: usize, up: bool, weight: i64) -> String {
    let mut notices = Vec::new();
    service.judge(server, checker, up, weight, &mut notices);
    told(&notices)
}

#[test]
fn all_checkers_of_a_server_must_be_well() {
    let config = service(&[1, 1], |service| {
        let server = &mut Arc::make_mut(&mut service.real_servers)[0];
        let second = Check::Ping(connection(Ipv4Addr::new(10, 0, 0, 1), 0));
        let checker = Checker { check: second, schedule: schedule(), line: Line(2) };
        server.checkers.push(Arc::new(checker));
    });
    let (mut service, start) = started(&config);
    assert_eq!((start.as_str(), pool(&service).as_str()), ("service up", "1*1 2*1"));
    assert_eq!(judge(&mut service, 0, 0, false, 0), "1 down");
    assert_eq!(judge(&mut service, 0, 1, false, 0), "");
    assert_eq!(judge(&mut service, 0, 0, true, 0), "");
    assert_eq!(pool(&service), "2*1");
    assert_eq!(judge(&mut service, 0, 1, true, 0), "1 up");
    // As in IPVS, who comes back is the last one.
    assert_eq!(pool(&service), "2*1 1*1");
}

#[test]
fn with_alpha_a_server_is_down_until_it_was_seen() {
    let config = service(&[1, 1], |service| {
        service.sorry_server = Some(sorry());
        for server in Arc::make_mut(&mut service.real_servers) {
            Arc::make_mut(&mut server.checkers[0]).schedule.alpha = true;
        }
    });
    let (mut service, start) = started(&config);
    assert_eq!((start.as_str(), pool(&service).as_str()), ("service down", "100*1"));
    // The first failure is told although nothing changes, later ones are not.
    assert_eq!(judge(&mut service, 1, 0, false, 0), "2 down");
    assert_eq!(judge(&mut service, 1, 0, false, 0), "");
    assert_eq!(judge(&mut service, 0, 0, true, 0), "1 up, service up");
    assert_eq!(pool(&service), "1*1");
}

#[test]
fn a_dynamic_weight_counts_for_the_quorum() {
    let config = service(&[10], |service| service.quorum.weight = 5);
    let (mut service, _) = started(&config);
    assert_eq!(judge(&mut service, 0, 0, true, -6), "service down");
    assert_eq!(pool(&service), "1*4");
    assert_eq!(judge(&mut service, 0, 0, true, 90), "service up");
    assert_eq!(pool(&service), "1*100");
    // A failure takes the addition back.
    assert_eq!(judge(&mut service, 0, 0, false, 0), "1 down, service down");
    assert_eq!(judge(&mut service, 0, 0, true, 0), "1 up, service up");
    assert_eq!(pool(&service), "1*10");
    assert_eq!(judge(&mut service, 0, 0, true, -11), "service down");
    assert_eq!(pool(&service), "1*0");
}

#[test]
fn hysteresis_holds_both_ways() {
    let config = service(&[1; 5], |service| {
        service.quorum = Quorum { weight: 3, hysteresis: 1, up: None, down: None };
    });
    let (mut service, _) = started(&config);
    let steps = [(0, false), (1, false), (2, false), (3, false), (3, true), (2, true), (1, true)];
    let said = steps.map(|(server, up)| judge(&mut service, server, 0, up, 0));
    let wanted =
        ["1 down", "2 down", "3 down", "4 down, service down", "4 up", "3 up", "2 up, service up"];
    assert_eq!(said, wanted.map(String::from));
}

#[test]
fn the_stop_is_told_with_omega_only() {
    for (omega, wanted) in [(true, "1 down, service down"), (false, "")] {
        let (mut service, _) = started(&service(&[1, 1], |service| service.omega = omega));
        judge(&mut service, 1, 0, false, 0);
        let mut notices = Vec::new();
        service.stop(true, &mut notices);
        assert_eq!(told(&notices), wanted);
    }
}

fn reloaded(old: Service, config: &VirtualServer) -> (Service, String) {
    let mut service = new(config);
    let mut notices = Vec::new();
    service.resume(old, false, &mut notices);
    (service, told(&notices))
}

#[test]
fn a_reload_keeps_what_stays() {
    let config = service(&[1, 1, 1], |service| service.sorry_server = Some(sorry()));
    let (mut service, _) = started(&config);
    judge(&mut service, 1, 0, false, 0);
    let mut next = config.clone();
    let servers = Arc::make_mut(&mut next.real_servers);
    servers[0].weight = 7;
    servers.remove(2);
    servers.push(RealServer { port: 81, ..servers[0].clone() });
    let (mut service, told) = reloaded(service, &next);
    assert_eq!(told, "3 down");
    assert_eq!(pool(&service), "1*7 1*7");
    // The second one is still down, and comes back as any.
    assert_eq!(judge(&mut service, 1, 0, true, 0), "2 up");
    assert_eq!(pool(&service), "1*7 1*7 2*1");
}

#[test]
fn a_server_whose_failed_check_was_taken_away_comes_up() {
    let config = service(&[1], |service| service.sorry_server = Some(sorry()));
    let (mut service, _) = started(&config);
    assert_eq!(judge(&mut service, 0, 0, false, 0), "1 down, service down");
    let mut next = config.clone();
    Arc::make_mut(&mut next.real_servers)[0].checkers.clear();
    let (service, told) = reloaded(service, &next);
    assert_eq!((told.as_str(), pool(&service).as_str()), ("1 up, service up", "1*1"));
}

#[test]
fn a_reload_can_change_what_happens_to_those_that_are_down() {
    let config = service(&[1, 1], |_| ());
    let (mut service, _) = started(&config);
    judge(&mut service, 0, 0, false, 0);
    let mut next = config.clone();
    Arc::make_mut(&mut next.real_servers)[0].inhibit_on_failure = true;
    let (service, _) = reloaded(service, &next);
    assert_eq!(pool(&service), "2*1 1*0");
    let (service, _) = reloaded(service, &config);
    assert_eq!(pool(&service), "2*1");
}

#[test]
fn a_sorry_server_that_is_taken_away_leaves_the_rest_to_serve() {
    let config = service(&[1, 1, 1], |service| {
        service.sorry_server = Some(sorry());
        service.quorum.weight = 3;
    });
    let (mut service, _) = started(&config);
    assert_eq!(judge(&mut service, 0, 0, false, 0), "1 down, service down");
    assert_eq!(pool(&service), "100*1");
    let mut next = config.clone();
    next.sorry_server = None;
    let (service, told) = reloaded(service, &next);
    assert_eq!((told.as_str(), pool(&service).as_str()), ("", "2*1 3*1"));
}

/// After a restart with this file: what the data plane has, by the last numbers of addresses, beside what was remembered.
fn recalled(was: &Service, config: &VirtualServer, has: &[u8]) -> (Service, String) {
    let memory = was.remember();
    let serves =
        |server: Endpoint| has.iter().any(|last| server.address == Ipv4Addr::new(10, 0, 0, *last));
    let id = was.id.clone();
    reloaded(Service::recall(id, config, |_| Some(0), memory.as_ref(), serves), config)
}

#[test]
fn a_restart_knows_who_is_down_and_who_is_new() {
    let config = service(&[1, 1, 1, 1], |service| {
        let servers = Arc::make_mut(&mut service.real_servers);
        Arc::make_mut(&mut servers[3].checkers[0]).schedule.alpha = true;
    });
    // The last two are in the file only when the controller comes back; one is not to count before it was seen.
    let mut before = config.clone();
    Arc::make_mut(&mut before.real_servers).truncate(2);
    let (mut was, _) = started(&before);
    assert_eq!(was.remember(), None);
    judge(&mut was, 0, 0, false, 0);
    let (mut now, told) = recalled(&was, &config, &[2]);
    assert_eq!((told.as_str(), pool(&now).as_str()), ("", "2*1 3*1"));
    let seen: Vec<bool> = now.servers.iter().map(|server| server.checkers[0].has_run).collect();
    assert_eq!(seen, [true, true, false, false]);
    assert_eq!(judge(&mut now, 0, 0, true, 0), "1 up");
    assert_eq!(pool(&now), "2*1 3*1 1*1");
    // One that has left the file is not told of.
    let (now, told) = recalled(&was, &before, &[2, 9]);
    assert_eq!((told.as_str(), pool(&now).as_str()), ("", "2*1"));
}

#[test]
fn a_restart_with_another_check_begins_as_a_reload_with_it() {
    let config = service(&[1, 1], |_| ());
    let (mut was, _) = started(&config);
    judge(&mut was, 0, 0, false, 0);
    let mut next = config;
    let servers = Arc::make_mut(&mut next.real_servers);
    Arc::make_mut(&mut servers[0].checkers[0]).check = tcp(Ipv4Addr::new(10, 0, 0, 7));
    let (now, told) = recalled(&was, &next, &[2]);
    assert_eq!((told.as_str(), pool(&now).as_str()), ("1 up", "2*1 1*1"));
}

#[test]
fn a_restart_knows_a_quorum_between_its_bounds() {
    let config = service(&[1; 5], |service| {
        service.quorum = Quorum { weight: 3, hysteresis: 1, up: None, down: None };
        service.sorry_server = Some(sorry());
    });
    let (mut was, _) = started(&config);
    for server in 0..4 {
        judge(&mut was, server, 0, false, 0);
    }
    judge(&mut was, 3, 0, true, 0);
    judge(&mut was, 2, 0, true, 0);
    // Three are up, and the sorry server stands in for them.
    let (mut now, told) = recalled(&was, &config, &[100]);
    assert_eq!((told.as_str(), pool(&now).as_str()), ("", "100*1"));
    assert_eq!(judge(&mut now, 1, 0, true, 0), "2 up, service up");
    assert_eq!(pool(&now), "2*1 3*1 4*1 5*1");
}

#[test]
fn a_service_that_vanishes_tells_of_all() {
    let (service, _) = started(&service(&[1, 1], |_| ()));
    let mut notices = Vec::new();
    service.vanish(&mut notices);
    assert_eq!(told(&notices), "1 down, 2 down, service down");
}
