//! What every test here begins with: the standard picture with its two HTTP servers, and `xlvs`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::server::{Record, Server};
use lvs_tests::http::{Answer, client};
use lvs_tests::scratch::Scratch;
use lvs_tests::topology::{CLIENT, SERVERS, Topology, VIRTUAL};
use lvs_tests::xlvs::{Setup, Xlvs};

/// Within what something that is waited for comes, on a machine with other work too.
const COMES: Duration = Duration::from_secs(30);

/// Client, balancer and two HTTP servers in namespaces of this test alone.
#[derive(Debug)]
pub(crate) struct Bed {
    pub(crate) servers: Vec<Server>,
    pub(crate) topology: Topology,
    pub(crate) scratch: Scratch,
}

impl Bed {
    pub(crate) fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let topology = Topology::new(scratch.name())?;
        let servers = (1..)
            .zip(topology.servers.iter().zip(SERVERS))
            .map(|(number, (netns, address))| {
                Server::start(netns, &format!("web{number}"), address)
            })
            .collect::<Result<_>>()?;
        Ok(Self { servers, topology, scratch })
    }

    /// Writes a configuration file, and says where an instance that runs it keeps its parts.
    pub(crate) fn setup(&self, config: &str, mode: Option<&'static str>) -> Result<Setup> {
        Ok(Setup {
            config: self.scratch.write("xlvs.conf", config)?,
            pin_dir: self.scratch.path("bpf"),
            runtime_dir: self.scratch.path("run"),
            log: self.scratch.path("xlvs.log"),
            mode,
            interfaces: self.topology.plan.interfaces(),
            extra: Vec::new(),
        })
    }

    /// Starts `xlvs` with this configuration. It ends before the bed does.
    pub(crate) fn start(&self, config: &str, mode: Option<&'static str>) -> Result<Xlvs> {
        Xlvs::start(&self.topology.lb, self.setup(config, mode)?)
    }

    /// Requests from the client to the virtual service, each on a connection of its own.
    pub(crate) fn ask_many(&self, count: u32, at_once: u32) -> Result<Vec<Answer>> {
        self.topology.client.block_on(|| client::ask_many(VIRTUAL, count, at_once))
    }

    /// Downloads and uploads through the virtual service.
    pub(crate) fn transfer(&self, len: u64) -> Result<()> {
        self.transfer_with(VIRTUAL.into(), len)
    }

    /// Downloads and uploads, and compares the hashes.
    pub(crate) fn transfer_with(&self, address: SocketAddr, len: u64) -> Result<()> {
        let expected = lvs_tests::payload::Payload::new(len).sha256();
        self.topology.client.block_on(|| async move {
            let down = client::Connection::open(address).await?.download(len).await?;
            ensure!(down == expected, "the download differs from what the server sent");
            let up = client::Connection::open(address).await?.upload(len).await?;
            ensure!(up == expected, "the upload differs from what the client sent");
            Ok(())
        })
    }

    /// How many answers each server has counted, and that it saw nobody but the client.
    pub(crate) fn served(&self) -> Result<Vec<u64>> {
        let mut served = Vec::new();
        for Record { requests, clients } in self.servers.iter().map(Server::record) {
            let stranger = clients.keys().find(|address| **address != IpAddr::V4(CLIENT));
            ensure!(stranger.is_none(), "a server saw {stranger:?} instead of the client {CLIENT}");
            served.push(requests);
        }
        Ok(served)
    }
}

/// How often each server is among the answers.
pub(crate) fn by_server(answers: &[Answer]) -> BTreeMap<&str, usize> {
    let mut servers = BTreeMap::new();
    for answer in answers {
        *servers.entry(answer.server.as_str()).or_default() += 1;
    }
    servers
}

/// Waits until something is there, and gives it.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        ensure!(start.elapsed() < COMES, "{what}: not within {COMES:?}");
        sleep(Duration::from_millis(20));
    }
}

/// A number from the environment, for a run that is longer than what every commit can wait for.
pub(crate) fn from_environment(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(value) => value.parse().with_context(|| format!("{name}={value} is not a number")),
        Err(_) => Ok(default),
    }
}

/// A figure for the person who runs the tests, who sees it if `.config/nextest.toml` says so.
pub(crate) fn say(figure: fmt::Arguments<'_>) {
    writeln!(std::io::stderr(), "{figure}").ok();
}
