//! Whatever happens in whatever order, these hold.

use std::net::Ipv4Addr;
use std::sync::Arc;

use proptest::{collection::vec, prelude::*};

use super::{Notice, Service, tests};
use crate::{
    config::{Checker, Forwarding, Line, Quorum, RealServer, SorryServer, VirtualServer},
    health::{
        Pool,
        identity::{Endpoint, ServiceId},
        memory::Remembered,
    },
};

/// Who stands in: nobody, another server, or one of the servers; and whether it is inhibited.
fn sorry(kind: u8) -> Option<SorryServer> {
    let last = match kind % 3 {
        0 => return None,
        1 => 100,
        _ => 1,
    };
    Some(SorryServer {
        address: Ipv4Addr::new(10, 0, 0, last).into(),
        port: 80,
        forwarding: Forwarding::Nat,
        inhibit: kind >= 3,
        line: Line(1),
    })
}

prop_compose! {
    fn service()(
        weights in vec(0..5_u32, 1..5),
        kind in 0..6_u8,
        inhibit in any::<bool>(),
        alpha in any::<bool>(),
        quorum in 1..6_u32,
        hysteresis in 0..3_u32,
    ) -> VirtualServer {
        let sorry_server = sorry(kind);
        // `validate_check_config()`: a sorry server that is a server is inhibited as that.
        let inhibit = match &sorry_server {
            Some(sorry) if sorry.address == Ipv4Addr::new(10, 0, 0, 1) => sorry.inhibit,
            _ => inhibit,
        };
        let server = |(at, weight): (usize, &u32)| {
            let address = Ipv4Addr::new(10, 0, 0, at as u8 + 1);
            let mut schedule = tests::schedule();
            schedule.alpha = alpha;
            let checker = Checker { check: tests::tcp(address), schedule, line: Line(1) };
            RealServer {
                inhibit_on_failure: inhibit,
                checkers: vec![Arc::new(checker)],
                ..tests::real_server(address, *weight)
            }
        };
        VirtualServer {
            real_servers: Arc::new(weights.iter().enumerate().map(server).collect()),
            quorum: Quorum { weight: quorum, hysteresis: hysteresis.min(quorum - 1), up: None, down: None },
            sorry_server,
            ..tests::virtual_server(Ipv4Addr::new(192, 0, 2, 1))
        }
    }
}

fn new(config: &VirtualServer) -> Service {
    let id = ServiceId::of_all(&tests::config(vec![config.clone()])).remove(0);
    Service::new(id, config, |_| Some(0))
}

fn sorted(pool: &Pool) -> Vec<(Endpoint, u32)> {
    let mut members: Vec<_> = pool.members.iter().map(|one| (one.server, one.weight)).collect();
    members.sort();
    members
}

/// The same after a restart: from what was written down, and the servers that the data plane has.
fn restarted(service: &Service, config: &VirtualServer) -> (Service, Vec<Notice>) {
    let memory = serde_json::to_string(&service.remember()).unwrap();
    let memory: Option<Remembered> = serde_json::from_str(&memory).unwrap();
    let serves = |server| service.pool.members.iter().any(|member| member.server == server);
    let old = Service::recall(service.id.clone(), config, |_| Some(0), memory.as_ref(), serves);
    let (mut next, mut told) = (new(config), Vec::new());
    next.resume(old, true, &mut told);
    (next, told)
}

fn check(service: &Service, config: &VirtualServer) {
    let members = &service.pool.members;
    for (at, member) in members.iter().enumerate() {
        let again = members[..at].iter().any(|other| other.server == member.server);
        assert!(!again, "{member:?} is there twice");
    }
    let sorry = config.sorry_server.as_ref().map(Endpoint::of_sorry);
    let stands_in = sorry.filter(|_| !service.has_quorum);
    if let Some(sorry) = stands_in {
        let serving: Vec<_> = members.iter().filter(|member| member.weight > 0).collect();
        assert_eq!(serving.len(), 1, "{members:?}");
        assert_eq!((serving[0].server, serving[0].weight), (sorry, 1));
        return;
    }
    for (server, configured) in service.servers.iter().zip(config.real_servers.iter()) {
        let member = members.iter().find(|member| member.server == server.endpoint);
        let weight = member.map(|member| member.weight);
        let wanted = match (server.alive, configured.inhibit_on_failure) {
            (true, _) => Some(server.weight()),
            (false, true) => Some(0),
            (false, false) => None,
        };
        assert_eq!(weight, wanted, "{} in {members:?}", server.endpoint);
    }
}

proptest! {
    #[test]
    fn who_is_in_the_pool_is_who_should_be(
        config in service(),
        steps in vec((0..5_usize, any::<bool>(), -3..3_i64), 0..40),
    ) {
        let mut service = new(&config);
        let mut notices = Vec::new();
        service.start(false, &mut notices);
        check(&service, &config);
        for (server, up, weight) in steps {
            let server = server % config.real_servers.len();
            service.judge(server, 0, up, weight, &mut notices);
            check(&service, &config);
        }
        // Neither does a restart, and it tells nobody.
        let (next, told) = restarted(&service, &config);
        prop_assert_eq!(told, Vec::new());
        prop_assert_eq!(sorted(&next.pool), sorted(&service.pool));
        prop_assert_eq!(next.has_quorum, service.has_quorum);
        for (is, was) in next.servers.iter().zip(&service.servers) {
            prop_assert_eq!((is.alive, is.set, is.weight()), (was.alive, was.set, was.weight()));
        }
        prop_assert_eq!(next.remember(), service.remember());
        // A reload that changes nothing changes nothing. Weights of checks come again with the next result.
        for server in 0..config.real_servers.len() {
            if service.servers[server].checkers[0].up {
                service.judge(server, 0, true, 0, &mut notices);
            }
        }
        let (pool, mut told) = (service.pool.clone(), Vec::new());
        let mut next = new(&config);
        next.resume(service, false, &mut told);
        prop_assert_eq!(&next.pool, &pool);
        prop_assert_eq!(told, Vec::new());
        check(&next, &config);
    }
}
