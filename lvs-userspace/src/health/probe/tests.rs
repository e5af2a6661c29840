//! Each check against a real peer on loopback: when it is well, and each way in which it is not.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

use super::{Outcome, Probe, Tls};
use crate::{
    config::{Check, Checker, Connection, Global, Line},
    health::service::tests::{connection, schedule},
};

mod datagrams;
mod lines;
mod pages;
mod scripts;
mod secure;

/// How long things may take that should not.
const LIMIT: Duration = Duration::from_millis(300);

fn to(address: SocketAddr) -> Connection {
    let IpAddr::V4(ip) = address.ip() else { panic!("{address} is not IPv4") };
    Connection { timeout: LIMIT, ..connection(ip, address.port()) }
}

async fn run(check: Check) -> Outcome {
    run_with(check, Global::default(), Ok(Tls::new(None).unwrap())).await
}

async fn run_with(check: Check, global: Global, tls: Result<Tls, String>) -> Outcome {
    let checker = Checker { check, schedule: schedule(), line: Line(1) };
    Probe::new(Arc::new(checker), Arc::new(global), Arc::new(tls)).run(0).await
}

fn failed(reason: &str) -> Outcome {
    Outcome::Failed(reason.to_owned())
}

/// A server that reads once from each connection, and answers with the same bytes.
async fn server(answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let _heard = stream.read(&mut request).await;
                let _said = stream.write_all(&answer).await;
            });
        }
    });
    address
}

/// A port that nobody listens on.
async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    listener.local_addr().unwrap()
}

/// A port that takes connections and never says anything.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// A server of datagrams that answers each with what `answer` makes of it.
async fn responder(answer: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> SocketAddr {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = socket.local_addr().unwrap();
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
            for datagram in answer(&buffer[..length]) {
                socket.send_to(&datagram, from).await.unwrap();
            }
        }
    });
    address
}
