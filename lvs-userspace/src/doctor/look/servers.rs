//! Talking to the real servers: from an address of the kernel's choice, and then from one of another network, as a client's
//! packets come to them with NAT. All at once, and no longer than a few seconds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::Handle;
use tokio::{
    net::TcpSocket,
    time::{Instant, timeout, timeout_at},
};

use crate::{
    config::{Config, Forwarding, Protocol, Target, VirtualServer},
    doctor::facts::{ANY_PORT, Host, Outcome, Server, Tried, Way},
    net,
};

/// How long an answer may take: a SYN that is lost is sent again after a second.
const PATIENCE: Duration = Duration::from_secs(2);

/// How long all of it may take.
const IN_ALL: Duration = Duration::from_millis(4500);

/// Servers that are talked to at a time, far fewer than files that a process may have open.
const AT_ONCE: usize = 512;

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Looked {
    pub(super) servers: Vec<Server>,
    pub(super) not_tried: usize,
}

/// Whom to talk to, once for each address, port and method.
type Wanted = BTreeMap<(IpAddr, u16, bool), Want>;

#[derive(Debug)]
struct Want {
    forwarding: Forwarding,
    tcp: bool,
    locals: BTreeSet<IpAddr>,
}

pub(super) async fn look(netlink: &Handle, config: &Config, host: &Host) -> Looked {
    let wanted = wanted(config);
    let count = wanted.len();
    let end = Instant::now() + IN_ALL;
    let tried = stream::iter(wanted)
        .map(|(key, want)| async move {
            if Instant::now() >= end {
                return None;
            }
            timeout_at(end, talk(host, key, want)).await.ok()
        })
        .buffer_unordered(AT_ONCE);
    let mut servers: Vec<Server> = tried.filter_map(|server| async { server }).collect().await;
    servers.sort_by_key(|server| (server.address, server.port));
    let neighbours = neighbours(netlink).await;
    for server in &mut servers {
        if let Way::Out(interface, neighbour) = server.way {
            let answered = server.plain.as_ref().is_some_and(|tried| tried.outcome.answered());
            let state = neighbours.get(&(interface, neighbour)).copied();
            server.resolved = if answered { Some(true) } else { state };
        }
    }
    Looked { not_tried: count - servers.len(), servers }
}

fn wanted(config: &Config) -> Wanted {
    let mut wanted = Wanted::new();
    for service in &config.services {
        let port = match service.target {
            Target::Address { port, .. } => port,
            Target::Mark(_) => 0,
        };
        let real = service.real_servers.iter().map(|server| (server.address, server.port));
        let sorry = service.sorry_server.iter().map(|sorry| (sorry.address, sorry.port));
        for (address, own_port) in real.chain(sorry) {
            let port = [own_port, port].into_iter().find(|port| *port != 0);
            let full_nat = service.forwarding == Forwarding::FullNat;
            let want = wanted.entry((address, port.unwrap_or(ANY_PORT), full_nat));
            let want = want.or_insert_with(|| Want {
                forwarding: service.forwarding,
                tcp: false,
                locals: BTreeSet::new(),
            });
            want.tcp |= port.is_some() && is_tcp(service);
            want.locals.extend(&service.local_addresses);
        }
    }
    wanted
}

/// Services of marks are for all protocols.
fn is_tcp(service: &VirtualServer) -> bool {
    service.protocol == Some(Protocol::Tcp)
}

async fn talk(host: &Host, (address, port, _): (IpAddr, u16, bool), want: Want) -> Server {
    let Want { forwarding, tcp, locals } = want;
    let way = match net::way_to(address).await {
        Ok(Some((interface, neighbour))) => Way::Out(interface, neighbour),
        Ok(None) => Way::Here,
        Err(error) => Way::None(error.to_string()),
    };
    let mut server = Server {
        address,
        port,
        forwarding,
        tcp,
        locals: locals.into_iter().collect(),
        way,
        resolved: None,
        plain: None,
        from_elsewhere: None,
    };
    let Way::Out(interface, neighbour) = server.way else { return server };
    // What comes of it is seen in the table of neighbours.
    let _asked = net::resolve(vec![(interface, neighbour)]).await;
    let plain = attempt((address, port).into(), None).await;
    if plain.outcome.answered()
        && let Some(own) = plain.from
        && let Some(elsewhere) = elsewhere(host, &server, own)
    {
        server.from_elsewhere = Some(attempt((address, port).into(), Some(elsewhere)).await);
    }
    server.plain = Some(plain);
    server
}

/// Another address of this host that the server answers to by its default route: outside the network of the address that
/// the kernel takes by itself. With full NAT a local address.
fn elsewhere(host: &Host, server: &Server, own: IpAddr) -> Option<IpAddr> {
    let has = |local: &&IpAddr| **local != own && !host.unanswered.contains(*local);
    if server.forwarding == Forwarding::FullNat {
        return server.locals.iter().find(has).copied();
    }
    let networks: Vec<_> = host.addresses.iter().filter(|near| near.covers(own)).collect();
    let outside = host.addresses.iter().filter(|other| {
        other.global
            && !other.address.is_loopback()
            && other.address.is_ipv4() == own.is_ipv4()
            && networks.iter().all(|near| !near.covers(other.address))
    });
    // Of a network rather than one for itself: that may be a virtual one, which a server may have too.
    outside.max_by_key(|other| other.length != 32 && other.length != 128).map(|other| other.address)
}

/// Opens a connection, and closes it at once.
async fn attempt(to: SocketAddr, from: Option<IpAddr>) -> Tried {
    let connected = async {
        let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        socket.connect(to).await?.local_addr()
    };
    let (from, outcome) = match timeout(PATIENCE, connected).await {
        Ok(Ok(own)) => (Some(own.ip()), Outcome::Open),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            (from, Outcome::Refused)
        }
        Ok(Err(error)) => (from, Outcome::Failed(error.to_string())),
        Err(_) => (from, Outcome::Silent),
    };
    Tried { from: from.or_else(|| source(to)), outcome }
}

/// The address that the kernel takes towards another one: of a socket that sends nothing.
fn source(to: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
    let socket = std::net::UdpSocket::bind((any, 0)).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

/// Whether neighbours are resolved, as far as the kernel knows them.
async fn neighbours(netlink: &Handle) -> HashMap<(u32, IpAddr), bool> {
    let all = netlink.neighbours().get().execute().try_collect::<Vec<NeighbourMessage>>().await;
    let entry = |message: &NeighbourMessage| {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(four)) => Some((*four).into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(six)) => Some((*six).into()),
            _ => None,
        })?;
        let resolved = match message.header.state {
            NeighbourState::Incomplete | NeighbourState::Failed => false,
            NeighbourState::None | NeighbourState::Other(_) => return None,
            _ => true,
        };
        Some(((message.header.ifindex, address), resolved))
    };
    all.unwrap_or_default().iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::{Policy, parse},
        doctor::{facts, sound},
    };

    #[test]
    fn each_server_is_talked_to_once() {
        let text = "virtual_server 10.64.1.2 80 {\n lb_algo rr\n lb_kind NAT\n protocol TCP\n \
            real_server 192.168.1.100 80 {\n weight 1\n }\n real_server 192.168.1.101 0 {\n weight 1\n }\n}\n\
            virtual_server 10.64.1.3 80 {\n lb_algo rr\n lb_kind NAT\n protocol UDP\n \
            real_server 192.168.1.100 80 {\n weight 1\n }\n sorry_server 192.168.1.9 81\n}\n";
        let config = parse("test", text, &Policy::default()).unwrap().config;
        let wanted = wanted(&config);
        let found: Vec<_> = wanted
            .iter()
            .map(|((address, port, _), want)| (address.to_string(), *port, want.tcp))
            .collect();
        assert_eq!(
            found,
            [
                ("192.168.1.9".to_owned(), 81, false),
                ("192.168.1.100".to_owned(), 80, true),
                ("192.168.1.101".to_owned(), 80, true),
            ]
        );
    }

    #[test]
    fn clients_are_played_from_another_network() {
        let mut facts = sound::facts();
        let own = "192.168.1.1".parse().unwrap();
        let from = |facts: &facts::Facts| elsewhere(&facts.host, &facts.servers[0], own);
        assert_eq!(from(&facts), Some("10.64.1.254".parse().unwrap()));
        facts.host.addresses.remove(0);
        assert_eq!(from(&facts), Some("10.64.1.2".parse().unwrap()), "the virtual address");
        facts.host.addresses.remove(0);
        assert_eq!(from(&facts), None);
        facts.servers[0].forwarding = Forwarding::FullNat;
        facts.servers[0].locals = vec!["192.168.1.1".parse().unwrap()];
        assert_eq!(from(&facts), None);
    }

    #[tokio::test]
    async fn an_answer_is_told_from_silence() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let there = listener.local_addr().unwrap();
        let tried = attempt(there, None).await;
        assert_eq!((tried.outcome, tried.from), (Outcome::Open, Some(there.ip())));
        drop(listener);
        let own = "127.0.0.2".parse().unwrap();
        let tried = attempt(there, Some(own)).await;
        assert_eq!((tried.outcome, tried.from), (Outcome::Refused, Some(own)));
    }
}
