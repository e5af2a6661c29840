//! As many bytes as will go, both ways, while checksummed bodies go beside them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use lvs_tests::config::Protocol;
use lvs_tests::iperf::{self, Direction};
use lvs_tests::topology::Plan;

use super::lab::{Case, Lab, duration, for_each_case};
use super::support::say;

/// Bits per second of UDP, which even the slowest mode can do beside the bodies.
const UDP: u64 = 50_000_000;
/// A body.
const LEN: u64 = 1_000_000;

for_each_case!(iperf3_and_checksummed_bodies, super::iperf3_and_checksummed_bodies);

fn iperf3_and_checksummed_bodies(case: Case) -> Result<()> {
    let lab = Lab::for_mode(Plan::TWO_ARMED, case.mode)?;
    let address = lab.server_at(0, case.family, iperf::PORT)?;
    let log = lab.scratch.path("iperf.log");
    let _server = iperf::Server::start(lab.server(0)?, address, &log)?;
    let xlvs = lab.start(
        case.mode,
        &[
            lab.web_service(case.method, case.family),
            lab.service_at(iperf::PORT, Protocol::Tcp, case)?,
            lab.service_at(iperf::PORT, Protocol::Udp, case)?,
        ],
    )?;
    let stop = AtomicBool::new(false);
    let bodies = thread::scope(|scope| {
        let beside = scope.spawn(|| {
            let mut bodies = 0;
            while !stop.load(Ordering::Relaxed) {
                lab.transfer(lab.web(case.method, case.family), LEN)?;
                bodies += 1;
            }
            anyhow::Ok(bodies)
        });
        let moved = move_bytes(&lab, case);
        stop.store(true, Ordering::Relaxed);
        let bodies = beside.join().map_err(|_| anyhow!("the transfers panicked"))?;
        moved.with_context(|| case.to_string())?;
        bodies.context("a checksummed body")
    })?;
    ensure!(bodies > 0, "no body was moved beside iperf3");
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn move_bytes(lab: &Lab, case: Case) -> Result<()> {
    let address = lab.virtual_at(case.family, iperf::PORT);
    let time = duration()?;
    for direction in [Direction::Up, Direction::Down] {
        for udp in [None, Some(UDP)] {
            let test = iperf::Test { address, direction, udp, time };
            let outcome = test.run(lab.client()).with_context(|| format!("{test:?}"))?;
            say(format_args!("{case}, {direction:?}, {}: {outcome:?}", protocol(udp)));
            // A tenth of what a veth does on a slow and busy machine.
            let enough = outcome.received / time.as_secs() > 2_000_000;
            ensure!(enough, "{direction:?}, {}: {outcome:?}", protocol(udp));
            let lost = outcome.lost * 20 > outcome.datagrams;
            ensure!(!lost, "{direction:?}: more than a twentieth is lost: {outcome:?}");
        }
    }
    Ok(())
}

fn protocol(udp: Option<u64>) -> &'static str {
    if udp.is_some() { "UDP" } else { "TCP" }
}
