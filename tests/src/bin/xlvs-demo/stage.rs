//! The stage: namespaces, web servers and files, under names that a person can type.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::client::Connection;
use lvs_tests::http::server::Record;
use lvs_tests::netns::Netns;
use lvs_tests::process::{Background, Lifetime};
use lvs_tests::scratch;
use lvs_tests::topology::{INTERFACES, SERVERS, Topology, VIRTUAL};
use lvs_tests::xlvs::{Setup, Xlvs};

use crate::interrupt::Interrupt;
use crate::leftovers::Roll;
use crate::terminal::{heading, prompt, say};

/// The head of the namespaces' names.
pub(crate) const PREFIX: &str = "xlvs-demo";
/// Configuration, logs, and the list of processes.
pub(crate) const FOLDER: &str = "/run/xlvs-demo";
/// The pinned maps and links: not those of an instance that this machine may be running in earnest.
pub(crate) const PINS: &str = "/sys/fs/bpf/xlvs-demo";

/// The first request to a web server waits for its start.
const PATIENCE: Duration = Duration::from_secs(10);

/// One of the web servers.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    process: Background,
}

/// All that the demo has set up; whatever is left of it when this is dropped is taken down.
#[derive(Debug)]
pub(crate) struct Stage {
    // In the order in which it is taken down.
    xlvs: Option<Xlvs>,
    pub(crate) webs: Vec<Web>,
    pub(crate) topology: Topology,
    folder: Folder,
    roll: Roll,
    lifetime: Lifetime,
    binary: PathBuf,
}

/// Removes the demo's folders when dropped.
#[derive(Debug)]
struct Folder {
    keep: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.keep {
            scratch::remove(Path::new(PINS));
            scratch::remove(Path::new(FOLDER));
        }
    }
}

impl Stage {
    /// Builds the namespaces and starts the web servers.
    pub(crate) fn build(binary: &Path, keep: bool) -> Result<Self> {
        let binary = binary
            .canonicalize()
            .with_context(|| format!("the xlvs binary {} cannot be used", binary.display()))?;
        heading("a client, a balancer and two web servers, each in a network namespace");
        fs::create_dir_all(FOLDER).with_context(|| FOLDER.to_owned())?;
        let folder = Folder { keep: false };
        let roll = Roll::new()?;
        let topology = Topology::new(PREFIX)?;
        let lifetime = if keep { Lifetime::Free } else { Lifetime::Bound };
        let webs = Vec::new();
        let mut stage = Self { xlvs: None, webs, topology, folder, roll, lifetime, binary };
        for (number, address) in (1..).zip(SERVERS) {
            stage.start_web(format!("web{number}"), address.into())?;
        }
        stage.picture();
        Ok(stage)
    }

    fn start_web(&mut self, name: String, address: SocketAddr) -> Result<()> {
        let netns = self.topology.servers.get(self.webs.len()).context("no such namespace")?;
        let own = std::env::current_exe().context("where is this program?")?;
        let arguments = ["serve".to_owned(), name.clone(), address.to_string()];
        let log = Path::new(FOLDER).join(format!("{name}.log"));
        let process = Background::spawn(netns, &own, &arguments, &log, self.lifetime)?;
        self.roll.add(process.pid())?;
        let give_up = Instant::now() + PATIENCE;
        let mut web = Web { name, address, process };
        while let Err(error) = web.record(netns) {
            let ended = web.process.ended()?.is_some();
            if ended || Instant::now() > give_up {
                let log = fs::read_to_string(log).unwrap_or_default();
                return Err(error.context(format!("{} did not start: {log}", web.name)));
            }
            sleep(Duration::from_millis(20));
        }
        self.webs.push(web);
        Ok(())
    }

    fn picture(&self) {
        let Topology { client, lb, .. } = &self.topology;
        let mut lines = vec![
            format!("  {:<18} 10.64.1.1            sends the requests", client.name()),
            format!("  {:<18} {VIRTUAL:<20} runs xlvs", lb.name()),
        ];
        for (web, netns) in self.webs.iter().zip(&self.topology.servers) {
            let address = web.address.to_string();
            lines.push(format!(
                "  {:<18} {address:<20} {}, a real HTTP server",
                netns.name(),
                web.name
            ));
        }
        for line in &lines {
            say(line);
        }
    }

    /// Starts xlvs with this configuration, after stopping the one that runs.
    pub(crate) fn run_xlvs(&mut self, config: &str, interrupt: &Interrupt) -> Result<()> {
        self.stop_xlvs()?;
        let setup = setup();
        fs::write(&setup.config, config).with_context(|| setup.config.display().to_string())?;
        prompt(&self.xlvs_line(&setup));
        let spawned = Xlvs::spawn(&self.binary, &self.topology.lb, setup, self.lifetime)?;
        let xlvs = self.xlvs.insert(spawned);
        self.roll.add(xlvs.pid())?;
        xlvs.wait_until_ready(|| interrupt.check())?;
        say(xlvs.log().trim_end());
        Ok(())
    }

    fn stop_xlvs(&mut self) -> Result<()> {
        let Some(xlvs) = self.xlvs.take() else { return Ok(()) };
        let status = xlvs.stop()?;
        ensure!(status.success(), "xlvs did not end well after SIGTERM: {status}");
        Ok(())
    }

    /// How to play with what is left standing.
    fn explain(&self) {
        let setup = setup();
        let client = self.topology.client.path();
        let maps = setup.pin_dir.join("v5/maps");
        heading("everything stays, to play with");
        for (what, command) in [
            ("a request", format!("nsenter --net={} curl http://{VIRTUAL}/", client.display())),
            ("the connections", format!("bpftool map dump pinned {}/CONNECTIONS4", maps.display())),
            ("all the maps", format!("ls {}", maps.display())),
            ("the log", format!("tail -f {}", setup.log.display())),
            ("the configuration", format!("${{EDITOR:-vi}} {}", setup.config.display())),
        ] {
            say(&format!("  {:<18} {command}", format!("{what}:")));
        }
        if let Some(xlvs) = &self.xlvs {
            say(&format!("  after a change:    kill -HUP {}", xlvs.pid()));
        }
        say("  to end it all:     cargo xtask demo --down");
    }

    /// The command line of xlvs, as it is to be typed outside the namespaces.
    fn xlvs_line(&self, setup: &Setup) -> String {
        let mut command = self.topology.lb.command(&self.binary);
        lvs_tests::command::line(command.args(setup.arguments()))
    }

    /// What each web server has counted.
    pub(crate) fn records(&self) -> Result<Vec<Record>> {
        self.webs.iter().zip(&self.topology.servers).map(|(web, netns)| web.record(netns)).collect()
    }

    /// Takes everything down, or leaves it standing.
    pub(crate) fn end(mut self, keep: bool) -> Result<()> {
        if !keep {
            self.stop_xlvs()?;
            say("\neverything is taken down again");
            return Ok(());
        }
        self.explain();
        self.topology.keep();
        let Self { xlvs, webs, topology: _, mut folder, .. } = self;
        folder.keep = true;
        for web in webs {
            web.process.leave();
        }
        if let Some(xlvs) = xlvs {
            xlvs.leave();
        }
        Ok(())
    }
}

impl Web {
    /// Asked from the server's own namespace, so that the balancer has no part in it.
    fn record(&self, netns: &Netns) -> Result<Record> {
        netns.block_on(|| async { Connection::open(self.address).await?.json("/record").await })
    }
}

/// Where xlvs finds and puts its files.
pub(crate) fn setup() -> Setup {
    let folder = Path::new(FOLDER);
    Setup {
        config: folder.join("xlvs.conf"),
        pin_dir: PINS.into(),
        runtime_dir: folder.join("run"),
        log: folder.join("xlvs.log"),
        // The topology's interfaces are prepared for it; `auto` cannot know that and would take tc.
        mode: Some("native"),
        interfaces: INTERFACES.map(str::to_owned).to_vec(),
        extra: Vec::new(),
    }
}
