//! How large a packet may be on the way to somebody: what the kernel has learnt, and the commands
//! `tracepath` and `ping` that ask.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::sys::socket::sockopt::IpMtu;
use nix::sys::socket::{getsockopt, setsockopt};
use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

use crate::command;
use crate::family::Family;
use crate::netns::Netns;

sockopt_impl!(
    /// What may be sent to the peer of an IPv6 socket.
    Ipv6Mtu, GetOnly, libc::IPPROTO_IPV6, libc::IPV6_MTU, libc::c_int
);
sockopt_impl!(
    /// Whether IPv4 packets may be cut.
    IpMtuDiscover, Both, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::c_int
);
sockopt_impl!(
    /// Whether IPv6 packets may be cut.
    Ipv6MtuDiscover, Both, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::c_int
);

/// What the kernel believes of the way to the peer of a connected socket.
pub fn of_socket(socket: &UdpSocket) -> Result<u16> {
    let mtu = match Family::from(socket.peer_addr()?.ip()) {
        Family::V4 => getsockopt(socket, IpMtu),
        Family::V6 => getsockopt(socket, Ipv6Mtu),
    };
    Ok(mtu.context("the socket knows no MTU")?.try_into()?)
}

/// What the kernel of a namespace believes of the way to an address; nothing is sent.
pub fn known(netns: &Netns, address: IpAddr) -> Result<u16> {
    netns.run(|| {
        let any: SocketAddr = unspecified(address.into());
        let socket = UdpSocket::bind(any)?;
        socket.connect((address, 9)).with_context(|| format!("no way to {address}"))?;
        of_socket(&socket)
    })
}

/// Lets a socket send nothing in pieces (DF in IPv4): what is known to be too large for the way is refused.
pub fn send_whole(socket: &UdpSocket) -> Result<()> {
    match Family::from(socket.local_addr()?.ip()) {
        Family::V4 => setsockopt(socket, IpMtuDiscover, &libc::IP_PMTUDISC_DO)?,
        Family::V6 => setsockopt(socket, Ipv6MtuDiscover, &libc::IPV6_PMTUDISC_DO)?,
    }
    Ok(())
}

/// Whether an error says that a packet was refused for its size.
#[must_use]
pub fn is_too_large(error: &std::io::Error) -> bool {
    error.raw_os_error() == Some(libc::EMSGSIZE)
}

/// No address, any port.
#[must_use]
pub fn unspecified(family: Family) -> SocketAddr {
    match family {
        Family::V4 => ([0, 0, 0, 0], 0).into(),
        Family::V6 => ([0; 16], 0).into(),
    }
}

/// Asks `tracepath`, which needs an answer from the address: the MTU of the way.
pub fn tracepath(netns: &Netns, address: IpAddr) -> Result<u16> {
    let mut command = within_seconds(netns, 20);
    command.args(["tracepath", "-n", "-m", "5", Family::from(address).option()]);
    let text = command::run(command.arg(address.to_string()))?;
    traced(&text).with_context(|| format!("tracepath did not reach {address}:\n{text}"))
}

/// One packet of so many bytes, headers included, that must arrive in one piece, by `ping`.
pub fn ping_whole(netns: &Netns, address: IpAddr, bytes: usize) -> Result<()> {
    const ICMP: usize = 8;
    let family = Family::from(address);
    let Some(payload) = bytes.checked_sub(family.header() + ICMP) else {
        bail!("{bytes} bytes are not a ping");
    };
    let mut command = within_seconds(netns, 5);
    command.args(["ping", "-n", "-c", "1", "-W", "2", "-M", "do", family.option()]);
    command::run(command.args(["-s", &payload.to_string(), &address.to_string()])).map(drop)
}

fn within_seconds(netns: &Netns, seconds: u32) -> Command {
    let mut command = netns.command("timeout");
    command.args(["--signal=KILL", &seconds.to_string()]);
    command
}

/// The number in tracepath's last line, `Resume: pmtu 1300 hops 3 back 3`, if the way has an end.
fn traced(text: &str) -> Option<u16> {
    let resume = text.lines().find_map(|line| line.trim().strip_prefix("Resume: pmtu "))?;
    let (mtu, rest) = resume.split_once(' ')?;
    rest.starts_with("hops").then(|| mtu.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_path_with_an_end_is_traced() {
        let head = " 1?: [LOCALHOST]    pmtu 1500\n 1:  10.64.1.254   0.072ms\n";
        assert_eq!(traced(&format!("{head}     Resume: pmtu 1300 hops 2 back 2 \n")), Some(1300));
        assert_eq!(traced(&format!("{head}     Resume: pmtu 1500 \n")), None);
        assert_eq!(traced(head), None);
    }
}
