//! Servers that get another MAC address or another router, while connections are open.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Protocol, Service};
use lvs_tests::echo::{self, Session};
use lvs_tests::topology::Plan;

use super::lab::{Lab, METHODS, for_each_mode};
use super::shapes::cases;

/// Within this time every connection has to go on.
const FOLLOWED: Duration = Duration::from_secs(2);
const LIMIT: Duration = Duration::from_secs(10);
const ECHO: u16 = 22;

for_each_mode!(an_announced_mac_address, super::connections_follow_an_announced_mac_address);
for_each_mode!(another_router, super::connections_follow_a_route);

fn connections_follow_an_announced_mac_address(mode: &'static str) -> Result<()> {
    follow(mode, Plan::TWO_ARMED, |lab| lab.topology.change_mac(0, 7))
}

fn connections_follow_a_route(mode: &'static str) -> Result<()> {
    follow(mode, Plan::ROUTED_SERVERS, |lab| lab.topology.move_servers_to_the_other_router())
}

fn follow(mode: &'static str, plan: Plan, change: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab::for_mode(plan, mode)?;
    echo::serve(lab.server(0)?, ECHO)?;
    let mut services = Vec::new();
    for (case, port) in cases(mode, &METHODS).into_iter().zip(2200..) {
        let server = lab.server_at(0, case.family, ECHO)?;
        let address = lab.virtual_at(case.family, port);
        services.push((case, Service::new(Protocol::Tcp, case.method, address, &[server])));
    }
    let all: Vec<_> = services.iter().map(|(_, service)| service.clone()).collect();
    let xlvs = lab.start(mode, &all)?;
    let mut sessions = Vec::new();
    for (case, service) in services {
        let session = Session::new(lab.client(), service.address, LIMIT);
        sessions.push((case, session.with_context(|| case.to_string())?));
    }
    // Long enough for the data path to know the way by heart, and never idle.
    for _ in 0..10 {
        for (case, session) in &mut sessions {
            session.send("before\n").with_context(|| case.to_string())?;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    change(&lab)?;
    let start = Instant::now();
    for round in 0..10 {
        for (case, session) in &mut sessions {
            session.send("after\n").with_context(|| format!("{case}, round {round}"))?;
            let took = start.elapsed();
            ensure!(round > 0 || took < FOLLOWED, "{case}: it went on only after {took:?}");
        }
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}
