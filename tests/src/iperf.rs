//! `iperf3`: as many bytes as will go, for a time. TCP and UDP use the same port, and a UDP test begins
//! with a TCP connection: a balancer needs a service for each, with the same one server.

use std::net::SocketAddr;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::family::Family;
use crate::netns::Netns;
use crate::process::{Background, Lifetime, POLL};

/// The port that iperf3 has by itself.
pub const PORT: u16 = 5201;

/// How long the server may take to start, and to be through with the test before, and a client to say what it wants.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// From the client to the server.
    Up,
    /// From the server to the client.
    Down,
}

/// A test.
#[derive(Clone, Copy, Debug)]
pub struct Test {
    /// Where the server is, or the service in front of it.
    pub address: SocketAddr,
    /// Which way.
    pub direction: Direction,
    /// Bits per second of UDP; TCP without.
    pub udp: Option<u64>,
    /// How long.
    pub time: Duration,
}

/// What iperf3 says that was moved.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Bytes that were sent.
    pub sent: u64,
    /// Bytes that arrived.
    pub received: u64,
    /// TCP segments that were sent again.
    pub retransmits: u64,
    /// UDP datagrams.
    pub datagrams: u64,
    /// UDP datagrams that did not arrive.
    pub lost: u64,
}

/// A server that takes one test after the other; killed when dropped.
#[derive(Debug)]
pub struct Server {
    _process: Background,
}

impl Server {
    /// Starts a server inside a namespace. It listens when this returns.
    pub fn start(netns: &Netns, address: SocketAddr, log: &Path) -> Result<Self> {
        let arguments = [
            "--server".to_owned(),
            "--forceflush".to_owned(),
            format!("--port={}", address.port()),
            format!("--bind={}", address.ip()),
        ];
        let program = Path::new("iperf3");
        let mut process = Background::spawn(netns, program, &arguments, log, Lifetime::Bound)?;
        let give_up = Instant::now() + PATIENCE;
        loop {
            let said = std::fs::read_to_string(log).unwrap_or_default();
            if said.contains("Server listening") {
                return Ok(Self { _process: process });
            }
            if process.ended()?.is_some() || Instant::now() > give_up {
                bail!("the iperf3 server on {address} did not start: {said}");
            }
            sleep(POLL);
        }
    }
}

impl Test {
    /// Runs the client inside a namespace.
    pub fn run(&self, netns: &Netns) -> Result<Outcome> {
        let give_up = Instant::now() + PATIENCE;
        loop {
            let report = self.report(netns)?;
            match report.get("error").and_then(Value::as_str) {
                None => {
                    return outcome(&report)
                        .with_context(|| format!("iperf3 says nothing of bytes: {report}"));
                }
                // The client of the test before was told its end before the server was through with it.
                Some(error) if error.contains("busy") && Instant::now() < give_up => sleep(POLL),
                Some(error) => bail!("iperf3: {error}"),
            }
        }
    }

    /// What the client reports, which is an error perhaps.
    fn report(&self, netns: &Netns) -> Result<Value> {
        let Self { address, direction, udp, time } = self;
        let seconds = time.as_secs().max(1);
        let mut command = netns.command("timeout");
        command.args(["--signal=KILL", &(seconds + 20).to_string(), "iperf3", "--json"]);
        command.arg(Family::from(address.ip()).option());
        command.arg(format!("--client={}", address.ip()));
        command.arg(format!("--port={}", address.port()));
        command.arg(format!("--time={seconds}"));
        command.arg(format!("--connect-timeout={}", PATIENCE.as_millis()));
        if *direction == Direction::Down {
            command.arg("--reverse");
        }
        if let Some(rate) = udp {
            command.args(["--udp", &format!("--bitrate={rate}")]);
        }
        // It says what is wrong in its JSON, and ends with an error then.
        let output = command.output().context("iperf3 did not start")?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text)
            .with_context(|| format!("iperf3 ended ({}) with: {text}", output.status))
    }
}

fn outcome(report: &Value) -> Option<Outcome> {
    let number = |path: &str| report.pointer(path).and_then(Value::as_u64);
    let sum = if report.pointer("/end/sum_sent/bytes").is_some() { "sum_sent" } else { "sum" };
    let sent = number(&format!("/end/{sum}/bytes"))?;
    Some(Outcome {
        sent,
        received: number("/end/sum_received/bytes").unwrap_or(sent),
        retransmits: number("/end/sum_sent/retransmits").unwrap_or_default(),
        datagrams: number("/end/sum/packets").unwrap_or_default(),
        lost: number("/end/sum/lost_packets").unwrap_or_default(),
    })
}
