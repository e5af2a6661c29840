//! A client stays with its server as long as real IPVS would keep it, in real time: the clients of
//! `tests/oracle/persistence.json` at work on real servers.
//!
//! That takes three minutes, so it is begun only, unless `XLVS_TEST_SECONDS` is as much. (The engine does all of it in its
//! own time with every commit, in `lvs-common/tests/engine/persistence.rs`.)

use std::net::SocketAddrV4;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::http::Answer;
use lvs_tests::topology::VIRTUAL;
use lvs_tests::xlvs::{self, Xlvs};
use lvs_tests::{config, skip_unless_possible};
use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::support::{Bed, from_environment, say};

const RECORDED: &str = include_str!("../../oracle/persistence.json");
/// How late the kernel's timers were at most where that was recorded, of their time.
const LATENESS: f64 = 0.03;
/// When connections have ended is known once they are collected, every 5 s.
const COLLECTED: f64 = 7.0;

#[derive(Deserialize)]
struct Recording {
    scenarios: Vec<Scenario>,
}

#[derive(Deserialize)]
struct Scenario {
    name: String,
    events: Vec<Event>,
    /// When the template was gone.
    gone: f64,
}

/// At a second, a connection is opened, or one is closed or reset.
#[derive(Deserialize)]
struct Event {
    at: f64,
    close: Option<usize>,
    reset: Option<usize>,
}

#[test]
fn a_client_stays_as_long_as_in_ipvs() -> Result<()> {
    skip_unless_possible!();
    let seconds = Duration::from_secs(from_environment("XLVS_TEST_SECONDS", 6)?);
    let recording: Recording = serde_json::from_str(RECORDED)?;
    let bed = Bed::new()?;
    // The example file, once for each.
    let text: String = (0..recording.scenarios.len())
        .map(|number| config::EXAMPLE.replace("10000", &port(number).to_string()))
        .collect();
    let xlvs = bed.start(&text, None)?;
    let report = bed.topology.client.block_on(|| async {
        let start = Instant::now();
        let all = (0..).zip(&recording.scenarios).map(|(number, scenario)| Client {
            scenario,
            port: port(number),
            start,
            seconds: seconds.as_secs_f64(),
            xlvs: &xlvs,
        });
        let mut report = String::new();
        // All at the same time.
        for result in futures(all.map(Client::go).collect()).await {
            report += &result?;
        }
        Ok(report)
    })?;
    say(format_args!("{}", report.trim_end()));
    assert!(xlvs.stop()?.success());
    Ok(())
}

const fn port(number: usize) -> u16 {
    10_000 + number as u16
}

/// Waits for all of them, side by side.
async fn futures<F: Future>(all: Vec<F>) -> Vec<F::Output> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut results: Vec<_> = all.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, result) in all.iter_mut().zip(&mut results) {
            if result.is_none()
                && let std::task::Poll::Ready(value) = future.as_mut().poll(context)
            {
                *result = Some(value);
            }
        }
        if results.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    results.into_iter().flatten().collect()
}

/// A client who does what a scenario says.
struct Client<'a> {
    scenario: &'a Scenario,
    port: u16,
    start: Instant,
    seconds: f64,
    xlvs: &'a Xlvs,
}

impl Client<'_> {
    async fn go(self) -> Result<String> {
        let name = &self.scenario.name;
        let report = self.follow().await.with_context(|| name.clone())?;
        Ok(format!("{name}: {report}\n"))
    }

    async fn follow(&self) -> Result<String> {
        let Self { scenario, seconds, .. } = self;
        let mut connections = Vec::new();
        let mut server: Option<String> = None;
        for Event { at, close, reset } in &scenario.events {
            if at > seconds {
                break;
            }
            self.until(*at).await;
            if let Some(which) = close.or(*reset) {
                let ended: Option<TcpStream> = connections.get_mut(which).and_then(Option::take);
                let ended = ended.context("no such connection")?;
                if reset.is_some() {
                    ended.set_zero_linger()?;
                }
                continue;
            }
            let (connection, answered) = self.open().await?;
            ensure!(*server.get_or_insert(answered.clone()) == answered, "at {at} s: {answered}");
            connections.push(Some(connection));
        }
        let Scenario { gone, .. } = scenario;
        if gone + COLLECTED > *seconds {
            return Ok(format!("stays for {seconds} s; the rest takes {gone} s"));
        }
        // Nobody asks: that would start the time anew.
        self.until(gone * (1.0 - LATENESS) - 1.0).await;
        ensure!(self.is_listed()?, "not persistent any more just before {gone} s");
        self.until(gone + COLLECTED).await;
        ensure!(!self.is_listed()?, "persistent still after {gone} s");
        let (_connection, answered) = self.open().await?;
        ensure!(server.as_ref() != Some(&answered), "not scheduled afresh after {gone} s");
        Ok(format!("stays to the end as in IPVS, {gone} s there, and is scheduled afresh"))
    }

    async fn until(&self, second: f64) {
        sleep_until(self.start + Duration::from_secs_f64(second)).await;
    }

    /// A connection on which one request was answered, and by whom.
    async fn open(&self) -> Result<(TcpStream, String)> {
        let mut stream = TcpStream::connect(SocketAddrV4::new(*VIRTUAL.ip(), self.port)).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: example.org\r\n\r\n").await?;
        let (mut answer, mut piece) = (String::new(), [0; 1024]);
        while !answer.ends_with("}\n") {
            let length = stream.read(&mut piece).await?;
            ensure!(length > 0, "no answer: {answer}");
            answer += std::str::from_utf8(piece.get(..length).unwrap_or_default())?;
        }
        let (_, body) = answer.split_once("\r\n\r\n").context("no header")?;
        let Answer { server, .. } = serde_json::from_str(body)?;
        Ok((stream, server))
    }

    /// Whether the client is listed as one who stays.
    fn is_listed(&self) -> Result<bool> {
        let output = Command::new(xlvs::binary()?)
            .args(["connections", "--json", "--service"])
            .arg(format!("{}:{}", VIRTUAL.ip(), self.port))
            .arg("--pin-dir")
            .arg(&self.xlvs.setup().pin_dir)
            .output()?;
        ensure!(output.status.success(), "xlvs connections: {output:?}");
        Ok(String::from_utf8(output.stdout)?.contains(r#""kind":"persistent""#))
    }
}
