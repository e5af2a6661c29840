//! All of it together, on loopback.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinHandle,
    time::{sleep, timeout},
};

mod files;
pub(in crate::health) mod hang;
mod told;

use super::{
    Endpoint, Health, Past, ServiceId, State, all_serve, apply,
    service::tests::{connection, real_server, schedule, virtual_server},
};
use crate::config::{
    Check, Checker, Config, FileCheck, Forwarding, Global, InitialValue, Line, MiscCheck,
    NotifyFifo, RealServer, Schedule, Script, SorryServer, Target, TrackFile, VirtualServer,
};
use crate::inspect::ServiceName;

/// What only a bug or a dead machine exceeds.
const LIMIT: Duration = Duration::from_secs(20);

/// A real server that can die and come back, and counts who asks.
struct Peer {
    address: SocketAddr,
    asked: Arc<AtomicUsize>,
    task: Option<JoinHandle<()>>,
}

impl Peer {
    async fn new() -> Self {
        let probe = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = probe.local_addr().unwrap();
        drop(probe);
        let mut peer = Self { address, asked: Arc::default(), task: None };
        peer.live();
        peer
    }

    fn live(&mut self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        let listener = socket.listen(64).unwrap();
        let asked = Arc::clone(&self.asked);
        self.task = Some(tokio::spawn(async move {
            while listener.accept().await.is_ok() {
                asked.fetch_add(1, Ordering::Relaxed);
            }
        }));
    }

    async fn die(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
            drop(task.await);
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn server(&self, weight: u32) -> RealServer {
        let check = Check::Tcp(connection(Ipv4Addr::LOCALHOST, self.address.port()));
        let port = self.address.port();
        RealServer { port, ..with(check, real_server(Ipv4Addr::LOCALHOST, weight)) }
    }
}

fn quick() -> Schedule {
    Schedule {
        delay_loop: Duration::from_millis(50),
        retry: 0,
        delay_before_retry: Duration::from_millis(10),
        ..schedule()
    }
}

fn with(check: Check, mut server: RealServer) -> RealServer {
    server.checkers.push(Arc::new(Checker { check, schedule: quick(), line: Line(1) }));
    server
}

fn service(last: u8, real_servers: Vec<RealServer>) -> VirtualServer {
    VirtualServer {
        real_servers: Arc::new(real_servers),
        ..virtual_server(Ipv4Addr::new(192, 0, 2, last))
    }
}

fn config(services: Vec<VirtualServer>) -> Config {
    Config { services, ..Config::default() }
}

fn start(config: &Config) -> Health {
    Health::start(config, &BTreeSet::new())
}

/// `8001*1 100*1`, by ports, of a service.
fn pool(config: &Config, state: &State, service: usize) -> String {
    let config = apply(config, state);
    let servers = config.services[service].real_servers.iter();
    servers.map(|server| format!("{}*{}", server.port, server.weight)).collect::<Vec<_>>().join(" ")
}

/// Waits for a pool.
async fn until(health: &mut Health, config: &Config, service: usize, wanted: &str) {
    let reached = async {
        while pool(config, health.state(), service) != wanted {
            health.changed().await;
        }
    };
    let reached = timeout(LIMIT, reached).await;
    let is = pool(config, health.state(), service);
    assert!(reached.is_ok(), "{is:?} instead of {wanted:?}");
}

/// Lets the checks go on until something holds.
async fn until_true(health: &mut Health, what: impl Fn() -> bool) {
    let reached = async {
        while !what() {
            drop(timeout(Duration::from_millis(10), health.changed()).await);
        }
    };
    assert!(timeout(LIMIT, reached).await.is_ok(), "it never came to that");
}

#[tokio::test]
async fn who_dies_is_out_and_comes_back() {
    let (mut one, mut two) = (Peer::new().await, Peer::new().await);
    let (first, second) = (one.address.port(), two.address.port());
    let mut config = config(vec![service(1, vec![one.server(3), two.server(2)])]);
    config.services[0].sorry_server = Some(SorryServer {
        address: Ipv4Addr::LOCALHOST.into(),
        port: 9,
        forwarding: Forwarding::FullNat,
        inhibit: false,
        line: Line(7),
    });
    let mut health = start(&config);
    assert_eq!(pool(&config, health.state(), 0), format!("{first}*3 {second}*2"));
    one.die().await;
    until(&mut health, &config, 0, &format!("{second}*2")).await;
    two.die().await;
    until(&mut health, &config, 0, "9*1").await;
    let sorry = apply(&config, health.state()).services[0].real_servers[0].clone();
    assert_eq!((sorry.forwarding, sorry.line.0), (Forwarding::FullNat, 7));
    one.live();
    until(&mut health, &config, 0, &format!("{first}*3")).await;
    two.live();
    until(&mut health, &config, 0, &format!("{first}*3 {second}*2")).await;
}

#[tokio::test]
async fn the_same_check_runs_once() {
    let mut peer = Peer::new().await;
    let port = peer.address.port();
    let config = config((1..=20).map(|at| service(at, vec![peer.server(u32::from(at))])).collect());
    let mut health = start(&config);
    assert_eq!(health.checks(), 1);
    until_true(&mut health, || peer.asked() >= 3).await;
    peer.die().await;
    until(&mut health, &config, 0, "").await;
    // In one go for all.
    assert_eq!(pool(&config, health.state(), 19), "");
    peer.live();
    until(&mut health, &config, 19, &format!("{port}*20")).await;
    assert_eq!(pool(&config, health.state(), 0), format!("{port}*1"));
}

#[tokio::test]
async fn a_reload_keeps_states_and_schedules() {
    let (mut dead, alive) = (Peer::new().await, Peer::new().await);
    dead.die().await;
    let port = alive.address.port();
    let mut one = config(vec![service(1, vec![dead.server(1), alive.server(1)])]);
    for server in Arc::make_mut(&mut one.services[0].real_servers) {
        Arc::make_mut(&mut server.checkers[0]).schedule.delay_loop = Duration::from_secs(3600);
    }
    let mut health = start(&one);
    until(&mut health, &one, 0, &format!("{port}*1")).await;
    until_true(&mut health, || alive.asked() == 1).await;
    // Another service, which has the same servers among others, and another weight.
    let mut two = one.clone();
    Arc::make_mut(&mut two.services[0].real_servers)[1].weight = 9;
    let mut second = two.services[0].clone();
    second.target = Target::Mark(7);
    two.services.push(second);
    health.reload(&two, &BTreeSet::new());
    assert_eq!(health.checks(), 2);
    // The new service knows at once what the old one knows.
    assert_eq!(pool(&two, health.state(), 0), format!("{port}*9"));
    assert_eq!(pool(&two, health.state(), 1), format!("{port}*9"));
    sleep(Duration::from_millis(200)).await;
    assert_eq!(alive.asked(), 1);
    health.reload(&one, &BTreeSet::new());
    assert_eq!(health.state().pools.len(), 1);
    // Another schedule: the check starts anew, and knows what it knew.
    let mut three = one.clone();
    let servers = Arc::make_mut(&mut three.services[0].real_servers);
    Arc::make_mut(&mut servers[0].checkers[0]).schedule.retry = 7;
    health.reload(&three, &BTreeSet::new());
    assert_eq!(pool(&three, health.state(), 0), format!("{port}*1"));
    // Other servers: nobody is asked any more.
    health.reload(&config(Vec::new()), &BTreeSet::new());
    assert_eq!((health.checks(), health.state().pools.len()), (0, 0));
}

#[tokio::test]
async fn a_restart_goes_on_from_what_was_found() {
    let folder = TempDir::new().unwrap();
    let (program, log) = writer(folder.path());
    let (mut dead, mut alive) = (Peer::new().await, Peer::new().await);
    dead.die().await;
    let (first, second) = (dead.address.port(), alive.address.port());
    let mut config = config(vec![service(1, vec![dead.server(1), alive.server(1)])]);
    for server in Arc::make_mut(&mut config.services[0].real_servers) {
        let schedule = &mut Arc::make_mut(&mut server.checkers[0]).schedule;
        (schedule.retry, schedule.delay_before_retry) = (1, Duration::from_millis(300));
        server.notify_down = Some(script(&[&program, "down"]).into());
    }
    config.services[0].quorum.up = Some(script(&[&program, "quorum"]));
    let mut health = start(&config);
    until(&mut health, &config, 0, &format!("{second}*1")).await;
    let written = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    until_true(&mut health, || written() == 2).await;
    let memory = serde_json::to_string(&health.new_memory().unwrap()).unwrap();
    assert!(health.new_memory().is_none());
    drop(health);
    let target = ServiceId::of_all(&config).remove(0);
    let ServiceId::Single { target, family, protocol } = target else { panic!("a group") };
    let there = Endpoint { address: Ipv4Addr::LOCALHOST.into(), port: second };
    let past = Past {
        memory: serde_json::from_str(&memory).unwrap(),
        serving: [(ServiceName::new(target, protocol, family), [there].into())].into(),
    };
    alive.die().await;
    let started = std::time::Instant::now();
    let mut health = Health::go_on(&config, &BTreeSet::new(), &past);
    assert_eq!(pool(&config, health.state(), 0), format!("{second}*1"));
    // It was up: that needs a second try.
    until(&mut health, &config, 0, "").await;
    assert!(started.elapsed() >= Duration::from_millis(300));
    until_true(&mut health, || written() == 3).await;
    dead.live();
    until(&mut health, &config, 0, &format!("{first}*1")).await;
    alive.live();
    until(&mut health, &config, 0, &format!("{first}*1 {second}*1")).await;
    // All is as it should be.
    let nothing = r#"{"services":[]}"#;
    assert_eq!(serde_json::to_string(&health.new_memory().unwrap()).unwrap(), nothing);
}

#[tokio::test]
async fn what_is_down_for_another_reason_says_so() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("why");
    fs::write(&file, "1").unwrap();
    let words = ["/bin/sh", "-c", "read code < $0; exit $code", file.to_str().unwrap()];
    let timeout_of_it = Duration::from_secs(5);
    let check =
        Check::Misc(MiscCheck { script: script(&words), timeout: timeout_of_it, dynamic: false });
    let server = with(check, real_server(Ipv4Addr::LOCALHOST, 1));
    let config = config(vec![service(1, vec![server])]);
    let mut health = start(&config);
    for code in ["1", "3", "1"] {
        fs::write(&file, code).unwrap();
        let told = async {
            loop {
                health.changed().await;
                let memory = health.new_memory().unwrap_or_default();
                let down = memory.services.first().and_then(|service| service.servers.first());
                if down.is_some_and(|server| server.why().ends_with(code)) {
                    return;
                }
            }
        };
        assert!(timeout(LIMIT, told).await.is_ok(), "exit code {code} was never told");
    }
}

fn script(words: &[&str]) -> Script {
    Script { command: words.iter().map(|word| (*word).to_owned()).collect(), user: None }
}

/// A program that writes its arguments to a file, and that file.
fn writer(folder: &Path) -> (String, std::path::PathBuf) {
    use std::os::unix::fs::PermissionsExt as _;
    let (program, log) = (folder.join("write"), folder.join("log"));
    fs::write(&program, format!("#!/bin/sh\necho \"$@\" >> {}\n", log.display())).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    (program.to_str().unwrap().to_owned(), log)
}

#[tokio::test]
async fn nobody_is_told_before_packets_flow() {
    let folder = TempDir::new().unwrap();
    let (program, log) = writer(folder.path());
    let mut peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    config.services[0].quorum.up = Some(script(&[&program, "up"]));
    config.services[0].quorum.down = Some(script(&[&program, "down"]));
    let mut health = Health::start_quietly(&config, &BTreeSet::new());
    peer.die().await;
    until(&mut health, &config, 0, "").await;
    // Checks were made and waited for; the script of the first moment would have run long ago.
    assert!(!log.exists());
    health.packets_flow();
    let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count() >= 2;
    until_true(&mut health, lines).await;
    health.stop().await;
}

#[tokio::test]
async fn a_script_sets_the_weight() {
    let folder = TempDir::new().unwrap();
    let code = folder.path().join("code");
    fs::write(&code, "0").unwrap();
    let line = format!("exit $(cat {})", code.display());
    let check = |dynamic| {
        Check::Misc(MiscCheck {
            script: script(&["sh", "-c", &line]),
            timeout: Duration::from_secs(5),
            dynamic,
        })
    };
    let server =
        |port, check| with(check, RealServer { port, ..real_server(Ipv4Addr::LOCALHOST, 10) });
    let config = config(vec![service(1, vec![server(1, check(true)), server(2, check(false))])]);
    let mut health = start(&config);
    for (text, wanted) in
        [("42", "1*40"), ("2", "1*0"), ("3", "1*1"), ("1", ""), ("0", "1*10 2*10")]
    {
        let new = folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(&new, &code).unwrap();
        let both = |pool: &str| {
            let mut servers: Vec<&str> = pool.split(' ').collect();
            servers.sort_unstable();
            servers.join(" ")
        };
        let reached = async {
            while both(&pool(&config, health.state(), 0)) != wanted {
                health.changed().await;
            }
        };
        assert!(timeout(LIMIT, reached).await.is_ok(), "{text}");
    }
}

#[tokio::test]
async fn checks_rest_while_the_address_is_elsewhere() {
    let peer = Peer::new().await;
    let mut config = config(vec![service(1, vec![peer.server(1)])]);
    config.services[0].ha_suspend = true;
    let mut health = start(&config);
    sleep(Duration::from_millis(300)).await;
    assert_eq!(peer.asked(), 0);
    let local = BTreeSet::from([Ipv4Addr::new(192, 0, 2, 1).into()]);
    health.set_addresses(&local);
    until_true(&mut health, || peer.asked() > 0).await;
    // Another service that has its address wants the same check.
    config.services.push(service(2, vec![peer.server(1)]));
    health.reload(&config, &BTreeSet::new());
    let asked = peer.asked();
    until_true(&mut health, || peer.asked() > asked).await;
}

#[tokio::test]
async fn who_comes_again_by_an_edit_is_the_newest() {
    let server = |port| RealServer { port, ..real_server(Ipv4Addr::LOCALHOST, 1) };
    let config = config(vec![service(1, vec![server(1), server(2)])]);
    let mut health = start(&config);
    let VirtualServer { target, protocol, family, .. } = config.services[0];
    let name = ServiceName::new(target, protocol, family);
    health.came_again(name, Endpoint { address: Ipv4Addr::LOCALHOST.into(), port: 1 });
    assert_eq!(pool(&config, health.state(), 0), "2*1 1*1");
    assert!(!all_serve(&config, health.state()));
}

#[tokio::test]
async fn the_services_of_a_group_share_their_health() {
    let mut peer = Peer::new().await;
    let port = peer.address.port();
    let grouped = |last, line| VirtualServer {
        group: Some("web".to_owned()),
        line,
        ..service(last, vec![peer.server(1)])
    };
    let config = config(vec![grouped(1, 10), grouped(2, 10), grouped(3, 20)]);
    let mut health = start(&config);
    assert_eq!((health.checks(), health.state().pools.len()), (1, 2));
    assert_eq!(pool(&config, health.state(), 1), format!("{port}*1"));
    peer.die().await;
    until(&mut health, &config, 0, "").await;
    assert_eq!(pool(&config, health.state(), 1), "");
    assert_eq!(pool(&config, health.state(), 2), "");
    // What the state does not know stays as it is.
    let more = Config { services: vec![service(9, vec![peer.server(4)])], ..Config::default() };
    assert_eq!(pool(&more, health.state(), 0), format!("{port}*4"));
}

/// A service of many checks of one peer, which are all different.
fn many(peer: &Peer, count: u8, schedule: &Schedule) -> Config {
    let server = |at: u8| {
        let mut server = RealServer { port: u16::from(at), ..peer.server(1) };
        let checker = Arc::make_mut(&mut server.checkers[0]);
        checker.schedule = schedule.clone();
        if let Check::Tcp(connection) = &mut checker.check {
            connection.bind_address = Some(Ipv4Addr::new(127, 0, 1, at).into());
        }
        server
    };
    config(vec![service(1, (1..=count).map(server).collect())])
}

#[tokio::test(start_paused = true)]
async fn checks_come_at_their_time() {
    let mut peer = Peer::new().await;
    let schedule = Schedule { retry: 2, ..schedule() };
    let config = many(&peer, 1, &schedule);
    let mut health = start(&config);
    // At 0, 10, ... 90 seconds.
    drop(timeout(Duration::from_secs(95), health.changed()).await);
    assert_eq!(peer.asked(), 10);
    peer.die().await;
    // At 100 seconds it fails, and 1 and 2 seconds later again.
    let dies = tokio::time::Instant::now();
    health.changed().await;
    assert_eq!(pool(&config, health.state(), 0), "");
    assert_eq!(dies.elapsed().as_secs(), 7);
    peer.live();
    // Ten seconds after the last try it is asked again.
    let lives = tokio::time::Instant::now();
    health.changed().await;
    assert_eq!(pool(&config, health.state(), 0), "1*1");
    assert_eq!(lives.elapsed().as_secs(), 10);
}

#[tokio::test(start_paused = true)]
async fn the_first_checks_are_spread() {
    let peer = Peer::new().await;
    let schedule = Schedule { warmup: Duration::from_secs(10), ..schedule() };
    let mut health = start(&many(&peer, 200, &schedule));
    drop(timeout(Duration::from_secs(5), health.changed()).await);
    let half = peer.asked();
    assert!((60..=140).contains(&half), "{half} of 200 in the first half");
    drop(timeout(Duration::from_secs(5), health.changed()).await);
    assert!((195..=205).contains(&peer.asked()), "{} of 200", peer.asked());
}
