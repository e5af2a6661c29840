//! A TCP echo and a client that types into it: what an ssh session looks like on the wire, small
//! segments in turn on a connection that stays open.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::netns::Netns;

/// Starts an echo in a namespace, on all its addresses. It serves until the process ends; its
/// threads wait in system calls and cost nothing.
pub fn serve(netns: &Netns, port: u16) -> Result<()> {
    let listener = netns.run(|| {
        // The IPv6 socket takes IPv4 too, but a kernel may have no IPv6.
        TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
            .with_context(|| format!("the echo on port {port}"))
    })?;
    std::thread::Builder::new().name("echo".to_owned()).spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || copy(stream));
        }
    })?;
    Ok(())
}

fn copy(mut stream: TcpStream) {
    stream.set_nodelay(true).ok();
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        if buffer.get(..len).is_none_or(|text| stream.write_all(text).is_err()) {
            return;
        }
    }
}

/// One open connection to an echo.
#[derive(Debug)]
pub struct Session {
    stream: TcpStream,
}

impl Session {
    /// Connects from inside a namespace; the connection and every answer have `limit` to arrive.
    pub fn new(netns: &Netns, address: impl Into<SocketAddr>, limit: Duration) -> Result<Self> {
        let address = address.into();
        let stream = netns.run(|| {
            TcpStream::connect_timeout(&address, limit)
                .with_context(|| format!("connecting to {address}"))
        })?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(limit))?;
        Ok(Self { stream })
    }

    /// Types something and waits for the echo; returns how long that took.
    pub fn send(&mut self, text: &str) -> Result<Duration> {
        let start = Instant::now();
        self.stream.write_all(text.as_bytes()).context("typing failed")?;
        let mut answer = vec![0; text.len()];
        self.stream.read_exact(&mut answer).context("no echo")?;
        ensure!(answer == text.as_bytes(), "the echo differs from what was typed");
        Ok(start.elapsed())
    }
}
