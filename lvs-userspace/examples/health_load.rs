//! What health checks cost: 10,000 TCP checks every 10 s against a listener on loopback, for 30 s.
//!
//! ```text
//! cargo build --release -p lvs-userspace --example health_load
//! unshare --net sh -c 'ip link set lo up; target/release/examples/health_load'
//! ```
//!
//! In a network namespace of its own, because the connections leave their ports in `TIME_WAIT`. The listener is another
//! process, so that only the checks are measured. Arguments: how many checks, and for how many seconds.

use std::sync::Arc;
use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener},
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use lvs_userspace::{
    config::{
        Check, Checker, Config, Connection, Family, Forwarding, Line, Protocol, Quorum, RealServer,
        Schedule, Scheduler, SchedulerFlags, Target, VirtualServer,
    },
    health::Health,
};
use nix::sys::resource::{UsageWho, getrusage};

const INTERVAL: Duration = Duration::from_secs(10);
const SERVERS: usize = 100;

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let first = arguments.next();
    if first.as_deref() == Some("listen") {
        return listen();
    }
    let checks = first.map_or(Ok(10_000), |text| text.parse())?;
    let seconds = arguments.next().map_or(Ok(30), |text| text.parse())?;
    let mut listener =
        Command::new(std::env::current_exe()?).arg("listen").stdout(Stdio::piped()).spawn()?;
    let mut port = String::new();
    let output = listener.stdout.take().context("the listener has no output")?;
    BufReader::new(output).read_line(&mut port)?;
    let config = config(checks, port.trim().parse()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let line = runtime.block_on(measure(&config, Duration::from_secs(seconds)));
    listener.kill()?;
    listener.wait()?;
    Ok(writeln!(std::io::stdout(), "{}", line?)?)
}

/// Takes connections on all addresses and closes them.
fn listen() -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    writeln!(std::io::stdout(), "{}", listener.local_addr()?.port())?;
    for stream in listener.incoming() {
        drop(stream);
    }
    Ok(())
}

async fn measure(config: &Config, time: Duration) -> anyhow::Result<String> {
    let mut health = Health::start(config, &BTreeSet::new());
    // All have run once, and are spread over the interval.
    drop(tokio::time::timeout(INTERVAL, health.changed()).await);
    let before = used()?;
    let down = tokio::time::timeout(time, health.changed()).await.is_ok();
    let used = used()?.saturating_sub(before);
    let memory = getrusage(UsageWho::RUSAGE_SELF)?.max_rss() / 1024;
    anyhow::ensure!(!down, "a check failed");
    Ok(format!(
        "{} checks every {} s: {:.2} s of CPU time in {} s, {:.1}% of a core, {memory} MiB of memory",
        health.checks(),
        INTERVAL.as_secs(),
        used.as_secs_f64(),
        time.as_secs(),
        100.0 * used.as_secs_f64() / time.as_secs_f64()
    ))
}

/// User and system time of this process.
fn used() -> anyhow::Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_SELF)?;
    let times = [usage.user_time(), usage.system_time()];
    let micros: i64 = times.iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum();
    Ok(Duration::from_micros(micros.unsigned_abs()))
}

fn config(checks: usize, port: u16) -> Config {
    let addresses: Vec<Ipv4Addr> = (0..checks as u32)
        .map(|at| Ipv4Addr::from(u32::from(Ipv4Addr::new(127, 1, 0, 1)) + at))
        .collect();
    let services = addresses.chunks(SERVERS).map(|addresses| service(addresses, port)).collect();
    Config { services, ..Config::default() }
}

fn service(addresses: &[Ipv4Addr], port: u16) -> VirtualServer {
    let address = addresses.first().copied().unwrap_or(Ipv4Addr::LOCALHOST).into();
    VirtualServer {
        target: Target::Address { address, port: 80 },
        family: Family::Ipv4,
        protocol: Some(Protocol::Tcp),
        scheduler: Scheduler::RoundRobin,
        flags: SchedulerFlags::default(),
        forwarding: Forwarding::Nat,
        local_addresses: Vec::new(),
        one_packet: false,
        persistence: None,
        quorum: Quorum::default(),
        omega: false,
        sorry_server: None,
        ha_suspend: false,
        smtp_alert: false,
        persistence_engine: None,
        snmp_name: None,
        group: None,
        real_servers: Arc::new(addresses.iter().map(|address| server(*address, port)).collect()),
        line: 1,
    }
}

fn server(address: Ipv4Addr, port: u16) -> RealServer {
    let connection = Connection {
        address: address.into(),
        port,
        bind_address: None,
        bind_port: None,
        bind_interface: None,
        timeout: Connection::TIMEOUT,
        mark: 0,
    };
    let schedule = Schedule {
        delay_loop: INTERVAL,
        retry: Schedule::RETRY,
        delay_before_retry: Schedule::DELAY_BEFORE_RETRY,
        warmup: INTERVAL,
        alpha: false,
        log_all_failures: false,
    };
    let checker = Checker { check: Check::Tcp(connection), schedule, line: Line(1) };
    RealServer {
        checkers: vec![Arc::new(checker)],
        ..RealServer::new(address.into(), port, Forwarding::Nat)
    }
}
