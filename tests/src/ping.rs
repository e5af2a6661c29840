//! Ping over the kernel's own ICMP socket, which numbers and checks the packets itself. Not every
//! machine has the command installed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

use crate::netns::Netns;

const ECHO_REQUEST: u8 = 8;
const ECHO_REPLY: u8 = 0;
/// Type, code, checksum and identifier come before the sequence number.
const HEADER: usize = 8;

/// Sends pings to one address.
#[derive(Debug)]
pub struct Pinger {
    socket: UdpSocket,
    sequence: u16,
}

impl Pinger {
    /// Lets every user of the namespace ping, which by default nobody may, and opens the socket.
    ///
    /// The socket stays in the namespace, whichever thread uses it.
    pub fn new(netns: &Netns, address: Ipv4Addr, limit: Duration) -> Result<Self> {
        netns.set("ipv4/ping_group_range", "0 0")?;
        netns.run(|| {
            let socket: OwnedFd = socket(
                AddressFamily::Inet,
                SockType::Datagram,
                SockFlag::SOCK_CLOEXEC,
                SockProtocol::Icmp,
            )
            .context("no ICMP socket")?;
            // An ICMP socket is used like a UDP one; the port means nothing.
            let socket = UdpSocket::from(socket);
            socket.connect(SocketAddr::new(IpAddr::V4(address), 0))?;
            socket.set_read_timeout(Some(limit))?;
            Ok(Self { socket, sequence: 0 })
        })
    }

    /// One ping: how long the answer took, or an error if it did not come in time.
    pub fn ping(&mut self) -> Result<Duration> {
        self.sequence = self.sequence.wrapping_add(1);
        let [high, low] = self.sequence.to_be_bytes();
        let mut request = [0; HEADER + 56];
        request[0] = ECHO_REQUEST;
        request[6] = high;
        request[7] = low;
        let start = Instant::now();
        self.socket.send(&request).context("the ping was not sent")?;
        let mut reply = [0; HEADER + 56];
        let len = self.socket.recv(&mut reply).context("no answer to the ping")?;
        ensure!(len == reply.len() && reply[0] == ECHO_REPLY, "the answer is not a ping's");
        ensure!(reply[6..8] == [high, low], "the answer belongs to an earlier ping");
        Ok(start.elapsed())
    }
}
