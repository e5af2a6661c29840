//! Connections and persistence templates, one after the other as they lie in the tables.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use aya::Pod;
use lvs_common::{
    abi::{
        Address, Clock, Flow, Identity, Server, Template, TemplateKey, Tuple, V4, V6, flow_flags,
    },
    connection::{self, ENDED, ticks},
    persistence::{self, ended},
    tcp::{TcpState, is_half_open},
    wire,
};
use nix::time::{ClockId, clock_gettime};

use super::{
    ServiceFilter, ServiceName,
    services::{address, name_of},
};
use crate::{
    bpf::{Error, PinnedMaps, Table},
    config::{Family, Protocol},
};

/// Nanoseconds in a second.
const SECOND: u64 = 1_000_000_000;

/// A connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Its protocol.
    pub protocol: Protocol,
    /// The client.
    pub client: SocketAddr,
    /// What the client has asked.
    pub service: SocketAddr,
    /// What the server sees in the client's place, with full NAT.
    pub local: Option<SocketAddr>,
    /// Who answers.
    pub server: SocketAddr,
    /// IPVS's name of its state.
    pub state: &'static str,
    /// The seconds that it lives if no packet comes.
    pub expires: u64,
}

/// A persistence template: a client that stays with its server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Persistent {
    /// The service.
    pub service: ServiceName,
    /// The client, or as much of its address as the service tells apart.
    pub client: IpAddr,
    /// The server's address.
    pub address: IpAddr,
    /// The server's port; 0 if it is the one that the client asks.
    pub port: u16,
    /// The seconds until it ends, unless a connection prolongs it.
    pub expires: u64,
    /// How many connections refer to it.
    pub connections: u32,
    /// Whether all of those are half open.
    pub half_open: bool,
}

/// Either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A connection.
    Connection(Connection),
    /// A template.
    Persistent(Persistent),
}

/// Which ones are wanted.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    /// Those of a service.
    pub service: Option<ServiceFilter>,
    /// Those of a client.
    pub client: Option<IpAddr>,
    /// Those of a server.
    pub server: Option<IpAddr>,
}

/// Calls `each` for each connection, and then for each template, until it fails. Connections come and go meanwhile; those
/// that are there all the time are seen once at least.
pub fn connections<E: From<Error>>(
    maps: &PinnedMaps,
    filter: &Filter,
    mut each: impl FnMut(Entry) -> Result<(), E>,
) -> Result<(), E> {
    let walk = Walk::new(maps, filter)?;
    walk.family(&maps.connections4, &maps.templates4, &mut each)?;
    walk.family(&maps.connections6, &maps.templates6, &mut each)
}

/// How many templates each server has.
pub(super) fn persistent_by_server(maps: &PinnedMaps) -> Result<HashMap<u32, u32>, Error> {
    let now = now(maps)?;
    let mut count = HashMap::new();
    let mut note = |template: &Template| {
        if !ended(template, now) {
            *count.entry(template.server).or_default() += 1;
        }
    };
    each_of(&maps.templates4, |_, template| note(template))?;
    each_of(&maps.templates6, |_, template| note(template))?;
    Ok(count)
}

fn each_of<K: Pod, V: Pod>(table: &Table<K, V>, mut each: impl FnMut(&K, &V)) -> Result<(), Error> {
    let mut sweep = table.sweep();
    loop {
        let batch = sweep.next(table)?;
        if batch.is_empty() {
            return Ok(());
        }
        for (key, value) in &batch {
            each(key, value);
        }
    }
}

/// What the data path's clock says, from when it was read last.
fn now(maps: &PinnedMaps) -> Result<u64, Error> {
    let clock = maps.clock.get(&0, 0);
    let Clock { now, monotonic } = clock.map_err(|source| Error::Map { map: "CLOCK", source })?;
    let today = clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_err(|errno| Error::Batch { map: "CLOCK", source: errno.into() })?;
    let today = u64::try_from(std::time::Duration::from(today).as_nanos()).unwrap_or(u64::MAX);
    Ok(now + today.saturating_sub(monotonic))
}

/// An address family as listings see it.
trait Shown: Address {
    const FAMILY: Family;

    fn shown(self) -> IpAddr;
}

impl Shown for V4 {
    const FAMILY: Family = Family::Ipv4;

    fn shown(self) -> IpAddr {
        Ipv4Addr::from(self).into()
    }
}

impl Shown for V6 {
    const FAMILY: Family = Family::Ipv6;

    fn shown(self) -> IpAddr {
        Ipv6Addr::from(self).into()
    }
}

/// What is needed beside the tables themselves.
struct Walk<'w> {
    filter: &'w Filter,
    now: u64,
    services: HashMap<u32, Identity>,
    servers: Vec<Server>,
}

impl<'w> Walk<'w> {
    fn new(maps: &PinnedMaps, filter: &'w Filter) -> Result<Self, Error> {
        let services: Result<HashMap<_, _>, _> = maps.identities.iter().collect();
        Ok(Self {
            filter,
            now: now(maps)?,
            services: services.map_err(|source| Error::Map { map: "IDENTITIES", source })?,
            servers: maps.servers.read()?,
        })
    }

    fn family<A: Shown, E: From<Error>>(
        &self,
        connections: &Table<Tuple<A>, Flow<A>>,
        templates: &Table<TemplateKey<A>, Template>,
        each: &mut impl FnMut(Entry) -> Result<(), E>,
    ) -> Result<(), E>
    where
        Tuple<A>: Pod,
        Flow<A>: Pod,
        TemplateKey<A>: Pod,
    {
        // By template, those of its connections that nobody has answered.
        let mut half_open: HashMap<TemplateKey<A>, u32> = HashMap::new();
        let mut sweep = connections.sweep();
        loop {
            let batch = sweep.next(connections)?;
            if batch.is_empty() {
                break;
            }
            for (key, flow) in &batch {
                if !flow.to_server() || flow.head.state == ENDED {
                    continue;
                }
                let mut connection = connection(key, flow);
                let wanted = self.wants(&connection, flow.server);
                let waits =
                    flow.head.flags & flow_flags::CONTROLLED != 0 && is_half_open(flow.head.state);
                if !wanted && !waits {
                    continue;
                }
                let Some(expires) = self.expires(key, flow, connections) else { continue };
                connection.expires = expires;
                if waits && let Some(key) = self.template_key(key.source, flow.server) {
                    *half_open.entry(key).or_default() += 1;
                }
                if wanted {
                    each(Entry::Connection(connection))?;
                }
            }
        }
        let mut sweep = templates.sweep();
        loop {
            let batch = sweep.next(templates)?;
            if batch.is_empty() {
                return Ok(());
            }
            for (key, template) in &batch {
                let waiting = half_open.get(key).copied().unwrap_or_default();
                if let Some(persistent) = self.persistent(key, template, waiting) {
                    each(Entry::Persistent(persistent))?;
                }
            }
        }
    }

    /// The seconds that a connection lives: as long as packets come in one of its directions.
    fn expires<A: Shown>(
        &self,
        key: &Tuple<A>,
        flow: &Flow<A>,
        table: &Table<Tuple<A>, Flow<A>>,
    ) -> Option<u64>
    where
        Tuple<A>: Pod,
        Flow<A>: Pod,
    {
        let own = left(flow, self.now);
        match table.map.get(&flow.reverse_key(key.protocol), 0) {
            Ok(other) => own.max(left(&other, self.now)),
            Err(_) => own,
        }
    }

    fn wants(&self, connection: &Connection, server: u32) -> bool {
        let Filter { service, client, server: wanted } = self.filter;
        let of_service = |filter: ServiceFilter| {
            // A service for all ports of its address, and one of a mark, are known by the server.
            self.name(server).is_some_and(|name| filter.matches(name))
                || filter.matches(ServiceName::Address {
                    protocol: connection.protocol,
                    address: connection.service.ip(),
                    port: connection.service.port(),
                })
        };
        service.is_none_or(of_service)
            && client.is_none_or(|client| client == connection.client.ip())
            && wanted.is_none_or(|wanted| wanted == connection.server.ip())
    }

    /// The name of the service that a server is of.
    fn name(&self, server: u32) -> Option<ServiceName> {
        let server = self.servers.get(server as usize)?;
        self.services.get(&server.service).map(name_of)
    }

    /// The key of the template that a connection of this server refers to, if it does.
    fn template_key<A: Shown>(&self, client: A, server: u32) -> Option<TemplateKey<A>> {
        let server = self.servers.get(server as usize)?;
        Some(TemplateKey { client: client.masked(server.granularity), service: server.service })
    }

    fn persistent<A: Shown>(
        &self,
        key: &TemplateKey<A>,
        template: &Template,
        half_open: u32,
    ) -> Option<Persistent> {
        if ended(template, self.now) {
            return None;
        }
        let service = self.services.get(&key.service).map(name_of)?;
        let server = self.servers.get(template.server as usize)?;
        let persistent = Persistent {
            service,
            client: key.client.shown(),
            address: address(server.address, A::FAMILY),
            port: server.port,
            expires: persistence::left(template, self.now) / SECOND,
            connections: template.connections,
            half_open: half_open > 0 && half_open >= template.connections,
        };
        let Filter { service: wanted, client, server } = self.filter;
        let masked = |wanted: IpAddr| match (wanted, template.server) {
            (IpAddr::V4(wanted), id) => self.is_client(wanted.octets(), id, persistent.client),
            (IpAddr::V6(wanted), id) => self.is_client(wanted.octets(), id, persistent.client),
        };
        let is_wanted = wanted.is_none_or(|wanted| wanted.matches(service))
            && client.is_none_or(masked)
            && server.is_none_or(|server| server == persistent.address);
        is_wanted.then_some(persistent)
    }

    /// Whether a client is the one that a template of this server is for.
    fn is_client<A: Shown>(&self, client: A, server: u32, of: IpAddr) -> bool {
        let key = self.template_key(client, server);
        key.is_some_and(|key| key.client.shown() == of)
    }
}

/// The connection that this entry is the client's direction of.
fn connection<A: Shown>(key: &Tuple<A>, flow: &Flow<A>) -> Connection {
    let place = |address: A, port: u16| SocketAddr::new(address.shown(), port);
    let full_nat = flow.head.flags & flow_flags::FULL_NAT != 0;
    let is_tcp = key.protocol == u32::from(wire::PROTOCOL_TCP);
    Connection {
        protocol: if is_tcp { Protocol::Tcp } else { Protocol::Udp },
        client: place(key.source, key.source_port),
        service: place(key.destination, key.destination_port),
        local: full_nat.then(|| place(flow.source, flow.source_port)),
        server: place(flow.destination, flow.destination_port),
        state: state(flow.head.state),
        expires: 0,
    }
}

/// The seconds until an entry's own time ends, rounded; none if it has.
fn left<A: Shown>(flow: &Flow<A>, now: u64) -> Option<u64> {
    if flow.ended(now) {
        return None;
    }
    let idle = ticks(now).wrapping_sub(flow.seen);
    // Another CPU's clock may be ahead.
    let idle = if idle > u32::MAX / 2 { 0 } else { u64::from(idle) << 20 };
    Some((u64::from(flow.limits.timeout()) * SECOND).saturating_sub(idle) / SECOND)
}

/// IPVS's name of a state (`tcp_state_name_table` in `ip_vs_proto_tcp.c`, `udp_state_name_table`).
const fn state(number: u8) -> &'static str {
    if number == connection::UDP {
        return "UDP";
    }
    match TcpState::from_number(number) {
        Some(TcpState::None) => "NONE",
        Some(TcpState::Established) => "ESTABLISHED",
        Some(TcpState::SynSent) => "SYN_SENT",
        Some(TcpState::SynRecv) => "SYN_RECV",
        Some(TcpState::FinWait) => "FIN_WAIT",
        Some(TcpState::TimeWait) => "TIME_WAIT",
        Some(TcpState::Close) => "CLOSE",
        Some(TcpState::CloseWait) => "CLOSE_WAIT",
        Some(TcpState::LastAck) => "LAST_ACK",
        Some(TcpState::Listen) => "LISTEN",
        Some(TcpState::SynAck) => "SYNACK",
        None => "ERR!",
    }
}
