//! Sockets as `bindto`, `bind_port`, `bind_if` and `fwmark` want them.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6},
};

use nix::{errno::Errno, net::if_::if_nametoindex};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpSocket, TcpStream, UdpSocket},
    time::timeout,
};

use super::{Fault, within, words};
use crate::config::Connection;

/// Opens a connection: all that `TCP_CHECK` does, and where others begin.
pub(super) async fn tcp(connection: &Connection) -> Result<TcpStream, Fault> {
    let socket = prepared(connection, Type::STREAM, Some(Protocol::TCP))?;
    let socket = TcpSocket::from_std_stream(socket.into());
    match timeout(connection.timeout, socket.connect(peer(connection)?)).await {
        Ok(result) => result.map_err(|error| of_connect(&error)),
        Err(_) => Err(within("no connection", connection.timeout)),
    }
}

/// A UDP socket that is connected, and hears of ICMP errors.
pub(super) fn udp(connection: &Connection) -> Result<UdpSocket, Fault> {
    let socket = prepared(connection, Type::DGRAM, Some(Protocol::UDP))?;
    // Without that, only an unreachable port is an error.
    if connection.address.is_ipv4() {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv4RecvErr, &true)
    } else {
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::Ipv6RecvErr, &true)
    }
    .map_err(Fault::unable)?;
    connected(socket, connection)
}

/// Connects a datagram socket of any protocol.
pub(super) fn connected(socket: Socket, connection: &Connection) -> Result<UdpSocket, Fault> {
    socket.connect(&peer(connection)?.into()).map_err(|error| of_connect(&error))?;
    UdpSocket::from_std(socket.into()).map_err(|error| Fault::unable(words(&error)))
}

/// A socket that does not block, with its mark, interface and source.
pub(super) fn prepared(
    connection: &Connection,
    kind: Type,
    protocol: Option<Protocol>,
) -> Result<Socket, Fault> {
    let cannot = |what: &str, error: &io::Error| Fault::Unable(format!("{what}: {}", words(error)));
    let domain = if connection.address.is_ipv4() { Domain::IPV4 } else { Domain::IPV6 };
    let socket = Socket::new(domain, kind.nonblocking(), protocol)
        .map_err(|error| cannot("cannot make a socket", &error))?;
    if connection.mark != 0 {
        socket
            .set_mark(connection.mark)
            .map_err(|error| cannot("cannot mark packets (fwmark)", &error))?;
    }
    if let Some(name) = &connection.bind_interface {
        let what = format!("cannot bind to the interface {name}");
        socket.bind_device(Some(name.as_bytes())).map_err(|error| cannot(&what, &error))?;
    }
    if connection.bind_address.is_some() || connection.bind_port.is_some() {
        let any = || {
            let v4 = connection.address.is_ipv4();
            if v4 { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) }
        };
        let source = connection.bind_address.unwrap_or_else(any);
        let source = SocketAddr::new(source, connection.bind_port.unwrap_or(0));
        if source.port() != 0 {
            // The check before leaves its port in TIME_WAIT.
            socket
                .set_reuse_address(true)
                .map_err(|error| cannot("cannot share a source port", &error))?;
        }
        let what = format!("cannot bind to {source}");
        socket.bind(&source.into()).map_err(|error| cannot(&what, &error))?;
    }
    Ok(socket)
}

/// Whom to connect to; a link-local address is one of the interface that is bound to.
fn peer(connection: &Connection) -> Result<SocketAddr, Fault> {
    if let (IpAddr::V6(address), Some(name)) = (connection.address, &connection.bind_interface)
        && address.is_unicast_link_local()
    {
        let index = if_nametoindex(name.as_str())
            .map_err(|_| Fault::Unable(format!("there is no interface {name}")))?;
        return Ok(SocketAddrV6::new(address, connection.port, 0, index).into());
    }
    Ok(SocketAddr::new(connection.address, connection.port))
}

/// What keepalived's `socket_bind_connect()` in `layer4.c` counts as a failure of the server; all else is one of this host.
fn of_connect(error: &io::Error) -> Fault {
    let known = [
        Errno::ENETUNREACH,
        Errno::EHOSTUNREACH,
        Errno::ECONNREFUSED,
        Errno::EHOSTDOWN,
        Errno::ENETDOWN,
        Errno::ECONNRESET,
        Errno::ECONNABORTED,
        Errno::ETIMEDOUT,
    ];
    let number = error.raw_os_error().map(Errno::from_raw);
    if number.is_some_and(|number| known.contains(&number)) {
        Fault::of_peer(error)
    } else {
        Fault::Unable(format!("cannot connect: {}", words(error)))
    }
}
