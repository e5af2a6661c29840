//! The client: each request on a connection of its own, several connections at a time, or many
//! requests on one connection. All of it within limits of time, so that a lost packet is a failed
//! test with a reason and never a test that hangs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use http_body_util::{BodyExt as _, Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Answer;
use crate::payload::{self, Payload};

/// How long a small request may take, retransmissions included.
const SMALL: Duration = Duration::from_secs(10);
/// How long a transfer may take.
const LARGE: Duration = Duration::from_secs(120);

type Outgoing = Either<Empty<Bytes>, Payload>;

/// One connection, open until it is dropped.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Outgoing>,
    address: SocketAddr,
    local: SocketAddr,
}

impl Connection {
    /// Connects from the namespace of the calling thread.
    pub async fn open(address: impl Into<SocketAddr>) -> Result<Self> {
        let address = address.into();
        let connect = async { Self::over(TcpStream::connect(address).await?).await };
        timeout(SMALL, connect)
            .await
            .with_context(|| format!("no connection to {address} within {SMALL:?}"))?
            .with_context(|| format!("connecting to {address}"))
    }

    /// Speaks HTTP over a connection that is open already.
    pub async fn over(stream: TcpStream) -> Result<Self> {
        let (address, local) = (stream.peer_addr()?, stream.local_addr()?);
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        Ok(Self { sender, address, local })
    }

    /// The client's address and port.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// `GET /`: who answers, and whom did it see?
    pub async fn ask(&mut self) -> Result<Answer> {
        self.json("/").await
    }

    /// `GET` of a small document.
    pub async fn json<T: DeserializeOwned>(&mut self, path: &str) -> Result<T> {
        let body = timeout(SMALL, async {
            let response = self.send(path, Either::Left(Empty::new())).await?;
            anyhow::Ok(response.into_body().collect().await?.to_bytes())
        })
        .await
        .with_context(|| format!("no answer from {}{path} within {SMALL:?}", self.address))??;
        serde_json::from_slice(&body).with_context(|| format!("{}{path}", self.address))
    }

    /// Downloads so many bytes and returns the SHA-256 of what came.
    pub async fn download(&mut self, len: u64) -> Result<String> {
        timeout(LARGE, async {
            let response = self.send(&format!("/bytes/{len}"), Either::Left(Empty::new())).await?;
            let mut body = response.into_body();
            let mut hash = Sha256::new();
            while let Some(frame) = body.frame().await {
                if let Some(data) = frame?.data_ref() {
                    hash.update(data);
                }
            }
            anyhow::Ok(payload::hex(hash))
        })
        .await
        .with_context(|| format!("downloading {len} bytes took more than {LARGE:?}"))?
    }

    /// Uploads so many bytes and returns the SHA-256 of what the server received.
    pub async fn upload(&mut self, len: u64) -> Result<String> {
        timeout(LARGE, async {
            let response = self.send("/sha256", Either::Right(Payload::new(len))).await?;
            let hash = response.into_body().collect().await?.to_bytes();
            anyhow::Ok(String::from_utf8_lossy(&hash).into_owned())
        })
        .await
        .with_context(|| format!("uploading {len} bytes took more than {LARGE:?}"))?
    }

    async fn send(&mut self, path: &str, body: Outgoing) -> Result<Response<Incoming>> {
        let method = if matches!(body, Either::Left(_)) { "GET" } else { "POST" };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", self.address.to_string())
            .body(body)?;
        let response = self
            .sender
            .send_request(request)
            .await
            .with_context(|| format!("{method} {}{path}", self.address))?;
        ensure!(response.status() == StatusCode::OK, "{path}: {}", response.status());
        Ok(response)
    }
}

/// One `GET /` on a connection of its own.
pub async fn ask(address: impl Into<SocketAddr>) -> Result<Answer> {
    Connection::open(address).await?.ask().await
}

/// `count` times [`ask`], `at_once` of them at a time; the first failure ends it.
pub async fn ask_many(
    address: impl Into<SocketAddr>,
    count: u32,
    at_once: u32,
) -> Result<Vec<Answer>> {
    let address = address.into();
    let next = Arc::new(AtomicU32::new(0));
    let mut workers = JoinSet::new();
    for _ in 0..at_once {
        let next = Arc::clone(&next);
        workers.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(answers);
                }
                let answer = ask(address).await;
                answers.push(answer.with_context(|| format!("request {number} of {count}"))?);
            }
        });
    }
    let mut answers = Vec::new();
    while let Some(worker) = workers.join_next().await {
        answers.extend(worker??);
    }
    Ok(answers)
}
