//! The data plane outlives the controller: `kill -9` at any moment and a new start lose nothing.
//!
//! `XLVS_TEST_SECONDS` is how long the controller is killed again and again.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_tests::config::{Method, Protocol};
use lvs_tests::echo;
use lvs_tests::family::Family;
use lvs_tests::http::client::{self, Connection};
use lvs_tests::process::Lifetime;
use lvs_tests::topology::{Plan, VIRTUAL};
use lvs_tests::xlvs::{self, Setup, Xlvs};
use lvs_tests::{bpftool, config, counts, skip_unless_possible};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::lab::{Case, Lab, for_each_mode};
use super::modes;
use super::support::{Bed, by_server, from_environment, say};

const LIMIT: Duration = Duration::from_secs(5);
const ECHO: u16 = 22;

for_each_mode!(killed_every_second, super::killed_again_and_again);

/// Starts it, and kills it some time later, whatever it does then; until nobody wants more.
fn kill_and_start(lab: &Lab, setup: &Setup, meanwhile: &Meanwhile) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(7);
    while !meanwhile.ended.load(Ordering::Relaxed) {
        let kills = meanwhile.times.load(Ordering::Relaxed);
        // A second on the average: some are killed while they start, the others some time after that.
        let next = if kills.is_multiple_of(2) {
            Xlvs::start(&lab.topology.lb, setup.clone())?
        } else {
            Xlvs::spawn(&xlvs::binary()?, &lab.topology.lb, setup.clone(), Lifetime::Bound)?
        };
        sleep(Duration::from_millis(random.u64(0..1600)));
        drop(next);
        meanwhile.times.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// What goes on while the client asks.
#[derive(Debug, Default)]
struct Meanwhile {
    /// How often it has been done.
    times: AtomicU64,
    /// Whether it has been done often enough.
    ended: AtomicBool,
}

/// The client's requests while something goes on beside it, each on a connection of its own; none fails. So many are
/// answered.
fn ask_meanwhile(
    lab: &Lab,
    family: Family,
    other: impl FnOnce(&Meanwhile) -> Result<()> + Send,
    (seconds, times): (u64, u64),
) -> Result<(u64, u64)> {
    let meanwhile = Meanwhile::default();
    let address = lab.web(Method::Nat, family);
    scope(|scope| {
        let other = scope.spawn(|| other(&meanwhile));
        let start = Instant::now();
        let asked = (|| {
            let mut asked = 0;
            // On a machine that is slow, longer.
            while start.elapsed() < Duration::from_secs(seconds)
                || meanwhile.times.load(Ordering::Relaxed) < times
            {
                ensure!(!other.is_finished(), "what goes on beside the requests has ended");
                asked += lab.client().block_on(|| client::ask_many(address, 40, 4))?.len() as u64;
            }
            anyhow::Ok(asked)
        })();
        meanwhile.ended.store(true, Ordering::Relaxed);
        other.join().map_err(|_| anyhow::anyhow!("the other thread"))?.context("meanwhile")?;
        Ok((asked.context("the requests")?, meanwhile.times.load(Ordering::Relaxed)))
    })
}

fn killed_again_and_again(mode: &'static str) -> Result<()> {
    let seconds = from_environment("XLVS_TEST_SECONDS", 10)?;
    let lab = Lab::for_mode(Plan::TWO_ARMED, mode)?;
    let family = Family::V4;
    let service = lab.web_service(Method::Nat, family);
    // One connection is open all the time.
    let case = Case { mode, method: Method::Nat, family };
    let echo = lab.service_at(ECHO, Protocol::Tcp, case)?;
    echo::serve(lab.server(0)?, ECHO)?;
    let setup = {
        let xlvs = lab.start(mode, &[service, echo.clone()])?;
        xlvs.setup().clone()
    };
    let mut session = echo::Session::new(lab.client(), echo.address, LIMIT)?;
    session.send("before\n")?;
    let (asked, kills) = ask_meanwhile(
        &lab,
        family,
        |meanwhile| kill_and_start(&lab, &setup, meanwhile),
        (seconds, 4),
    )?;
    session.send("after\n")?;
    say(format_args!("{mode}: {asked} requests, {kills} kills"));
    let last = Xlvs::start(&lab.topology.lb, setup)?;
    // The truth is what the servers have answered; each request had a connection of its own.
    let counts = counts::read(last.setup())?;
    let of_web = lab.plan().servers(family);
    let (web, other): (Vec<_>, Vec<_>) =
        counts.iter().partition(|counts| of_web.contains(&counts.address));
    let shares: Vec<u64> = web.iter().map(|counts| counts.connections).collect();
    assert_eq!(shares.iter().sum::<u64>(), asked, "{counts:?}");
    assert_eq!(asked, lab.answered(family));
    assert_eq!(other.iter().map(|counts| counts.connections).sum::<u64>(), 1, "{counts:?}");
    let active: u64 = counts::loads(last.setup(), 3)?.iter().map(|load| load.active).sum();
    assert_eq!(active, 1, "connections that are open");
    let [one, other] = *shares.as_slice() else { bail!("two servers: {shares:?}") };
    ensure!(one.abs_diff(other) <= 1, "turns were lost: {shares:?}");
    assert!(last.stop()?.success());
    nothing_is_left(&lab.topology.lb, &lab.scratch.path("bpf"))
}

#[test]
fn a_kill_in_the_middle_of_a_reload_harms_nobody() -> Result<()> {
    skip_unless_possible!();
    let seconds = from_environment("XLVS_TEST_SECONDS", 10)?;
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
    let (asked, reloads) = ask_meanwhile(&lab, family, reload_and_kill, (seconds, 20))?;
    say(format_args!("{asked} requests, {reloads} reloads"));
    std::fs::write(&setup.config, &own)?;
    let last = Xlvs::start(&lab.topology.lb, setup)?;
    assert_eq!(asked, lab.answered(family));
    let services = bpftool::dump(&last.setup().map("SERVICES4"))?;
    assert_eq!(services.len(), 1, "services of a file that is not used any more: {services:?}");
    let counts = counts::read(last.setup())?;
    let of_web = lab.plan().servers(family);
    let connections = counts.iter().filter(|counts| of_web.contains(&counts.address));
    assert_eq!(connections.map(|counts| counts.connections).sum::<u64>(), asked);
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
