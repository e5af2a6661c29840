//! A SYN flood on a service, while established connections carry traffic and honest ones open.
//!
//! `XLVS_TEST_FLOOD` is how many SYNs, `XLVS_TEST_FLOOD_RATE` how many in a second at most.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use lvs_tests::config::{self, Method, Protocol, Service};
use lvs_tests::echo::{self, Session};
use lvs_tests::family::Family;
use lvs_tests::flood::{self, Flood};
use lvs_tests::opener::{self, Acceptor, Close, Opener, Outcome};
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::Plan;

use super::lab::{Case, Lab};
use super::support::{from_environment, say};

/// Connections that are open all the time, and carry traffic.
const ESTABLISHED: usize = 200;
/// Threads that open connections, and how many each opens in a second.
const HONEST: (usize, u32) = (4, 25);
/// What an honest client may need: its SYN sent again, and again.
const LIMIT: Duration = Duration::from_secs(10);
/// The services: of the established connections, and the one that is flooded.
const ECHO: u16 = 22;
const FLOODED: u16 = 9;

#[test]
fn connections_survive_a_flood_in_native_mode() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "native", method: Method::Nat, family: Family::V4 })
}

#[test]
fn connections_survive_a_flood_in_generic_mode() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "generic", method: Method::Nat, family: Family::V4 })
}

#[test]
fn connections_survive_a_flood_in_tc_mode() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "tc", method: Method::Nat, family: Family::V4 })
}

#[test]
fn connections_survive_a_flood_over_ipv6() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "native", method: Method::Nat, family: Family::V6 })
}

#[test]
fn connections_survive_a_flood_through_full_nat() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "native", method: Method::FullNat, family: Family::V4 })
}

#[test]
fn connections_survive_a_flood_through_full_nat_over_ipv6() -> Result<()> {
    skip_unless_possible!();
    survive(Case { mode: "native", method: Method::FullNat, family: Family::V6 })
}

fn survive(case: Case) -> Result<()> {
    let count = from_environment("XLVS_TEST_FLOOD", 200_000)?;
    let rate = from_environment("XLVS_TEST_FLOOD_RATE", 50_000)?;
    let lab = Lab::for_mode(Plan::TWO_ARMED, case.mode)?;
    lab.topology.route_to_client(&flood::NETWORKS)?;
    opener::reuse_ports(lab.client())?;
    let mut acceptors = Vec::new();
    for index in [0, 1] {
        echo::serve(lab.server(index)?, ECHO)?;
        let address = lab.server_at(index, case.family, FLOODED)?;
        acceptors.push(Acceptor::start(lab.server(index)?, address)?);
    }
    let xlvs = lab.start_with(case.mode, &configuration(&lab, case, count)?, &[])?;
    let address = lab.virtual_at(case.family, FLOODED);
    let next_hop = flood::mac(&lab.topology.lb, lab.plan().client_side())?;
    let flood = Flood { address, next_hop, count, rate };

    let mut sessions = (0..ESTABLISHED)
        .map(|_| Session::new(lab.client(), lab.virtual_at(case.family, ECHO), LIMIT))
        .collect::<Result<Vec<_>>>()?;
    let stop = AtomicBool::new(false);
    let go_on = || !stop.load(Ordering::Relaxed);
    let mut opener = Opener::new(address, Close::Fin);
    (opener.limit, opener.rate, opener.patience) = (LIMIT, HONEST.1, u64::MAX);
    let (sent, rounds, honest) = thread::scope(|scope| {
        let traffic = scope.spawn(|| rounds(&mut sessions, go_on));
        let openers: Vec<_> = (0..HONEST.0)
            .map(|_| scope.spawn(|| opener.run(lab.client(), u64::MAX, go_on)))
            .collect();
        let flooded = flood.run(lab.client(), "client0", || !traffic.is_finished());
        stop.store(true, Ordering::Relaxed);
        let mut honest = Outcome::default();
        for opener in openers {
            honest.add(&opener.join().map_err(|_| anyhow!("an opener panicked"))??);
        }
        let rounds = traffic.join().map_err(|_| anyhow!("the traffic panicked"))?;
        anyhow::Ok((flooded?, rounds.context("an established connection")?, honest))
    })?;

    rounds_once(&mut sessions).context("an established connection after the flood")?;
    let (good, tried) = (honest.good, honest.tried());
    say(format_args!(
        "{case}: {} SYNs in {:?}; {good} of {tried} honest connections opened, {} of them slowly; \
         {ESTABLISHED} established ones carried {rounds} rounds",
        sent.0, sent.1, honest.slow
    ));
    ensure!(sent.0 == count, "only {} SYNs were sent", sent.0);
    ensure!(good * 100 > tried * 95, "{good} of {tried} honest connections: {:?}", honest.failed);
    ensure!(tried > 0 && rounds > 0, "nothing went on meanwhile");
    let accepted: u64 = acceptors.iter().map(Acceptor::accepted).sum();
    ensure!(accepted >= good, "{accepted} were accepted, but {good} were answered");
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// Both services. For full NAT, there are addresses for all of the flood at once: each has about
/// 60,000 ports towards each of the servers.
fn configuration(lab: &Lab, case: Case, flood: u64) -> Result<String> {
    let locals = u8::try_from((flood / 50_000 + 2).min(39))?;
    let mut text = String::new();
    if case.method == Method::FullNat {
        lab.topology.add_locals(locals)?;
        let locals: Vec<_> = (1..=locals).map(|number| Plan::local(case.family, number)).collect();
        text += &config::local_group("locals", &locals);
    }
    for port in [ECHO, FLOODED] {
        let [first, second] = [0, 1].map(|index| lab.server_at(index, case.family, port));
        let address = lab.virtual_at(case.family, port);
        let servers = [first?, second?];
        let mut service = Service::new(Protocol::Tcp, case.method, address, &servers);
        service.locals = (case.method == Method::FullNat).then_some("locals");
        text += &service.to_string();
    }
    Ok(text)
}

/// Types into every session in turn, again and again.
fn rounds(sessions: &mut [Session], go_on: impl Fn() -> bool) -> Result<u64> {
    let mut rounds = 0;
    while go_on() {
        rounds_once(sessions)?;
        rounds += 1;
    }
    Ok(rounds)
}

fn rounds_once(sessions: &mut [Session]) -> Result<()> {
    for (number, session) in sessions.iter_mut().enumerate() {
        session.send("still here\n").with_context(|| format!("session {number}"))?;
    }
    Ok(())
}
