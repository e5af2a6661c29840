//! Clients that ask all the time while something happens, and what has become of every request: some on one connection
//! each that they keep, some on a new one for each request.
//!
//! They pause a little between requests: a client has not more ports than a minute of new connections takes, and the
//! machine has other work to do.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use tokio::sync::oneshot;

use super::client::Connection;
use crate::netns::{self, Netns};

/// Between two requests on one connection.
const KEEP_ALIVE_PAUSE: Duration = Duration::from_millis(2);
/// Between two connections.
const SHORT_PAUSE: Duration = Duration::from_millis(5);
/// After a failure.
const FAILED_PAUSE: Duration = Duration::from_millis(20);
/// More than a request may take.
const SETTLED: Duration = Duration::from_secs(30);

/// How many clients of each kind.
#[derive(Clone, Copy, Debug)]
pub struct Clients {
    /// Those that keep their connections.
    pub keep_alive: usize,
    /// Those with a new one for each request.
    pub short: usize,
}

/// What has become of the requests so far.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Requests that were answered.
    pub requests: u64,
    /// Connections that were opened.
    pub connections: u64,
    /// Which server has answered how many requests.
    pub servers: BTreeMap<String, u64>,
    /// The longest that an answer took.
    pub slowest: Duration,
    /// Requests that were not answered.
    pub failures: Vec<Failure>,
}

/// A request that was not answered.
#[derive(Clone, Debug)]
pub struct Failure {
    /// When it was begun.
    pub began: Instant,
    /// The client's address and port, if there was a connection.
    pub client: Option<SocketAddr>,
    /// The server that had answered on this connection before, if any had.
    pub server: Option<String>,
    /// What has happened.
    pub error: String,
}

/// Clients at work; they end when this value is dropped.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    release: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

#[derive(Debug)]
struct Shared {
    address: SocketAddr,
    asking: AtomicBool,
    /// Clients that have not made their last request.
    busy: AtomicUsize,
    report: Mutex<Report>,
}

impl Load {
    /// Starts clients in a namespace.
    pub fn start(
        netns: &Netns,
        address: impl Into<SocketAddr>,
        Clients { keep_alive, short }: Clients,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            address: address.into(),
            asking: AtomicBool::new(true),
            busy: AtomicUsize::new(keep_alive + short),
            report: Mutex::default(),
        });
        let (release, released) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let thread = netns.spawn(move || {
            netns::runtime()?.block_on(async move {
                let mut clients = tokio::task::JoinSet::new();
                for _ in 0..keep_alive {
                    clients.spawn(keep_asking(Arc::clone(&of_thread)));
                }
                for _ in 0..short {
                    clients.spawn(ask_anew(Arc::clone(&of_thread)));
                }
                // Dropped, they end, whatever they wait for.
                released.await.ok();
                Ok(())
            })
        })?;
        Ok(Self { shared, release: Some(release), thread: Some(thread) })
    }

    /// What has come of it so far.
    #[must_use]
    pub fn report(&self) -> Report {
        self.shared.report.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has the clients make no more requests, and waits for the answers. Connections that are kept stay open.
    pub fn settle(&self) -> Result<Report> {
        self.shared.asking.store(false, Ordering::Relaxed);
        let start = Instant::now();
        while self.shared.busy.load(Ordering::Relaxed) > 0 {
            ensure!(start.elapsed() < SETTLED, "the clients still wait for answers");
            sleep(Duration::from_millis(5));
        }
        Ok(self.report())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        drop(self.release.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

impl Shared {
    fn asking(&self) -> bool {
        self.asking.load(Ordering::Relaxed)
    }

    fn note(&self, change: impl FnOnce(&mut Report)) {
        change(&mut self.report.lock().unwrap_or_else(PoisonError::into_inner));
    }

    async fn open(&self, began: Instant) -> Option<Connection> {
        match Connection::open(self.address).await {
            Ok(connection) => {
                self.note(|report| report.connections += 1);
                Some(connection)
            }
            Err(error) => {
                let error = format!("{error:#}");
                self.fail(Failure { began, client: None, server: None, error }).await;
                None
            }
        }
    }

    /// Asks once, and tells who has answered.
    async fn ask(
        &self,
        began: Instant,
        connection: &mut Connection,
        server: Option<&str>,
    ) -> Option<String> {
        match connection.ask().await {
            Ok(answer) => {
                self.note(|report| {
                    report.requests += 1;
                    *report.servers.entry(answer.server.clone()).or_default() += 1;
                    report.slowest = report.slowest.max(began.elapsed());
                });
                Some(answer.server)
            }
            Err(error) => {
                let (client, server) = (Some(connection.local()), server.map(str::to_owned));
                let error = format!("{error:#}");
                self.fail(Failure { began, client, server, error }).await;
                None
            }
        }
    }

    async fn fail(&self, failure: Failure) {
        self.note(|report| report.failures.push(failure));
        tokio::time::sleep(FAILED_PAUSE).await;
    }
}

async fn keep_asking(shared: Arc<Shared>) {
    let mut kept = None;
    while shared.asking() {
        let began = Instant::now();
        let Some(mut connection) = shared.open(began).await else { continue };
        let mut server = shared.ask(began, &mut connection, None).await;
        while server.is_some() && shared.asking() {
            tokio::time::sleep(KEEP_ALIVE_PAUSE).await;
            server = shared.ask(Instant::now(), &mut connection, server.as_deref()).await;
        }
        kept = server.map(|_| connection);
    }
    shared.busy.fetch_sub(1, Ordering::Relaxed);
    std::future::pending::<()>().await;
    drop(kept);
}

async fn ask_anew(shared: Arc<Shared>) {
    while shared.asking() {
        let began = Instant::now();
        if let Some(mut connection) = shared.open(began).await {
            shared.ask(began, &mut connection, None).await;
        }
        tokio::time::sleep(SHORT_PAUSE).await;
    }
    shared.busy.fetch_sub(1, Ordering::Relaxed);
}
