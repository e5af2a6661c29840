//! Servers that die in every way that checks can tell: out within the time that the file gives, back when they are well
//! again, and nobody else notices.
//!
//! Each has a service with a companion that stays well; all die at once, with clients at work everywhere.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use hyper::StatusCode;
use lvs_tests::config::{Method, Protocol, Service};
use lvs_tests::http::load::{Clients, Failure, Load, Report};
use lvs_tests::http::server::{Server, WELL, WELL_DIGEST};
use lvs_tests::http::tls::Authority;
use lvs_tests::netns::Netns;
use lvs_tests::scratch::Scratch;
use lvs_tests::topology::{Plan, Topology, VIRTUAL};
use lvs_tests::xlvs::{Setup, Xlvs};
use lvs_tests::{command, skip_unless_possible};
use serde_json::Value;

use super::support::say;

/// What the file says of all checks, in seconds.
const DELAY_LOOP: f32 = 0.5;
const CONNECT_TIMEOUT: f32 = 1.0;
const RETRY: u8 = 1;
const DELAY_BEFORE_RETRY: f32 = 0.2;
/// A machine that has other work to do.
const MARGIN: Duration = Duration::from_secs(4);
/// While all are dead, and after all are back.
const MEANWHILE: Duration = Duration::from_secs(1);

const CLIENTS: Clients = Clients { keep_alive: 1, short: 1 };
const LATE: Clients = Clients { keep_alive: 2, short: 1 };

/// The first host has the companion, and all servers but one.
const HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 100);
const OTHER_HOST: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 101);
/// That one has a port for each service: a client's ports for two services may be the same.
const CALM: u16 = 8200;
/// Where a server is checked that has TLS for that.
const SECURE: u16 = 9105;

/// A way to die, the port of who dies by it, and what checks it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// The process ends: connections are refused.
    Process,
    /// So does that of the only server, which has a sorry server.
    LastProcess,
    /// Nothing answers at its port, not even that there is nobody.
    Filtered,
    /// The host's cable is out.
    Unreachable,
    /// The wrong status.
    Status,
    /// The right status, and the wrong page.
    Digest,
    /// A certificate that has expired.
    Certificate,
}

impl Death {
    const ALL: [Self; 7] = [
        Self::Process,
        Self::LastProcess,
        Self::Filtered,
        Self::Unreachable,
        Self::Status,
        Self::Digest,
        Self::Certificate,
    ];

    /// The port of the victim; with 2,000 more that of the service.
    const fn port(self) -> u16 {
        8101 + self as u16
    }

    /// The port of who answers while the victim is out.
    const fn other_port(self) -> u16 {
        8201 + self as u16
    }

    fn victim(self) -> SocketAddr {
        let host = if self == Self::Unreachable { OTHER_HOST } else { HOST };
        (host, self.port()).into()
    }

    fn service(self) -> SocketAddr {
        (*VIRTUAL.ip(), self.port() + 2000).into()
    }

    /// Who answers while the victim is out.
    const fn other(self) -> &'static str {
        if matches!(self, Self::LastProcess) { "sorry" } else { "companion" }
    }

    fn check(self) -> String {
        let url =
            |wanted: &str| format!("url {{\n        path /health\n        {wanted}\n      }}");
        let (name, inside) = match self {
            Self::Status => ("HTTP_GET", url("status_code 200")),
            Self::Digest => ("HTTP_GET", url(&format!("digest {WELL_DIGEST}"))),
            Self::Certificate => {
                ("SSL_GET", format!("connect_port {SECURE}\n      {}", url("status_code 200")))
            }
            _ => ("TCP_CHECK", String::new()),
        };
        format!(
            "    {name} {{\n      {inside}\n      connect_timeout {CONNECT_TIMEOUT}\n      delay_loop {DELAY_LOOP}\n      \
             retry {RETRY}\n      delay_before_retry {DELAY_BEFORE_RETRY}\n    }}\n"
        )
    }

    /// Its service in the file.
    fn text(self) -> String {
        let (service, victim) = (self.service(), self.victim());
        let companion = match self {
            Self::LastProcess => format!("  sorry_server {HOST} {}\n", self.other_port()),
            _ => format!("  real_server {HOST} {} {{\n  }}\n", self.other_port()),
        };
        format!(
            "virtual_server {} {} {{\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  warmup 0\n{companion}  \
             real_server {} {} {{\n{}  }}\n}}\n",
            service.ip(),
            service.port(),
            victim.ip(),
            victim.port(),
            self.check()
        )
    }
}

/// From a death to its last failed try: the pause before the check that finds it, and each try with its time-out. A
/// connection, a handshake and an answer each have the time-out; what dies here fails at the first or at once.
fn longest_to_go() -> Duration {
    let tries = f32::from(RETRY) * (DELAY_BEFORE_RETRY + CONNECT_TIMEOUT);
    Duration::from_secs_f32(DELAY_LOOP + CONNECT_TIMEOUT + tries)
}

/// From the recovery to the check that finds it; one that is under way may have to fail first. A page that has failed is
/// asked for twice.
fn longest_to_come() -> Duration {
    Duration::from_secs_f32(2.0 * (DELAY_LOOP + CONNECT_TIMEOUT))
}

/// All of them, their companion and their sorry server.
struct World {
    victims: Vec<Option<Server>>,
    secure: Server,
    authority: Authority,
    _others: Vec<Server>,
    topology: Topology,
}

impl World {
    fn new(prefix: &str) -> Result<Self> {
        let topology = Topology::of(prefix, Plan::TWO_ARMED)?;
        let first = topology.servers.first().context("no server")?;
        let start = |port: u16, name: &str| Server::start(first, name, (HOST, port));
        let authority = Authority::new()?;
        let secure = start(SECURE, "secure")?;
        secure.set_tls(authority.acceptor(false)?);
        let mut others = vec![start(CALM, "companion")?];
        for death in Death::ALL {
            others.push(start(death.other_port(), death.other())?);
        }
        let mut world = Self { victims: Vec::new(), secure, authority, _others: others, topology };
        for death in Death::ALL {
            let victim = world.start_victim(death)?;
            world.victims.push(Some(victim));
        }
        Ok(world)
    }

    fn start_victim(&self, death: Death) -> Result<Server> {
        let [first, other] = self.topology.servers.as_slice() else { bail!("not two servers") };
        let host = if death == Death::Unreachable { other } else { first };
        Server::start(host, "victim", death.victim())
    }

    fn victim(&mut self, death: Death) -> Result<&mut Option<Server>> {
        self.victims.get_mut(death as usize).context("no such victim")
    }

    fn health(&mut self, death: Death, status: StatusCode, page: &'static str) -> Result<()> {
        self.victim(death)?.as_ref().context("it is dead")?.set_health(status, page);
        Ok(())
    }

    fn filter(&self, action: &str) -> Result<()> {
        let port = Death::Filtered.port().to_string();
        let words = ["-t", "filter", action, "INPUT", "-p", "tcp", "--dport", &port, "-j", "DROP"];
        let first = self.topology.servers.first().context("no server")?;
        command::run(first.command("iptables").args(words)).map(drop)
    }

    fn cable(&self, state: &str) -> Result<()> {
        self.topology.switch.ip(&[format!("link set web2 {state}")]).map(drop)
    }

    fn kill(&mut self, death: Death) -> Result<()> {
        match death {
            Death::Process | Death::LastProcess => {
                drop(self.victim(death)?.take());
                Ok(())
            }
            Death::Filtered => self.filter("-A"),
            Death::Unreachable => self.cable("down"),
            Death::Status => self.health(death, StatusCode::INTERNAL_SERVER_ERROR, WELL),
            Death::Digest => self.health(death, StatusCode::OK, "unwell"),
            Death::Certificate => {
                self.secure.set_tls(self.authority.acceptor(true)?);
                Ok(())
            }
        }
    }

    fn heal(&mut self, death: Death) -> Result<()> {
        match death {
            Death::Process | Death::LastProcess => {
                let victim = self.start_victim(death)?;
                *self.victim(death)? = Some(victim);
                Ok(())
            }
            Death::Filtered => self.filter("-D"),
            Death::Unreachable => self.cable("up"),
            Death::Status | Death::Digest => self.health(death, StatusCode::OK, WELL),
            Death::Certificate => {
                self.secure.set_tls(self.authority.acceptor(false)?);
                Ok(())
            }
        }
    }

    fn client(&self) -> &Netns {
        &self.topology.client
    }

    /// Lets time pass, with clients at each service that begin now; what those report who have been there, and they.
    fn meanwhile(&self, loads: &[Load]) -> Result<Vec<(Report, Report)>> {
        let late: Vec<Load> = Death::ALL
            .iter()
            .map(|death| Load::start(self.client(), death.service(), LATE))
            .collect::<Result<_>>()?;
        sleep(MEANWHILE);
        let both = loads.iter().zip(&late);
        both.map(|(load, late)| Ok((load.report(), late.settle()?))).collect()
    }
}

/// Waits until the log says something of each victim, and tells when. `limit` counts from now.
fn wait_for_each(xlvs: &Xlvs, said: fn(Death) -> String, limit: Duration) -> Result<Vec<Duration>> {
    let start = Instant::now();
    let mut times = vec![None; Death::ALL.len()];
    while times.iter().any(Option::is_none) {
        let log = xlvs.log();
        for (time, death) in times.iter_mut().zip(Death::ALL) {
            if time.is_none() && log.contains(&said(death)) {
                *time = Some(start.elapsed());
            }
        }
        ensure!(
            start.elapsed() < limit,
            "after {limit:?} it was {times:?} of {:?}; the log:\n{log}",
            Death::ALL
        );
        sleep(Duration::from_millis(20));
    }
    Ok(times.into_iter().flatten().collect())
}

/// Waits until all victims are in the data plane, or none is: the log tells of a check before that.
fn wait_for_maps(xlvs: &Xlvs, there: bool) -> Result<()> {
    let start = Instant::now();
    loop {
        let listed: Value = serde_json::from_str(&xlvs.look(&["list", "--json"])?)?;
        let list = |of: &Value, name: &str| of.get(name).and_then(Value::as_array).cloned();
        let services = list(&listed, "services").unwrap_or_default();
        let servers = services.iter().filter_map(|service| list(service, "servers")).flatten();
        let ports: Vec<u64> =
            servers.filter_map(|server| server.get("port").and_then(Value::as_u64)).collect();
        if Death::ALL.iter().all(|death| ports.contains(&death.port().into()) == there) {
            return Ok(());
        }
        ensure!(start.elapsed() < MARGIN, "the log has told, and the maps do not follow: {listed}");
    }
}

fn down(death: Death) -> String {
    format!("real server {} of {}/TCP is down, taken out: ", death.victim(), death.service())
}

fn up(death: Death) -> String {
    format!("real server {} of {}/TCP is up", death.victim(), death.service())
}

/// The reason, as the log has it, is the one that the death is.
fn why(death: Death) -> &'static str {
    match death {
        Death::Process | Death::LastProcess => "refused",
        Death::Filtered => "no connection",
        Death::Unreachable => "",
        Death::Status => "status 500",
        Death::Digest => "digest",
        Death::Certificate => "expired",
    }
}

/// What must not fail: requests that began after a server was out, but for those on connections that it had.
fn harmed(report: &Report, out: Instant) -> Vec<&Failure> {
    let bound = |server: &Option<String>| matches!(server.as_deref(), Some("victim" | "sorry"));
    report.failures.iter().filter(|one| one.began > out && !bound(&one.server)).collect()
}

#[test]
fn whoever_dies_is_out_in_time_and_comes_back() -> Result<()> {
    skip_unless_possible!();
    let scratch = Scratch::new()?;
    let mut world = World::new(scratch.name())?;
    let ca = scratch.write("ca.pem", &world.authority.pem())?;
    // A service that nothing happens to.
    let calm = SocketAddr::from((*VIRTUAL.ip(), 10_100));
    let mut text = format!("SSL {{\n  ca {}\n}}\n", ca.display());
    for death in Death::ALL {
        text += &death.text();
    }
    text += &Service::new(Protocol::Tcp, Method::Nat, calm, &[(HOST, CALM).into()]).to_string();
    let setup = Setup {
        config: scratch.write("xlvs.conf", &text)?,
        pin_dir: scratch.path("bpf"),
        runtime_dir: scratch.path("run"),
        log: scratch.path("xlvs.log"),
        mode: None,
        interfaces: world.topology.plan.interfaces(),
        extra: Vec::new(),
    };
    let xlvs = Xlvs::start(&world.topology.lb, setup)?;
    let calm = Load::start(world.client(), calm, Clients { keep_alive: 2, short: 2 })?;
    let loads: Vec<Load> = Death::ALL
        .iter()
        .map(|death| Load::start(world.client(), death.service(), CLIENTS))
        .collect::<Result<_>>()?;
    sleep(MEANWHILE);
    for death in Death::ALL {
        let log = xlvs.log();
        ensure!(!log.contains(&down(death)), "not well at the start:\n{log}");
    }

    for death in Death::ALL {
        world.kill(death)?;
    }
    let gone = wait_for_each(&xlvs, down, longest_to_go() + MARGIN)?;
    let log = xlvs.log();
    for death in Death::ALL {
        let line = log.lines().find(|line| line.contains(&down(death))).unwrap_or_default();
        ensure!(line.contains(why(death)), "{death:?}: {line}");
    }
    wait_for_maps(&xlvs, false)?;
    let out = Instant::now();
    // Clients of before may hang on who has died; others come.
    for ((report, late), death) in world.meanwhile(&loads)?.iter().zip(Death::ALL) {
        let bad = harmed(report, out);
        ensure!(bad.is_empty(), "{death:?}, while it was out: {bad:?}");
        ensure!(late.failures.is_empty(), "{death:?}, while it was out: {:?}", late.failures);
        ensure!(late.servers.keys().eq([death.other()]), "{death:?}: {late:?}");
    }

    for death in Death::ALL {
        world.heal(death)?;
    }
    let come = wait_for_each(&xlvs, up, longest_to_come() + MARGIN)?;
    wait_for_maps(&xlvs, true)?;
    let returned = Instant::now();
    let late = world.meanwhile(&loads)?;
    for ((load, (_, late)), death) in loads.iter().zip(late).zip(Death::ALL) {
        ensure!(late.failures.is_empty(), "{death:?}, after it was back: {:?}", late.failures);
        let served: Vec<&str> = late.servers.keys().map(String::as_str).collect();
        let wanted: &[&str] = match death {
            Death::LastProcess => &["victim"],
            _ => &["companion", "victim"],
        };
        assert_eq!(served, wanted, "{death:?}");
        let report = load.report();
        let bad = harmed(&report, returned);
        ensure!(bad.is_empty(), "{death:?}, after it was back: {bad:?}");
        // With the sorry server go the connections that it has.
        let other = |server: &str| !["victim", "sorry"].contains(&server);
        let lost = |one: &Failure| one.server.as_deref().is_some_and(other);
        ensure!(!report.failures.iter().any(lost), "{death:?}: {:?}", report.failures);
    }
    let calm = calm.settle()?;
    ensure!(calm.failures.is_empty(), "{:?}", calm.failures);
    for ((death, gone), come) in Death::ALL.iter().zip(gone).zip(come) {
        say(format_args!("{death:?}: out after {gone:.2?}, back after {come:.2?}"));
    }
    say(format_args!(
        "the file gives {:.1?} and {:.1?}; a service that nothing happened to: {} requests on {} connections, none failed, \
         the slowest took {:.1?}",
        longest_to_go(),
        longest_to_come(),
        calm.requests,
        calm.connections,
        calm.slowest
    ));
    fs::remove_file(ca)?;
    assert!(xlvs.stop()?.success());
    Ok(())
}
