//! Both ends of a connection in one process, as in `tests/oracle/record.py`: when a step is over, both have seen it, and
//! nothing has to be waited for.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, getsockopt, setsockopt, socket,
    sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};

use super::compare::{End, REFUSED, SILENT};
use super::recording::Visit;

/// A SYN is sent again after a second; by then a server should have answered.
const SILENCE_MS: u16 = 900;
/// What only a fault exceeds.
const LIMIT: Duration = Duration::from_secs(10);
/// Closing resets.
const AT_ONCE: libc::linger = libc::linger { l_onoff: 1, l_linger: 0 };

/// An open connection.
#[derive(Debug)]
pub struct Ends {
    client: TcpStream,
    server: TcpStream,
}

/// The servers: all of them listen on each port.
#[derive(Debug)]
pub struct Servers {
    listeners: BTreeMap<u16, TcpListener>,
    names: BTreeMap<IpAddr, char>,
}

impl Servers {
    /// Listens on these ports, in the namespace that the caller is in.
    pub fn listen(
        ports: impl IntoIterator<Item = u16>,
        addresses: &BTreeMap<char, Ipv4Addr>,
    ) -> Result<Self> {
        let mut listeners = BTreeMap::new();
        for port in ports {
            let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))
                .with_context(|| format!("listening on port {port}"))?;
            let limit = TimeVal::seconds(LIMIT.as_secs().try_into()?);
            setsockopt(&listener, sockopt::ReceiveTimeout, &limit)?;
            listeners.insert(port, listener);
        }
        let names = addresses.iter().map(|(name, address)| ((*address).into(), *name)).collect();
        Ok(Self { listeners, names })
    }

    /// Opens a connection from the namespace that the caller is in, with a byte each way, and says which server has
    /// taken it.
    pub fn open(&self, visit: Visit) -> Result<(char, Option<Ends>)> {
        self.open_at(visit, visit.to.port())
    }

    /// The same where servers listen on another port than the one that is asked.
    pub fn open_at(&self, visit: Visit, port: u16) -> Result<(char, Option<Ends>)> {
        let mut client = match dial(visit) {
            Ok(client) => client,
            Err(Errno::ECONNREFUSED) => return Ok((REFUSED, None)),
            Err(Errno::EINPROGRESS | Errno::ETIMEDOUT) => return Ok((SILENT, None)),
            Err(error) => bail!("connecting: {error}"),
        };
        let listener = self.listeners.get(&port).context("nobody listens")?;
        let (mut server, peer) = listener.accept().context("connected, but not accepted")?;
        ensure!(peer == SocketAddr::from(visit.client), "somebody else came: {peer}");
        let address = server.local_addr()?.ip();
        let name = *self.names.get(&address).with_context(|| format!("who is {address}?"))?;
        for end in [&client, &server] {
            end.set_read_timeout(Some(LIMIT))?;
        }
        let said = [u8::try_from(name)?];
        server.write_all(&said)?;
        let mut heard = [0];
        client.read_exact(&mut heard).context("the server's byte")?;
        ensure!(heard == said, "server {name} said {said:?}, the client heard {heard:?}");
        client.write_all(b"!")?;
        server.read_exact(&mut heard).context("the client's byte")?;
        Ok((name, Some(Ends { client, server })))
    }
}

impl Ends {
    /// Ends it.
    pub fn end(self, how: End) -> Result<()> {
        let Self { mut client, mut server } = self;
        let mut byte = [0];
        match how {
            End::Close => {
                client.shutdown(std::net::Shutdown::Write)?;
                ensure!(server.read(&mut byte).context("the client's end")? == 0, "a byte came");
                drop(server);
                ensure!(client.read(&mut byte).context("the server's end")? == 0, "a byte came");
            }
            End::Reset => {
                setsockopt(&client, sockopt::Linger, &AT_ONCE)?;
                drop(client);
                match server.read(&mut byte) {
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
                    other => bail!("the server saw no reset, but {other:?}"),
                }
            }
            End::GiveUp => {
                for end in [&client, &server] {
                    setsockopt(end, sockopt::Linger, &AT_ONCE)?;
                }
            }
        }
        Ok(())
    }
}

/// A socket from a given address and port, which the standard library cannot have.
fn dial(visit: Visit) -> Result<TcpStream, Errno> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = socket(AddressFamily::Inet, SockType::Stream, flags, None)?;
    setsockopt(&client, sockopt::ReuseAddr, &true)?;
    // An ICMP error that comes while the system call holds the socket would else tell only at the next SYN.
    setsockopt(&client, sockopt::Ipv4RecvErr, &true)?;
    let address = |address: SocketAddrV4| SockaddrIn::from(address);
    bind(client.as_raw_fd(), &address(visit.client))?;
    match connect(client.as_raw_fd(), &address(visit.to)) {
        Ok(()) | Err(Errno::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    let mut connected = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut connected, SILENCE_MS)? == 0 {
        return Err(Errno::ETIMEDOUT);
    }
    let [connected] = connected;
    match Errno::from_raw(getsockopt(&client, sockopt::SocketError)?) {
        Errno::UnknownErrno => {}
        error => return Err(error),
    }
    if connected.revents().is_some_and(|events| events.contains(PollFlags::POLLERR)) {
        return Err(Errno::ECONNREFUSED);
    }
    let client = TcpStream::from(client);
    client.set_nonblocking(false).map_err(|_| Errno::EIO)?;
    Ok(client)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A port that was free a moment ago.
    fn free_port() -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn both_ends_see_each_end() {
        let here = Ipv4Addr::LOCALHOST;
        let [port, closed] = [free_port(), free_port()];
        let servers = Servers::listen([port], &[('A', here)].into()).unwrap();
        let visit = |port| Visit {
            client: SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 2), free_port()),
            to: SocketAddrV4::new(here, port),
        };
        for how in [End::Close, End::Reset, End::GiveUp] {
            let (name, ends) = servers.open(visit(port)).unwrap();
            assert_eq!(name, 'A');
            ends.unwrap().end(how).unwrap();
        }
        assert_eq!(servers.open(visit(closed)).unwrap().0, REFUSED);
    }
}
