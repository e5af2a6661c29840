//! A narrow link, behind a router or the balancer's own: whoever sends too much learns of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::{Protocol, Service};
use lvs_tests::topology::{Plan, Side};
use lvs_tests::{pathmtu, udp};

use super::lab::{Case, Lab, for_each_method};

const LIMIT: Duration = Duration::from_secs(5);
const ECHO: u16 = 7;
/// The ports that tracepath tries.
const TRACED: std::ops::Range<u16> = 44_444..44_444 + 64;

for_each_method!(clients_learn_of_it_by_udp, super::a_client_learns_of_the_servers_narrow_link);
for_each_method!(servers_learn_of_it_by_udp, super::a_server_learns_of_the_clients_narrow_link);
for_each_method!(clients_learn_of_the_balancers_link, super::a_client_learns_of_the_balancers_own);
for_each_method!(servers_learn_of_the_balancers_link, super::a_server_learns_of_the_balancers_own);
for_each_method!(tracepath_and_ping, super::tracepath_and_ping_show_it);
for_each_method!(tcp_gets_through, super::tcp_gets_through_narrow_links_on_both_sides);

fn a_client_learns_of_the_servers_narrow_link(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, mode)?;
    a_client_learns(&lab, mode, cases, || lab.topology.narrow(Side::Servers, 1300))
}

fn a_client_learns_of_the_balancers_own(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    a_client_learns(&lab, mode, cases, || lab.topology.narrow_own_link(Side::Servers, 1300))
}

fn a_server_learns_of_the_clients_narrow_link(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, mode)?;
    a_server_learns(&lab, mode, cases, || lab.topology.narrow(Side::Client, 1400))
}

fn a_server_learns_of_the_balancers_own(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    a_server_learns(&lab, mode, cases, || lab.topology.narrow_own_link(Side::Client, 1400))
}

/// A service of UDP for each case and port.
fn services(lab: &Lab, cases: &[Case], ports: std::ops::Range<u16>) -> Result<Vec<Service>> {
    let each = cases.iter().flat_map(|case| ports.clone().map(move |port| (case, port)));
    each.map(|(case, port)| lab.service_at(port, Protocol::Udp, *case)).collect()
}

fn a_client_learns(
    lab: &Lab,
    mode: &'static str,
    cases: &[Case],
    narrow: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let echo = |case: &Case| udp::Echo::start(lab.server(0)?, lab.server_at(0, case.family, ECHO)?);
    let _echoes = cases.iter().map(echo).collect::<Result<Vec<_>>>()?;
    let xlvs = lab.start(mode, &services(lab, cases, ECHO..ECHO + 1)?)?;
    let mut clients = Vec::new();
    for case in cases {
        let service = lab.virtual_at(case.family, ECHO);
        let mut client = udp::Client::whole(lab.client(), service, LIMIT)?;
        client.exchange(1400).with_context(|| format!("{case}, before the link is narrow"))?;
        clients.push((case, client));
    }
    narrow()?;
    for (case, mut client) in clients {
        assert_eq!(client.learn(1300)?, 1300, "{case}");
        client.exchange(1200).with_context(|| format!("{case}, what fits the narrow link"))?;
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn a_server_learns(
    lab: &Lab,
    mode: &'static str,
    cases: &[Case],
    narrow: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let mut clients = Vec::new();
    let xlvs = lab.start(mode, &services(lab, cases, ECHO..ECHO + 1)?)?;
    for case in cases {
        let server = lab.server_at(0, case.family, ECHO)?;
        let echo = udp::Echo::start_whole(lab.server(0)?, server)?;
        let service = lab.virtual_at(case.family, ECHO);
        let mut client = udp::Client::new(lab.client(), service, LIMIT)?;
        client.exchange(1400).with_context(|| format!("{case}, before the link is narrow"))?;
        clients.push((case, echo, client));
    }
    narrow()?;
    for (case, echo, mut client) in clients {
        let seen = lab.seen(case.method, case.family);
        let end = Instant::now() + LIMIT;
        loop {
            client.send(1400)?;
            std::thread::sleep(Duration::from_millis(20));
            let known = pathmtu::known(lab.server(0)?, seen)?;
            if known == 1400 {
                break;
            }
            let record = echo.record();
            ensure!(Instant::now() < end, "{case}: the server knows {known} to {seen}; {record:?}");
        }
        client.exchange(1300).with_context(|| format!("{case}, what fits the narrow link"))?;
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// tracepath sends to port after port, and no server listens on any: all that comes back are ICMP errors, of routers and
/// of the server, about datagrams that were rewritten. What it has learned, ping knows then.
fn tracepath_and_ping_show_it(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, mode)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    let xlvs = lab.start(mode, &services(&lab, cases, TRACED)?)?;
    for case in cases {
        let service = lab.virtual_at(case.family, 0).ip();
        assert_eq!(pathmtu::tracepath(lab.client(), service)?, 1300, "{case}");
        pathmtu::ping_whole(lab.client(), service, 1300).context("what fits the way")?;
        let refused = pathmtu::ping_whole(lab.client(), service, 1301);
        ensure!(refused.is_err(), "{case}: ping does not know the MTU of the way");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn tcp_gets_through_narrow_links_on_both_sides(mode: &'static str, cases: &[Case]) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, mode)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    lab.topology.narrow(Side::Client, 1400)?;
    let services = cases.iter().map(|case| lab.web_service(case.method, case.family));
    let xlvs = lab.start(mode, &services.collect::<Vec<_>>())?;
    for case in cases {
        let service = lab.web(case.method, case.family);
        lab.upload(service, 3_000_000).with_context(|| case.to_string())?;
        lab.download(service, 3_000_000).with_context(|| case.to_string())?;
        let known = pathmtu::known(lab.client(), service.ip())?;
        assert_eq!(known, 1300, "{case}: what the client knows");
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}
