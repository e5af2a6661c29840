//! Connections one after the other, more than there may be at a time and more than there are ports.
//!
//! `XLVS_TEST_CONNECTIONS` is how many; with it, the tests also wait for the end of `TIME_WAIT`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use lvs_tests::config::{Method, Protocol, Service};
use lvs_tests::counts::{self, Load};
use lvs_tests::echo::{self, Session};
use lvs_tests::family::Family;
use lvs_tests::opener::{self, Acceptor, Close, Opener};
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::Plan;
use lvs_tests::xlvs::Xlvs;

use super::lab::{Case, Lab};
use super::support::{from_environment, say};

const LIMIT: Duration = Duration::from_secs(5);
/// A reset connection is kept for 10 s, and collected every 5 s.
const RESET: Duration = Duration::from_secs(30);
/// `TIME_WAIT` is kept for two minutes.
const WAITED: Duration = Duration::from_secs(150);
const PORT: u16 = 9;
const ECHO: u16 = 22;

#[test]
fn connections_in_sequence_go_through_full_nat() -> Result<()> {
    skip_unless_possible!();
    sequence(Case { mode: "native", method: Method::FullNat, family: Family::V4 }, Close::Reset)
}

#[test]
fn connections_in_sequence_go_through_full_nat_over_ipv6() -> Result<()> {
    skip_unless_possible!();
    sequence(Case { mode: "native", method: Method::FullNat, family: Family::V6 }, Close::Reset)
}

#[test]
fn connections_in_sequence_go_through_full_nat_in_tc_mode() -> Result<()> {
    skip_unless_possible!();
    sequence(Case { mode: "tc", method: Method::FullNat, family: Family::V4 }, Close::Reset)
}

#[test]
fn connections_in_sequence_that_end_in_order_go_through_full_nat() -> Result<()> {
    skip_unless_possible!();
    sequence(Case { mode: "native", method: Method::FullNat, family: Family::V4 }, Close::Fin)
}

#[test]
fn connections_in_sequence_go_through_nat() -> Result<()> {
    skip_unless_possible!();
    sequence(Case { mode: "native", method: Method::Nat, family: Family::V4 }, Close::Reset)
}

fn sequence(case: Case, close: Close) -> Result<()> {
    let count = from_environment("XLVS_TEST_CONNECTIONS", 50_000)?;
    let lab = Lab::for_mode(Plan::TWO_ARMED, case.mode)?;
    opener::reuse_ports(lab.client())?;
    let [first, second] = [0, 1].map(|index| lab.server_at(index, case.family, PORT));
    let servers = [first?, second?];
    let acceptors = [
        Acceptor::start(lab.server(0)?, servers[0])?,
        Acceptor::start(lab.server(1)?, servers[1])?,
    ];
    echo::serve(lab.server(0)?, ECHO)?;
    let address = lab.virtual_at(case.family, PORT);
    let service = Service::new(Protocol::Tcp, case.method, address, &servers);
    let echo = lab.service_at(ECHO, Protocol::Tcp, case)?;
    let text = format!("{service}{echo}");
    let xlvs = lab.start_with(case.mode, &text, &["--max-connections", "100000"])?;

    let mut session = Session::new(lab.client(), echo.address, LIMIT)?;
    session.send("one that stays\n")?;
    let active: u64 = loads(&xlvs)?.iter().map(|load| load.active).sum();
    ensure!(active == 1, "{case}: one connection is open, {active} are counted");

    let outcome = Opener::new(address, close).run(lab.client(), count, || true)?;
    say(format_args!(
        "{case}, {close:?}: {} connections, {} a second, {} slow",
        outcome.good,
        outcome.rate(),
        outcome.slow
    ));
    ensure!(outcome.good == count, "{case}: connection {}: {:?}", outcome.good, outcome.failed);
    // A busy machine loses a packet now and then.
    let lost = outcome.slow * 100_000 > count;
    ensure!(!lost, "{case}: {} connections lost their SYN", outcome.slow);
    let shares = acceptors.each_ref().map(Acceptor::accepted);
    assert_eq!(shares.iter().sum::<u64>(), count, "{case}: {shares:?}");
    // Not exactly: a port that comes round again may find its old connection, and so its old server.
    let even = shares.iter().all(|share| *share * 10 > count * 4);
    ensure!(even, "{case}: the servers' shares are {shares:?}");
    session.send("still there\n")?;
    drop(session);
    match close {
        Close::Reset => nothing_is_counted(&xlvs, RESET + WAITED * u32::from(in_full()))?,
        Close::Fin if in_full() => nothing_is_counted(&xlvs, WAITED)?,
        Close::Fin => {}
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

/// Whether this is the long run.
fn in_full() -> bool {
    std::env::var_os("XLVS_TEST_CONNECTIONS").is_some()
}

/// Three: the two of the service, and the one of the echo.
fn loads(xlvs: &Xlvs) -> Result<Vec<Load>> {
    counts::loads(xlvs.setup(), 3)
}

/// The open session of the test ends in order: until `TIME_WAIT` has ended, it is the one that is left.
fn nothing_is_counted(xlvs: &Xlvs, limit: Duration) -> Result<()> {
    let left = u64::from(!in_full());
    let end = Instant::now() + limit;
    loop {
        let loads = loads(xlvs)?;
        let active: u64 = loads.iter().map(|load| load.active).sum();
        let inactive: u64 = loads.iter().map(|load| load.inactive).sum();
        if active == 0 && inactive <= left {
            return Ok(());
        }
        ensure!(Instant::now() < end, "after {limit:?} there are still {loads:?}");
        std::thread::sleep(Duration::from_millis(200));
    }
}
