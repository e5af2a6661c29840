//! Every picture in every mode: requests succeed, and the servers see whom they should.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{self, Method};
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::topology::Plan;

use super::lab::{Case, Lab, METHODS, for_each_case, for_each_mode};

/// A client sends its first SYN again after a second.
const NO_RETRANSMISSION: Duration = Duration::from_millis(900);
/// Requests of each method and family.
const REQUESTS: u32 = 20;

for_each_mode!(servers_in_a_row, super::both_methods_in_a_row);
for_each_mode!(servers_behind_a_router, super::both_methods_behind_a_router);
for_each_mode!(routers_on_both_sides, super::both_methods_between_routers);
for_each_mode!(one_arm, super::full_nat_with_one_arm);
for_each_mode!(one_network, super::full_nat_on_one_network);
for_each_mode!(a_group_of_local_addresses, super::full_nat_takes_addresses_of_the_group);
for_each_mode!(no_way_back, super::full_nat_needs_no_way_from_the_servers_to_the_client);
for_each_case!(unknown_neighbours, super::the_first_request_finds_unknown_neighbours);

fn both_methods_in_a_row(mode: &'static str) -> Result<()> {
    requests(Plan::TWO_ARMED, mode, &METHODS)
}

fn both_methods_behind_a_router(mode: &'static str) -> Result<()> {
    requests(Plan::ROUTED_SERVERS, mode, &METHODS)
}

fn both_methods_between_routers(mode: &'static str) -> Result<()> {
    requests(Plan::ROUTED, mode, &METHODS)
}

fn full_nat_with_one_arm(mode: &'static str) -> Result<()> {
    requests(Plan::ONE_ARMED, mode, &[Method::FullNat])
}

fn full_nat_on_one_network(mode: &'static str) -> Result<()> {
    requests(Plan::ONE_NETWORK, mode, &[Method::FullNat])
}

/// Small requests and a body, in both families, by services that one instance has at the same time.
fn requests(plan: Plan, mode: &'static str, methods: &[Method]) -> Result<()> {
    let lab = Lab::for_mode(plan, mode)?;
    let cases = cases(mode, methods);
    let services: Vec<_> =
        cases.iter().map(|case| lab.web_service(case.method, case.family)).collect();
    let xlvs = lab.start(mode, &services)?;
    for case in cases {
        let seen = lab.seen(case.method, case.family);
        let service = lab.web(case.method, case.family);
        lab.ask(service, seen, REQUESTS).with_context(|| case.to_string())?;
        lab.transfer(service, 2_000_000).with_context(|| case.to_string())?;
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn full_nat_takes_addresses_of_the_group(mode: &'static str) -> Result<()> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    lab.topology.add_locals(3)?;
    let mut text = String::new();
    for (family, name) in Family::ALL.into_iter().zip(["four", "six"]) {
        let locals = [1, 2, 3].map(|number| Plan::local(family, number));
        let mut service = lab.web_service(Method::FullNat, family);
        service.locals = Some(name);
        text += &config::local_group(name, &locals);
        text += &service.to_string();
    }
    let xlvs = lab.start_with(mode, &text, &[])?;
    for family in Family::ALL {
        let service = lab.web(Method::FullNat, family);
        let answers = lab.client().block_on(|| client::ask_many(service, 60, 2))?;
        let locals = [1, 2, 3].map(|number| Plan::local(family, number));
        for answer in &answers {
            ensure!(locals.contains(&answer.client), "{answer:?} is from none of {locals:?}");
        }
        for local in locals {
            let used = answers.iter().any(|answer| answer.client == local);
            ensure!(used, "{local} was not used in {} connections", answers.len());
        }
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn full_nat_needs_no_way_from_the_servers_to_the_client(mode: &'static str) -> Result<()> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    for server in &lab.topology.servers {
        server.ip(&["route del default"])?;
        server.ip(&["route del ::/0"])?;
    }
    let families = Family::ALL;
    let services = families.map(|family| lab.web_service(Method::FullNat, family));
    let xlvs = lab.start(mode, &services)?;
    for family in families {
        let seen = lab.seen(Method::FullNat, family);
        lab.ask(lab.web(Method::FullNat, family), seen, REQUESTS)?;
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn the_first_request_finds_unknown_neighbours(case: Case) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED_SERVERS, case.mode)?;
    let service = lab.web(case.method, case.family);
    let xlvs = lab.start(case.mode, &[lab.web_service(case.method, case.family)])?;
    // With NAT the stack resolves the neighbour and sends the SYN. With full NAT it would not take the packet, whose
    // source is one of its own addresses: the controller has the neighbour resolved, and the client's second SYN passes.
    let patience = match case.method {
        Method::Nat => NO_RETRANSMISSION,
        Method::FullNat => NO_RETRANSMISSION * 2,
    };
    for _ in 0..3 {
        lab.topology.forget_neighbours()?;
        let start = Instant::now();
        lab.client().block_on(|| client::ask(service))?;
        let took = start.elapsed();
        ensure!(took < patience, "{case}: a request took {took:?}");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// Each method in each family.
pub(super) fn cases(mode: &'static str, methods: &[Method]) -> Vec<Case> {
    let of = |method: &Method| {
        let method = *method;
        Family::ALL.map(|family| Case { mode, method, family })
    };
    methods.iter().flat_map(of).collect()
}
