//! What is no virtual service passes: the balancer's other traffic does not notice the requests.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client;
use lvs_tests::ping::Pinger;
use lvs_tests::topology::{BALANCER, SERVERS, VIRTUAL};
use lvs_tests::{config, echo, skip_unless_possible};

use super::support::{Bed, from_environment};

/// A round trip takes microseconds here; a lost segment would cost 200 ms at least, and this much
/// only if it were lost several times over.
const LIMIT: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(20);

#[test]
fn ping_and_ssh_go_on_undisturbed_in_native_mode() -> Result<()> {
    skip_unless_possible!();
    undisturbed("native")
}

#[test]
fn ping_and_ssh_go_on_undisturbed_in_generic_mode() -> Result<()> {
    skip_unless_possible!();
    undisturbed("generic")
}

/// `XLVS_TEST_SECONDS` makes it longer.
fn undisturbed(mode: &'static str) -> Result<()> {
    let duration = Duration::from_secs(from_environment("XLVS_TEST_SECONDS", 6)?);
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
    let stop = AtomicBool::new(false);
    let requests = thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut requests = 0;
            while !stop.load(Ordering::Relaxed) {
                requests += bed.ask_many(100, 4)?.len();
            }
            anyhow::Ok(requests)
        });
        let others = others(&bed, duration);
        stop.store(true, Ordering::Relaxed);
        let requests = load.join().map_err(|_| anyhow::anyhow!("the load panicked"))?;
        others.context("other traffic was disturbed")?;
        requests.context("the requests failed")
    })?;
    ensure!(requests >= 100, "only {requests} requests ran meanwhile");
    assert!(xlvs.stop()?.success());
    Ok(())
}

fn others(bed: &Bed, duration: Duration) -> Result<()> {
    let client = &bed.topology.client;
    echo::serve(&bed.topology.lb, 22)?;
    let mut ping = Pinger::new(client, BALANCER, LIMIT)?;
    let mut ping_virtual = Pinger::new(client, *VIRTUAL.ip(), LIMIT)?;
    let mut ssh = echo::Session::new(client, (BALANCER, 22), LIMIT)?;
    let mut ssh_virtual = echo::Session::new(client, (*VIRTUAL.ip(), 22), LIMIT)?;
    let end = Instant::now() + duration;
    for round in 0.. {
        if Instant::now() > end {
            break;
        }
        let place = || format!("round {round}");
        ping.ping().with_context(place).context("ping to the balancer")?;
        ping_virtual.ping().with_context(place).context("ping to the virtual address")?;
        let text = format!("echo {round}\n");
        ssh.send(&text).with_context(place).context("session with the balancer")?;
        ssh_virtual.send(&text).with_context(place).context("session on another port")?;
        // What a health check does: the reply comes from a real server's address and port, but
        // belongs to no connection of a virtual service.
        let own = bed.topology.lb.block_on(|| client::ask(SERVERS[0]));
        own.with_context(place).context("the balancer's own request to a real server")?;
        thread::sleep(PAUSE);
    }
    Ok(())
}
