//! Connections one after the other, as fast as they open: what fills a connection table and what
//! comes round to the same ports again.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{Backlog, listen, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::netns::Netns;

/// How long an acceptor waits before it looks whether it shall end, and for a client that is silent.
const LOOK: Duration = Duration::from_millis(200);
/// How long a server waits for its client: longer than a segment that was lost takes to be sent again. To close before
/// would reset the connection.
const PATIENCE: Duration = Duration::from_secs(5);
/// A client sends its SYN again after a second.
const RETRANSMITTED: Duration = Duration::from_millis(900);

/// How a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Close {
    /// In order; the client's end waits in `TIME_WAIT`.
    Fin,
    /// By a reset, which leaves nothing behind.
    Reset,
}

/// What the client does.
#[derive(Clone, Copy, Debug)]
pub struct Opener {
    /// Whereto.
    pub address: SocketAddr,
    /// How each connection ends.
    pub close: Close,
    /// Whether a byte goes each way before that.
    pub exchange: bool,
    /// How long connecting, and the byte's way, may take.
    pub limit: Duration,
    /// Connections a second at most; 0 for as many as can be.
    pub rate: u32,
    /// After so many failures it gives up.
    pub patience: u64,
}

impl Opener {
    /// As fast as possible, with a byte each way; the first failure ends it.
    #[must_use]
    pub fn new(address: SocketAddr, close: Close) -> Self {
        let limit = Duration::from_secs(5);
        Self { address, close, exchange: true, limit, rate: 0, patience: 1 }
    }
}

/// What became of the connections.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// Connections that did all that they should.
    pub good: u64,
    /// Those that did not, by reason.
    pub failed: BTreeMap<String, u64>,
    /// How many of the good ones took so long that a SYN must have been lost.
    pub slow: u64,
    /// How long all of it took.
    pub took: Duration,
}

impl Outcome {
    /// All that were tried.
    #[must_use]
    pub fn tried(&self) -> u64 {
        self.good + self.failed.values().sum::<u64>()
    }

    /// Connections a second.
    #[must_use]
    pub fn rate(&self) -> u64 {
        self.tried() * 1000 / u64::try_from(self.took.as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Takes in what another opener did at the same time.
    pub fn add(&mut self, other: &Self) {
        self.good += other.good;
        self.slow += other.slow;
        self.took = self.took.max(other.took);
        for (reason, count) in &other.failed {
            *self.failed.entry(reason.clone()).or_default() += count;
        }
    }
}

/// Lets a namespace's client open more connections than it has ports, from nearly all of them: a
/// port in `TIME_WAIT` may be used again after a second.
pub fn reuse_ports(netns: &Netns) -> Result<()> {
    netns.set("ipv4/ip_local_port_range", "1025 65000")?;
    netns.set("ipv4/tcp_tw_reuse", "1")
}

impl Opener {
    /// Opens `count` connections from inside a namespace, unless `go_on` says no before.
    pub fn run(
        &self,
        netns: &Netns,
        count: u64,
        go_on: impl Fn() -> bool + Send,
    ) -> Result<Outcome> {
        netns.run(|| Ok(self.open(count, go_on)))
    }

    fn open(&self, count: u64, go_on: impl Fn() -> bool) -> Outcome {
        let mut outcome = Outcome::default();
        let start = Instant::now();
        while outcome.tried() < count && go_on() {
            let begin = Instant::now();
            match self.once() {
                Ok(()) => {
                    outcome.good += 1;
                    outcome.slow += u64::from(begin.elapsed() > RETRANSMITTED);
                }
                Err(error) => {
                    *outcome.failed.entry(error).or_default() += 1;
                    if outcome.failed.values().sum::<u64>() >= self.patience {
                        break;
                    }
                }
            }
            if self.rate > 0 {
                let due = Duration::from_secs(outcome.tried()) / self.rate;
                std::thread::sleep(due.saturating_sub(start.elapsed()));
            }
        }
        outcome.took = start.elapsed();
        outcome
    }

    fn once(&self) -> Result<(), String> {
        let at =
            |place: &'static str| move |error: std::io::Error| format!("{place}: {}", error.kind());
        let mut stream =
            TcpStream::connect_timeout(&self.address, self.limit).map_err(at("connecting"))?;
        if self.exchange {
            stream.set_read_timeout(Some(self.limit)).map_err(at("setting a time limit"))?;
            stream.write_all(b"?").map_err(at("sending"))?;
            let mut answer = [0];
            stream.read_exact(&mut answer).map_err(at("receiving"))?;
            if answer != *b"?" {
                return Err("another byte came back".to_owned());
            }
        }
        if self.close == Close::Reset {
            let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
            let set = setsockopt(&stream, sockopt::Linger, &at_once);
            set.map_err(|error| format!("preparing the reset: {error}"))?;
        }
        Ok(())
    }
}

/// As many as the kernel has room for: `net.core.somaxconn`.
const WAITING: i32 = 4096;

/// A server that accepts, answers one byte if one comes, and closes when its client has. It ends when this
/// value is dropped.
#[derive(Debug)]
pub struct Acceptor {
    accepted: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Acceptor {
    /// Starts inside a namespace; it listens when this returns.
    pub fn start(netns: &Netns, address: SocketAddr) -> Result<Self> {
        let listener = netns.run(|| {
            TcpListener::bind(address).with_context(|| format!("the acceptor on {address}"))
        })?;
        // It serves one after the other: all that come while a client takes its time wait here. The standard library lets only
        // 128 do so.
        listen(&listener, Backlog::new(WAITING)?)?;
        let look = TimeVal::milliseconds(LOOK.as_millis().try_into()?);
        setsockopt(&listener, sockopt::ReceiveTimeout, &look)?;
        let accepted = Arc::<AtomicU64>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (count, asked) = (Arc::clone(&accepted), Arc::clone(&stop));
        let thread = std::thread::Builder::new().name("acceptor".to_owned()).spawn(move || {
            while !asked.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        serve(stream);
                    }
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    // The client went away while it was waiting to be accepted.
                    Err(_) => std::thread::yield_now(),
                }
            }
        })?;
        Ok(Self { accepted, stop, thread: Some(thread) })
    }

    /// How many connections it has accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn serve(mut stream: TcpStream) {
    let mut byte = [0];
    let limited = stream.set_read_timeout(Some(PATIENCE));
    while limited.is_ok() && matches!(stream.read(&mut byte), Ok(1)) {
        if stream.write_all(&byte).is_err() {
            break;
        }
    }
}
