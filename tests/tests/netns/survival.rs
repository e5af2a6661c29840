//! The data plane outlives the controller: `kill -9` at any moment and a new start lose nothing.
//!
//! `XLVS_TEST_SECONDS` is how long the controller is killed again and again, and how often at least.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_common::abi::{Flow, Tuple, V4};
use lvs_common::tcp::TcpState;
use lvs_tests::config::{Method, Protocol};
use lvs_tests::echo;
use lvs_tests::family::Family;
use lvs_tests::http::client::{self, Connection};
use lvs_tests::http::load::{Clients, Load, Report};
use lvs_tests::process::Lifetime;
use lvs_tests::topology::{Plan, VIRTUAL};
use lvs_tests::xlvs::{self, Setup, Xlvs};
use lvs_tests::{bpftool, config, counts, skip_unless_possible};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::expiry::table;
use super::lab::{Case, Lab, for_each_mode};
use super::modes;
use super::support::{Bed, by_server, from_environment, say};

const LIMIT: Duration = Duration::from_secs(5);
const ECHO: u16 = 22;

for_each_mode!(killed_every_second, super::killed_again_and_again);

/// As systemd's `Restart=always`, with somebody who kills it every second, whatever it does then; until nobody wants more.
fn kill_and_start(lab: &Lab, setup: &Setup, meanwhile: &Meanwhile) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    let start = Instant::now();
    while !meanwhile.ended.load(Ordering::Relaxed) {
        let mut next =
            Xlvs::spawn(&xlvs::binary()?, &lab.topology.lb, setup.clone(), Lifetime::Bound)?;
        let kills = meanwhile.times.load(Ordering::Relaxed);
        // Not always after the same time: some are killed while they start. On a slow machine, not all of them.
        if kills.is_multiple_of(2) {
            next.wait_until_ready(|| Ok(()))?;
        }
        let at = Duration::from_secs(kills + 1) + Duration::from_millis(random.u64(0..900));
        let least = Duration::from_millis(random.u64(10..900));
        sleep(at.saturating_sub(start.elapsed()).max(least));
        if next.ready_line().is_some() {
            meanwhile.ready.fetch_add(1, Ordering::Relaxed);
        }
        drop(next);
        meanwhile.times.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What goes on while the clients ask.
#[derive(Debug, Default)]
struct Meanwhile {
    /// How often it has been done.
    times: AtomicU64,
    /// How often the controller was ready by then.
    ready: AtomicU64,
    /// Whether it has been done often enough.
    ended: AtomicBool,
}

/// Half of these keep their connections.
const CLIENTS: Clients = Clients { keep_alive: 4, short: 4 };

/// The clients' requests while something goes on beside them; none fails. Connections that are kept are open still.
fn ask_meanwhile(
    lab: &Lab,
    family: Family,
    other: impl FnOnce(&Meanwhile) -> Result<()> + Send,
    (seconds, times): (u64, u64),
) -> Result<(Load, Report, Meanwhile)> {
    let meanwhile = Meanwhile::default();
    let load = Load::start(lab.client(), lab.web(Method::Nat, family), CLIENTS)?;
    let report = scope(|scope| {
        let other = scope.spawn(|| other(&meanwhile));
        let start = Instant::now();
        // On a machine that is slow, longer.
        while start.elapsed() < Duration::from_secs(seconds)
            || meanwhile.times.load(Ordering::Relaxed) < times
        {
            if other.is_finished() || !load.report().failures.is_empty() {
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let report = load.settle();
        meanwhile.ended.store(true, Ordering::Relaxed);
        other.join().map_err(|_| anyhow::anyhow!("the other thread"))?.context("meanwhile")?;
        report
    })?;
    ensure!(report.failures.is_empty(), "requests have failed: {:?}", report.failures);
    Ok((load, report, meanwhile))
}

/// Active and inactive connections: those that the servers are said to have, and the same counted from the table.
fn loads_and_truth(setup: &Setup, servers: u32) -> Result<[(u64, u64); 2]> {
    let loads = counts::loads(setup, servers)?;
    let loads = loads.iter().fold((0, 0), |sum, load| (sum.0 + load.active, sum.1 + load.inactive));
    let (mut active, mut inactive) = (0, 0);
    let table = table::<Tuple<V4>, Flow<V4>>(&setup.map("CONNECTIONS4"))?;
    for entry in &table {
        let (_, flow) = entry?;
        match flow.to_server() {
            true if flow.head.state == TcpState::Established as u8 => active += 1,
            true => inactive += 1,
            // The other entry of the same.
            false => {}
        }
    }
    Ok([loads, (active, inactive)])
}

/// A server that is dead, and known as such from before: whoever counted it as up again would have requests fail.
fn with_a_dead_one(service: &str, dead: SocketAddr) -> Result<String> {
    let text = service.strip_suffix("}\n").context("a service")?;
    Ok(format!(
        "{text}  warmup 0\n  real_server {} {} {{\n    weight 1\n    TCP_CHECK {{\n      connect_timeout 3\n      \
         delay_loop 1\n    }}\n  }}\n}}\n",
        dead.ip(),
        dead.port()
    ))
}

fn killed_again_and_again(mode: &'static str) -> Result<()> {
    let seconds = from_environment("XLVS_TEST_SECONDS", 6)?;
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    // A minute of new connections.
    lab.client().set("ipv4/ip_local_port_range", "2000 65000")?;
    let family = Family::V4;
    let dead = lab.server_at(0, family, 9)?;
    let service = with_a_dead_one(&lab.web_service(Method::Nat, family).to_string(), dead)?;
    // One connection is open all the time.
    let case = Case { mode, method: Method::Nat, family };
    let echo = lab.service_at(ECHO, Protocol::Tcp, case)?;
    echo::serve(lab.server(0)?, ECHO)?;
    let setup = {
        let xlvs = lab.start_with(mode, &format!("{service}{echo}"), &[])?;
        xlvs.wait_for(&format!("real server {dead} of "))?;
        // The log tells of it before the maps know.
        xlvs.reload(&format!("{service}{echo}"))?;
        xlvs.setup().clone()
    };
    let mut session = echo::Session::new(lab.client(), echo.address, LIMIT)?;
    session.send("before\n")?;
    let (load, report, meanwhile) = ask_meanwhile(
        &lab,
        family,
        |meanwhile| kill_and_start(&lab, &setup, meanwhile),
        (seconds, seconds),
    )?;
    session.send("after\n")?;
    // No controller runs that would collect what has ended; the last packets may still be under way.
    let start = Instant::now();
    let [loads, truth] = loop {
        let both = loads_and_truth(&setup, 4)?;
        if both[0] == both[1] || start.elapsed() > LIMIT {
            break both;
        }
    };
    assert_eq!(loads, truth, "active and inactive, and what the table says");
    assert_eq!(loads.0, CLIENTS.keep_alive as u64 + 1, "connections that are open");
    let last = Xlvs::start(&lab.topology.lb, setup)?;
    // The truth is what the servers have answered, and the connections that the clients have made.
    assert_eq!(report.requests, lab.answered(family));
    let counts = counts::read(last.setup())?;
    let of_web = lab.plan().servers(family);
    let (web, other): (Vec<_>, Vec<_>) =
        counts.iter().partition(|counts| of_web.contains(&counts.address));
    let shares: Vec<u64> = web.iter().map(|counts| counts.connections).collect();
    assert_eq!(shares.iter().sum::<u64>(), report.connections, "{counts:?}");
    assert_eq!(other.iter().map(|counts| counts.connections).sum::<u64>(), 1, "{counts:?}");
    let [one, other] = *shares.as_slice() else { bail!("two servers: {shares:?}") };
    ensure!(one.abs_diff(other) <= 1, "turns were lost: {shares:?}");
    let Meanwhile { times, ready, .. } = meanwhile;
    say(format_args!(
        "{mode}: {} requests on {} connections, none failed, the slowest took {:?}; {} kills, {} of them when it was ready; \
         {} active and {} inactive connections, as in the table",
        report.requests,
        report.connections,
        report.slowest,
        times.into_inner(),
        ready.into_inner(),
        loads.0,
        loads.1
    ));
    drop((session, load));
    assert!(last.stop()?.success());
    nothing_is_left(&lab.topology.lb, &lab.scratch.path("bpf"))
}

#[test]
fn a_kill_in_the_middle_of_a_reload_harms_nobody() -> Result<()> {
    skip_unless_possible!();
    let seconds = from_environment("XLVS_TEST_SECONDS", 6)?;
    let mode = "native";
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    let family = Family::V4;
    let own = lab.web_service(Method::Nat, family).to_string();
    let setup = {
        let xlvs = lab.start_with(mode, &file(&own, 0), &[])?;
        xlvs.setup().clone()
    };
    let reload_and_kill = |meanwhile: &Meanwhile| {
        let mut random = fastrand::Rng::with_seed(11);
        while !meanwhile.ended.load(Ordering::Relaxed) {
            let next = Xlvs::start(&lab.topology.lb, setup.clone())?;
            for _ in 0..8 {
                let step = meanwhile.times.fetch_add(1, Ordering::Relaxed);
                replace(&setup.config, &file(&own, step))?;
                kill(Pid::from_raw(next.pid().try_into()?), Signal::SIGHUP)?;
                sleep(Duration::from_millis(random.u64(0..40)));
            }
            drop(next);
        }
        Ok(())
    };
    let (_load, report, meanwhile) = ask_meanwhile(&lab, family, reload_and_kill, (seconds, 20))?;
    let reloads = meanwhile.times.into_inner();
    say(format_args!("{} requests, {reloads} reloads", report.requests));
    std::fs::write(&setup.config, &own)?;
    let last = Xlvs::start(&lab.topology.lb, setup)?;
    assert_eq!(report.requests, lab.answered(family));
    let services = bpftool::dump(&last.setup().map("SERVICES4"))?;
    assert_eq!(services.len(), 1, "services of a file that is not used any more: {services:?}");
    let counts = counts::read(last.setup())?;
    let of_web = lab.plan().servers(family);
    let connections = counts.iter().filter(|counts| of_web.contains(&counts.address));
    let connections: u64 = connections.map(|counts| counts.connections).sum();
    assert_eq!(connections, report.connections);
    assert!(last.stop()?.success());
    Ok(())
}

/// Puts another file in the place of one, at once: half a file may be a good one, without the service.
fn replace(path: &Path, text: &str) -> Result<()> {
    let next = path.with_extension("next");
    std::fs::write(&next, text)?;
    Ok(std::fs::rename(&next, path)?)
}

/// The measured service, with a weight that changes, and many others that take a while to write.
fn file(own: &str, step: u64) -> String {
    let own = own.replacen("weight 1", &format!("weight {}", 1 + step % 3), 1);
    (0..60).fold(own, |text, number| {
        let algo = match (number + step) % 4 {
            0 => "wrr",
            1 => "rr",
            2 => "sh",
            _ => "wlc",
        };
        let servers = (1..=40).fold(String::new(), |text, last| {
            let weight = 1 + (last * step + number) % 5;
            text + &format!("  real_server 10.99.{number}.{last} 80 {{\n    weight {weight}\n  }}\n")
        });
        let port = 2000 + number + step % 7;
        text + &format!(
            "virtual_server 10.98.0.1 {port} {{\n  lb_algo {algo}\n  lb_kind NAT\n  protocol TCP\n{servers}}}\n"
        )
    })
}

#[test]
fn clients_stay_with_their_servers_and_turns_go_on() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text =
        config::EXAMPLE.to_owned() + &config::without_persistence().replace("10000", "10001");
    drop(bed.start(&text, None)?);
    let other = std::net::SocketAddrV4::new(*VIRTUAL.ip(), 10001);
    let (mut clients, mut turns) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        clients.extend(bed.ask_many(2, 1)?);
        turns.push(bed.topology.client.block_on(|| client::ask(other))?);
        drop(bed.start(&text, None)?);
    }
    assert_eq!(by_server(&clients).len(), 1, "{clients:?}");
    for pair in turns.windows(2) {
        assert_ne!(pair[0].server, pair[1].server, "{turns:?}");
    }
    let last = bed.start(&text, None)?;
    assert_eq!(bpftool::dump(&last.setup().map("TEMPLATES4"))?.len(), 1);
    assert!(last.stop()?.success());
    Ok(())
}

#[test]
fn a_server_that_has_left_the_file_has_its_connections_when_it_is_back() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let both = config::without_persistence();
    let one = both.replace("  real_server 192.168.1.100 8089 {\n    weight 1\n  }\n", "");
    drop(bed.start(&both, None)?);
    bed.topology.client.block_on(|| async {
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut connection = Connection::open(VIRTUAL).await?;
            connection.ask().await?;
            connections.push(connection);
        }
        // Removed by one start, and back with another.
        drop(bed.start(&one, None)?);
        drop(bed.start(&both, None)?);
        for connection in &mut connections {
            connection.ask().await?;
        }
        Ok(())
    })
}

#[test]
fn another_program_takes_the_place_of_the_one_that_is_attached() -> Result<()> {
    skip_unless_possible!();
    for mode in ["native", "generic", "tc"] {
        let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
        let service = lab.web_service(Method::Nat, Family::V4);
        let address = lab.web(Method::Nat, Family::V4);
        let first = lab.start(mode, std::slice::from_ref(&service))?;
        let pin = first.setup().pin_dir.join("v5/links/xlvs-c");
        let before = bpftool::link(&pin)?;
        drop(first);
        lab.client().block_on(|| async {
            let mut connection = Connection::open(address).await?;
            connection.ask().await?;
            // With tracing it is another program.
            let next = lab.start_with(mode, &service.to_string(), &["--trace"])?;
            connection.ask().await.context("of the connection that was there before")?;
            let after = bpftool::link(&pin)?;
            ensure!(after.id == before.id, "{mode}: the link is another one");
            ensure!(after.program != before.program, "{mode}: the program is the same");
            assert!(next.stop()?.success());
            Ok(())
        })?;
        nothing_is_left(&lab.topology.lb, &lab.scratch.path("bpf"))?;
    }
    Ok(())
}

#[test]
fn another_mode_takes_over_without_a_lost_connection() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::new(Plan::TWO_ARMED)?;
    let service = lab.web_service(Method::Nat, Family::V4);
    let address = lab.web(Method::Nat, Family::V4);
    drop(lab.start("native", std::slice::from_ref(&service))?);
    lab.client().block_on(|| async {
        let mut connection = Connection::open(address).await?;
        connection.ask().await?;
        for mode in ["generic", "tc", "native", "tc", "generic", "native"] {
            drop(lab.start(mode, std::slice::from_ref(&service))?);
            connection.ask().await.with_context(|| format!("in {mode} mode"))?;
        }
        Ok(())
    })?;
    // Two links, one for each interface, whatever came before.
    assert_eq!(std::fs::read_dir(lab.scratch.path("bpf").join("v5/links"))?.count(), 2);
    let last = lab.start("auto", &[service])?;
    ensure!(last.ready_line().is_some_and(|line| line.contains("native")), "{}", last.log());
    assert!(last.stop()?.success());
    Ok(())
}

/// No program, no pin, no mount.
pub(crate) fn nothing_is_left(lb: &lvs_tests::netns::Netns, pins: &Path) -> Result<()> {
    ensure!(modes::modes(lb)?.is_empty(), "a program is still attached");
    ensure!(!pins.exists(), "{} is still there", pins.display());
    Ok(())
}
