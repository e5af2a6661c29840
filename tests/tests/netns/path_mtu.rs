//! A narrow link, behind a router or the balancer's own: whoever sends too much learns of it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::config::Protocol;
use lvs_tests::topology::{Plan, Side};
use lvs_tests::{pathmtu, udp};

use super::lab::{Case, Lab, for_each_case};

const LIMIT: Duration = Duration::from_secs(5);
const ECHO: u16 = 7;
/// The ports that tracepath tries.
const TRACED: std::ops::Range<u16> = 44_444..44_444 + 64;

for_each_case!(clients_learn_of_it_by_udp, super::a_client_learns_of_the_servers_narrow_link);
for_each_case!(servers_learn_of_it_by_udp, super::a_server_learns_of_the_clients_narrow_link);
for_each_case!(clients_learn_of_the_balancers_link, super::a_client_learns_of_the_balancers_own);
for_each_case!(servers_learn_of_the_balancers_link, super::a_server_learns_of_the_balancers_own);
for_each_case!(tracepath_and_ping, super::tracepath_and_ping_show_it);
for_each_case!(tcp_gets_through, super::tcp_gets_through_narrow_links_on_both_sides);

fn a_client_learns_of_the_servers_narrow_link(case: Case) -> Result<()> {
    a_client_learns(case, Plan::ROUTED, |lab| lab.topology.narrow(Side::Servers, 1300))
}

fn a_client_learns_of_the_balancers_own(case: Case) -> Result<()> {
    a_client_learns(case, Plan::TWO_ARMED, |lab| lab.topology.narrow_own_link(Side::Servers, 1300))
}

fn a_server_learns_of_the_clients_narrow_link(case: Case) -> Result<()> {
    a_server_learns(case, Plan::ROUTED, |lab| lab.topology.narrow(Side::Client, 1400))
}

fn a_server_learns_of_the_balancers_own(case: Case) -> Result<()> {
    a_server_learns(case, Plan::TWO_ARMED, |lab| lab.topology.narrow_own_link(Side::Client, 1400))
}

fn a_client_learns(case: Case, plan: Plan, narrow: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab::for_mode(plan, case.mode)?;
    let _echo = udp::Echo::start(lab.server(0)?, lab.server_at(0, case.family, ECHO)?)?;
    let xlvs = lab.start(case.mode, &[lab.service_at(ECHO, Protocol::Udp, case)?])?;
    let service = lab.virtual_at(case.family, ECHO);
    let mut client = udp::Client::whole(lab.client(), service, LIMIT)?;
    client.exchange(1400).context("before the link is narrow")?;
    narrow(&lab)?;
    assert_eq!(client.learn(1300)?, 1300, "{case}");
    client.exchange(1200).context("what fits the narrow link")?;
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn a_server_learns(case: Case, plan: Plan, narrow: impl FnOnce(&Lab) -> Result<()>) -> Result<()> {
    let lab = Lab::for_mode(plan, case.mode)?;
    let echo = udp::Echo::start_whole(lab.server(0)?, lab.server_at(0, case.family, ECHO)?)?;
    let xlvs = lab.start(case.mode, &[lab.service_at(ECHO, Protocol::Udp, case)?])?;
    let service = lab.virtual_at(case.family, ECHO);
    let mut client = udp::Client::new(lab.client(), service, LIMIT)?;
    client.exchange(1400).context("before the link is narrow")?;
    narrow(&lab)?;
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
    client.exchange(1300).context("what fits the narrow link")?;
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// tracepath sends to port after port, and no server listens on any: all that comes back are ICMP errors, of routers and
/// of the server, about datagrams that were rewritten. What it has learned, ping knows then.
fn tracepath_and_ping_show_it(case: Case) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, case.mode)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    let services =
        TRACED.map(|port| lab.service_at(port, Protocol::Udp, case)).collect::<Result<Vec<_>>>()?;
    let xlvs = lab.start(case.mode, &services)?;
    let service = lab.virtual_at(case.family, 0).ip();
    assert_eq!(pathmtu::tracepath(lab.client(), service)?, 1300, "{case}");
    pathmtu::ping_whole(lab.client(), service, 1300).context("what fits the way")?;
    let refused = pathmtu::ping_whole(lab.client(), service, 1301);
    ensure!(refused.is_err(), "{case}: ping does not know the MTU of the way");
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn tcp_gets_through_narrow_links_on_both_sides(case: Case) -> Result<()> {
    let lab = Lab::for_mode(Plan::ROUTED, case.mode)?;
    lab.topology.narrow(Side::Servers, 1300)?;
    lab.topology.narrow(Side::Client, 1400)?;
    let xlvs = lab.start(case.mode, &[lab.web_service(case.method, case.family)])?;
    let service = lab.web(case.method, case.family);
    lab.upload(service, 3_000_000).with_context(|| case.to_string())?;
    lab.download(service, 3_000_000).with_context(|| case.to_string())?;
    let known = pathmtu::known(lab.client(), service.ip())?;
    assert_eq!(known, 1300, "{case}: what the client knows");
    assert!(xlvs.stop()?.success());
    Ok(())
}
