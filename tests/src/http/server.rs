//! The server: `GET /` names it and its client, `GET /bytes/N` streams a payload, `POST /sha256`
//! hashes one, and `GET /record` tells what it has counted, without being counted itself. `GET /health` is not counted
//! either: it says what a test wants it to say, over TLS if the server has a certificate.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;
use tokio_rustls::TlsAcceptor;

use super::Answer;
use crate::netns::{self, Netns};
use crate::payload::{self, Payload};

/// What `GET /health` says at first.
pub const WELL: &str = "well";
/// Its MD5 sum.
pub const WELL_DIGEST: &str = "f9323f5b51fc23e30c10623bd38de6ff";

type Reply = Response<Either<Full<Bytes>, Payload>>;

/// What a server has counted since its start.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Record {
    /// How many requests it answered.
    pub requests: u64,
    /// How many of them came from which address.
    pub clients: BTreeMap<IpAddr, u64>,
}

/// A server on a thread of this process, for tests; it ends when this value is dropped.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Server {
    /// Starts a server inside a namespace. It listens when this returns.
    pub fn start(netns: &Netns, name: &str, address: impl Into<SocketAddr>) -> Result<Self> {
        let address = address.into();
        let listener = netns.run(|| listen(address))?;
        let shared = Shared::new(name);
        let (stop, stopped) = oneshot::channel();
        let of_thread = Arc::clone(&shared);
        let thread = netns.spawn(move || {
            netns::runtime()?.block_on(async {
                tokio::select! {
                    result = accept(listener, of_thread) => result,
                    _ = stopped => Ok(()),
                }
            })
        })?;
        Ok(Self { shared, stop: Some(stop), thread: Some(thread) })
    }

    /// Has `GET /health` be answered like this.
    pub fn set_health(&self, status: StatusCode, body: &'static str) {
        *self.shared.health.lock().unwrap_or_else(PoisonError::into_inner) = (status, body);
    }

    /// Has connections from now on be TLS, with this certificate.
    pub fn set_tls(&self, acceptor: TlsAcceptor) {
        *self.shared.tls.lock().unwrap_or_else(PoisonError::into_inner) = Some(acceptor);
    }

    /// What the server has counted so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.shared.record()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Serves in the namespace of the calling thread until the process ends, for the demo.
pub fn serve(name: &str, address: SocketAddr) -> Result<()> {
    let listener = listen(address)?;
    netns::runtime()?.block_on(accept(listener, Shared::new(name)))
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let listener =
        TcpListener::bind(address).with_context(|| format!("the HTTP server on {address}"))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) -> Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (stream, peer) = listener.accept().await?;
        let shared = Arc::clone(&shared);
        let tls = shared.tls.lock().unwrap_or_else(PoisonError::into_inner).clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let shared = Arc::clone(&shared);
                async move { Ok::<_, Infallible>(shared.reply(request, peer).await) }
            });
            // A client that goes away is the client's business, and a test sees it there.
            match tls {
                None => drop(http().serve_connection(TokioIo::new(stream), service).await),
                Some(tls) => {
                    if let Ok(stream) = tls.accept(stream).await {
                        drop(http().serve_connection(TokioIo::new(stream), service).await);
                    }
                }
            }
        });
    }
}

fn http() -> hyper::server::conn::http1::Builder {
    hyper::server::conn::http1::Builder::new()
}

struct Shared {
    name: String,
    record: Mutex<Record>,
    health: Mutex<(StatusCode, &'static str)>,
    tls: Mutex<Option<TlsAcceptor>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Shared {
    fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            record: Mutex::default(),
            health: Mutex::new((StatusCode::OK, WELL)),
            tls: Mutex::default(),
        })
    }

    fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, client: IpAddr) {
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.requests += 1;
        *record.clients.entry(client).or_default() += 1;
    }

    async fn reply(&self, request: Request<Incoming>, peer: SocketAddr) -> Reply {
        let (head, body) = request.into_parts();
        let path = head.uri.path();
        if head.method == Method::GET && path == "/record" {
            return json(&self.record());
        }
        if head.method == Method::GET && path == "/health" {
            let (status, body) = *self.health.lock().unwrap_or_else(PoisonError::into_inner);
            return text(status, body);
        }
        self.count(peer.ip());
        match (&head.method, path.strip_prefix("/bytes/").map(str::parse)) {
            (&Method::GET, Some(Ok(len))) => Response::new(Either::Right(Payload::new(len))),
            (&Method::GET, None) if path == "/" => {
                json(&Answer { server: self.name.clone(), client: peer.ip(), port: peer.port() })
            }
            (&Method::POST, None) if path == "/sha256" => match hash(body).await {
                Ok(hash) => text(StatusCode::OK, hash),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            },
            _ => text(StatusCode::NOT_FOUND, "try /, /bytes/N, /sha256 or /record\n"),
        }
    }
}

async fn hash(mut body: Incoming) -> Result<String, hyper::Error> {
    let mut hash = Sha256::new();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            hash.update(data);
        }
    }
    Ok(payload::hex(hash))
}

fn json(value: &impl Serialize) -> Reply {
    match serde_json::to_string(value) {
        Ok(answer) => text(StatusCode::OK, answer + "\n"),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Reply {
    let mut reply = Response::new(Either::Left(Full::new(text.into())));
    *reply.status_mut() = status;
    reply
}
