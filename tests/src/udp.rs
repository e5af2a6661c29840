//! Datagrams: an echo, and a client that checks what comes back.
//!
//! Each datagram begins with its number and goes on with bytes that depend on it, so that one that was cut,
//! mixed up with another, or put together wrongly from fragments is not taken for a good one.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::family::Family;
use crate::netns::Netns;
use crate::pathmtu;

/// How often an idle echo looks whether it shall end.
const LOOK: Duration = Duration::from_millis(50);
/// What every datagram begins with.
const NUMBER: usize = 4;
const UDP: usize = 8;
/// The largest that IPv4 can carry.
pub const LARGEST: usize = 65_535 - 20 - UDP;

/// What an echo has counted.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Record {
    /// Datagrams that came.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Answers that were too large for the way back, by its own kernel's word or an ICMP message.
    pub too_large: u64,
    /// Whom they came from.
    pub clients: BTreeSet<IpAddr>,
}

/// An echo on a thread of this process; it ends when this value is dropped.
#[derive(Debug)]
pub struct Echo {
    record: Arc<Mutex<Record>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    /// Starts an echo inside a namespace, whose answers may be sent in pieces.
    pub fn start(netns: &Netns, address: SocketAddr) -> Result<Self> {
        Self::with(netns, address, false)
    }

    /// Starts an echo whose answers are sent whole or not at all.
    pub fn start_whole(netns: &Netns, address: SocketAddr) -> Result<Self> {
        Self::with(netns, address, true)
    }

    fn with(netns: &Netns, address: SocketAddr, whole: bool) -> Result<Self> {
        let socket = netns.run(|| {
            UdpSocket::bind(address).with_context(|| format!("the UDP echo on {address}"))
        })?;
        socket.set_read_timeout(Some(LOOK))?;
        if whole {
            pathmtu::send_whole(&socket)?;
        }
        let record = Arc::<Mutex<Record>>::default();
        let stop = Arc::new(AtomicBool::new(false));
        let (of_thread, asked) = (Arc::clone(&record), Arc::clone(&stop));
        let thread = std::thread::Builder::new()
            .name("udp-echo".to_owned())
            .spawn(move || answer(&socket, &of_thread, &asked))?;
        Ok(Self { record, stop, thread: Some(thread) })
    }

    /// What it has counted so far.
    #[must_use]
    pub fn record(&self) -> Record {
        self.record.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

fn answer(socket: &UdpSocket, record: &Mutex<Record>, stop: &AtomicBool) {
    let mut buffer = vec![0; usize::from(u16::MAX)];
    while !stop.load(Ordering::Relaxed) {
        // An error is the end of the wait, or an ICMP message to an earlier answer.
        let Ok((len, peer)) = socket.recv_from(&mut buffer) else { continue };
        change(record, |record| {
            record.datagrams += 1;
            record.bytes += len as u64;
            record.clients.insert(peer.ip());
        });
        // What an ICMP message has left on the socket would be taken for this answer's failure.
        let earlier = socket.take_error().ok().flatten();
        let sent = socket.send_to(buffer.get(..len).unwrap_or_default(), peer);
        let errors = earlier.into_iter().chain(sent.err());
        let too_large = errors.filter(pathmtu::is_too_large).count() as u64;
        change(record, |record| record.too_large += too_large);
    }
}

fn change(record: &Mutex<Record>, by: impl FnOnce(&mut Record)) {
    by(&mut record.lock().unwrap_or_else(PoisonError::into_inner));
}

/// What became of a series of datagrams.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Series {
    /// How many were sent.
    pub sent: u32,
    /// How many came back as they were.
    pub echoed: u32,
}

/// A socket that is connected to an echo.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    limit: Duration,
    number: u32,
    buffer: Vec<u8>,
}

impl Client {
    /// Opens a socket inside a namespace; an answer has `limit` to come.
    pub fn new(netns: &Netns, address: SocketAddr, limit: Duration) -> Result<Self> {
        let socket = netns.run(|| {
            let socket = UdpSocket::bind(pathmtu::unspecified(address.ip().into()))?;
            socket.connect(address).with_context(|| format!("no way to {address}"))?;
            Ok(socket)
        })?;
        Ok(Self { socket, limit, number: 0, buffer: vec![0; usize::from(u16::MAX)] })
    }

    /// Like [`Client::new`], and sends its datagrams whole or not at all.
    pub fn whole(netns: &Netns, address: SocketAddr, limit: Duration) -> Result<Self> {
        let client = Self::new(netns, address, limit)?;
        pathmtu::send_whole(&client.socket)?;
        Ok(client)
    }

    /// Where it sends from.
    pub fn address(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }

    /// What the kernel believes of the way.
    pub fn path_mtu(&self) -> Result<u16> {
        pathmtu::of_socket(&self.socket)
    }

    /// Sends a datagram of so many bytes, and waits for its echo.
    pub fn exchange(&mut self, len: usize) -> Result<Duration> {
        let start = Instant::now();
        let number = self.send(len).with_context(|| format!("sending {len} bytes"))?;
        while self.receive(start + self.limit)? != number {}
        Ok(start.elapsed())
    }

    /// Sends a datagram of so many bytes to the peer without waiting; its number.
    pub fn send(&mut self, len: usize) -> std::io::Result<u32> {
        self.number = self.number.wrapping_add(1);
        self.socket.send(&datagram(self.number, len))?;
        Ok(self.number)
    }

    /// Sends so many datagrams, the next when the one before is back or lost for good.
    pub fn series(&mut self, count: u32, len: usize) -> Result<Series> {
        let mut series = Series::default();
        for _ in 0..count {
            series.sent += 1;
            let number = self.send(len)?;
            let end = Instant::now() + self.limit;
            loop {
                match self.receive(end) {
                    Ok(other) if other != number => {}
                    Ok(_) => break series.echoed += 1,
                    Err(error) if is_late(&error) => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(series)
    }

    /// Sends the largest datagrams that are thought to fit until the kernel knows that the way takes no more
    /// than `mtu`, or the time is up. Returns what it knows then.
    pub fn learn(&mut self, mtu: u16) -> Result<u16> {
        let headers = Family::from(self.address()?.ip()).header() + UDP;
        let end = Instant::now() + self.limit;
        loop {
            match self.send(usize::from(self.path_mtu()?) - headers) {
                // Too large is what is to be learnt; an ICMP error of an earlier one may come with any call.
                Ok(_) => {}
                Err(error) if pathmtu::is_too_large(&error) => {}
                Err(error) => return Err(error).context("a datagram was not sent"),
            }
            std::thread::sleep(Duration::from_millis(20));
            let known = self.path_mtu()?;
            if known == mtu || Instant::now() > end {
                // The ICMP message is not to be taken for the failure of what is sent next.
                self.socket.take_error()?;
                return Ok(known);
            }
        }
    }

    /// The number of the next datagram that comes.
    fn receive(&mut self, end: Instant) -> Result<u32> {
        let left = end.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.socket.set_read_timeout(Some(left))?;
        let len = self.socket.recv(&mut self.buffer).context("no echo of a datagram")?;
        let received = self.buffer.get(..len).unwrap_or_default();
        let Some(number) = received.first_chunk().map(|number| u32::from_be_bytes(*number)) else {
            bail!("a datagram of {len} bytes came, which nobody sent");
        };
        ensure!(received == datagram(number, len), "datagram {number} of {len} bytes is damaged");
        Ok(number)
    }
}

fn is_late(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}

/// Its number, and bytes that differ from those of its neighbours at every place.
fn datagram(number: u32, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len.max(NUMBER));
    bytes.extend_from_slice(&number.to_be_bytes());
    let mut state = number.wrapping_mul(0x9E37_79B9) | 1;
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        bytes.extend_from_slice(&state.to_be_bytes());
    }
    bytes.truncate(len.max(NUMBER));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_is_told_from_the_next_and_from_its_own_head() {
        assert_eq!(datagram(7, 1000).len(), 1000);
        assert_ne!(datagram(7, 1000)[4..], datagram(8, 1000)[4..]);
        assert_eq!(datagram(7, 1001)[..1000], datagram(7, 1000));
        assert_eq!(datagram(7, 0), [0, 0, 0, 7]);
    }
}
