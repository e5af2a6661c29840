//! Virtual services with their servers.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use lvs_common::{
    abi::{
        Address as _, Identity, Load, Server, Service, Settings, V4, forwarding, identity_flags,
        server_flags, service_flags,
    },
    connection,
    scheduler::is_overloaded,
    tcp::TcpState,
    wire,
};

use super::{
    ServiceName,
    connections::persistent_by_server,
    statistics::{self, Counts},
};
use crate::{
    bpf::{Error, PinnedMaps},
    config::{
        Family, Forwarding, Granularity, Persistence, Protocol, Scheduler, SchedulerFlags, Timeouts,
    },
};

/// All virtual services.
#[derive(Clone, Debug)]
pub struct Services {
    /// Those of addresses first, each kind in the order in which they came.
    pub services: Vec<ServiceView>,
    /// The time-outs that can be set, in seconds; all are there.
    pub timeouts: Timeouts,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct ServiceView {
    /// Which one it is.
    pub name: ServiceName,
    /// Its number in the maps.
    pub id: u32,
    /// Who gets the next connection.
    pub scheduler: Scheduler,
    /// How the scheduler goes about it.
    pub flags: SchedulerFlags,
    /// How packets reach the servers.
    pub forwarding: Forwarding,
    /// Whether each packet is scheduled by itself.
    pub one_packet: bool,
    /// How clients stay with their servers, if they do.
    pub persistence: Option<Persistence>,
    /// Its servers, the newest first: the order in which schedulers walk.
    pub servers: Vec<ServerView>,
    /// What was counted for it: the sum over its servers, those that were removed included.
    pub counts: Counts,
}

/// A real server of a service.
#[derive(Clone, Debug)]
pub struct ServerView {
    /// Its number in the maps.
    pub id: u32,
    /// Its address.
    pub address: IpAddr,
    /// Its port; 0 for the one that the client used.
    pub port: u16,
    /// Its weight.
    pub weight: u32,
    /// The upper threshold, or 0.
    pub upper_threshold: u32,
    /// The lower threshold as it was asked for, or 0.
    pub lower_threshold: u32,
    /// Whether it takes no new connections because it has reached its threshold.
    pub overloaded: bool,
    /// Active connections.
    pub active: u32,
    /// Inactive connections.
    pub inactive: u32,
    /// Persistence templates, if they were asked for.
    pub persistent: Option<u32>,
    /// What was counted for it.
    pub counts: Counts,
}

impl Services {
    /// Reads them; with `persistent`, how many persistence templates each server has, which takes a look at all
    /// of those.
    pub fn read(maps: &PinnedMaps, persistent: bool) -> Result<Self, Error> {
        let settings = maps.settings.get(&0, 0);
        let settings = settings.map_err(|source| Error::Map { map: "SETTINGS", source })?;
        let identities: Result<Vec<_>, _> = maps.identities.iter().collect();
        let identities = identities.map_err(|source| Error::Map { map: "IDENTITIES", source })?;
        let present =
            identities.iter().filter(|(_, identity)| identity.flags & identity_flags::PRESENT != 0);
        let (servers, loads, places) =
            (maps.servers.read()?, maps.loads.read()?, maps.places.read()?);
        // Also what was removed has an address.
        let is_used = |server: &Server| server.address != Server::NONE.address;
        let used = servers.iter().rposition(is_used).map_or(0, |last| last + 1);
        let counts = statistics::counts(maps, used)?;
        let templates = if persistent { Some(persistent_by_server(maps)?) } else { None };
        let mut views: HashMap<u32, ServiceView> =
            present.map(|(id, identity)| (*id, ServiceView::of(identity))).collect();
        for (id, (server, load)) in (0..).zip(servers.iter().zip(&loads)) {
            if !is_used(server) {
                continue;
            }
            let Some(view) = views.get_mut(&server.service) else { continue };
            let counts = counts.get(id as usize).copied().unwrap_or_default();
            view.counts = view.counts + counts;
            if server.flags & server_flags::AVAILABLE != 0 {
                let persistent = templates
                    .as_ref()
                    .map(|templates| templates.get(&id).copied().unwrap_or_default());
                view.servers.push(ServerView::of(id, server, load, persistent, counts));
            }
        }
        let mut services: Vec<ServiceView> = views.into_values().collect();
        services.sort_by_key(|view| (matches!(view.name, ServiceName::Mark { .. }), view.id));
        for view in &mut services {
            let order = |id: u32| places.get(id as usize).map_or(0, |place| place.order);
            view.servers.sort_by_key(|server| std::cmp::Reverse(order(server.id)));
        }
        Ok(Self { services, timeouts: timeouts(&settings) })
    }
}

/// The time-outs that `ipvsadm --set` sets.
fn timeouts(settings: &Settings) -> Timeouts {
    let of = |state: u8| settings.timeouts.get(usize::from(state)).copied();
    Timeouts {
        tcp: of(TcpState::Established as u8),
        tcp_fin: of(TcpState::FinWait as u8),
        udp: of(connection::UDP),
    }
}

impl ServiceView {
    fn of(identity: &Identity) -> Self {
        let Service { id, flags, .. } = identity.service;
        let family = family_of(identity);
        let flag = |bit: u8| flags & bit != 0;
        Self {
            name: name_of(identity),
            id,
            scheduler: scheduler(identity.service.scheduler),
            flags: SchedulerFlags {
                fallback: flag(service_flags::FALLBACK),
                port: flag(service_flags::SOURCE_PORT),
                flag_3: identity.flags & identity_flags::FLAG_3 != 0,
            },
            forwarding: match identity.service.forwarding {
                forwarding::FULL_NAT => Forwarding::FullNat,
                _ => Forwarding::Nat,
            },
            one_packet: flag(service_flags::ONE_PACKET),
            persistence: persistence(&identity.service, family),
            servers: Vec::new(),
            counts: Counts::default(),
        }
    }
}

fn family_of(identity: &Identity) -> Family {
    if identity.version == 4 { Family::Ipv4 } else { Family::Ipv6 }
}

/// The name of a service.
pub(super) fn name_of(identity: &Identity) -> ServiceName {
    let family = family_of(identity);
    if identity.mark != 0 {
        return ServiceName::Mark { mark: identity.mark, family };
    }
    let protocol =
        if identity.protocol == wire::PROTOCOL_TCP { Protocol::Tcp } else { Protocol::Udp };
    ServiceName::Address {
        protocol,
        address: address(identity.address, family),
        port: identity.port,
    }
}

/// Out of the 16 bytes that tables for both families hold.
pub(super) fn address(wide: [u8; 16], family: Family) -> IpAddr {
    match family {
        Family::Ipv4 => Ipv4Addr::from(V4::narrow(wide)).into(),
        Family::Ipv6 => Ipv6Addr::from(wide).into(),
    }
}

/// The scheduler with this number of [`lvs_common::abi::scheduler`].
fn scheduler(number: u8) -> Scheduler {
    use lvs_common::abi::scheduler as numbers;
    match number {
        numbers::WEIGHTED_ROUND_ROBIN => Scheduler::WeightedRoundRobin,
        numbers::LEAST_CONNECTION => Scheduler::LeastConnections,
        numbers::WEIGHTED_LEAST_CONNECTION => Scheduler::WeightedLeastConnections,
        numbers::SOURCE_HASHING => Scheduler::SourceHash,
        numbers::DESTINATION_HASHING => Scheduler::DestinationHash,
        numbers::LOCALITY => Scheduler::LocalityLeastConnections,
        numbers::LOCALITY_REPLICATED => Scheduler::LocalityLeastConnectionsReplicated,
        numbers::SHORTEST_EXPECTED_DELAY => Scheduler::ShortestExpectedDelay,
        numbers::NEVER_QUEUE => Scheduler::NeverQueue,
        numbers::MAGLEV => Scheduler::MaglevHash,
        numbers::FAIL_OVER => Scheduler::Failover,
        numbers::OVERFLOW => Scheduler::Overflow,
        numbers::TWO_RANDOM_CHOICES => Scheduler::TwoChoices,
        _ => Scheduler::RoundRobin,
    }
}

fn persistence(service: &Service, family: Family) -> Option<Persistence> {
    let timeout = u64::from(service.persistence);
    (timeout > 0).then(|| Persistence {
        timeout: std::time::Duration::from_secs(timeout),
        granularity: match family {
            // As it lies in memory.
            Family::Ipv4 => Granularity::Mask(Ipv4Addr::from(service.granularity.to_ne_bytes())),
            Family::Ipv6 => Granularity::Prefix(service.granularity.min(128) as u8),
        },
    })
}

/// The granularity of persistence as ipvsadm shows it: nothing if each address is a client of its own.
#[must_use]
pub fn persistence_mask(granularity: Granularity) -> Option<String> {
    match granularity {
        Granularity::Mask(Ipv4Addr::BROADCAST) | Granularity::Prefix(128) => None,
        Granularity::Mask(mask) => Some(mask.to_string()),
        Granularity::Prefix(length) => Some(length.to_string()),
    }
}

impl ServerView {
    fn of(id: u32, server: &Server, load: &Load, persistent: Option<u32>, counts: Counts) -> Self {
        let flag = |bit: u16| server.flags & bit != 0;
        let family = if flag(server_flags::IPV6) { Family::Ipv6 } else { Family::Ipv4 };
        Self {
            id,
            address: address(server.address, family),
            port: server.port,
            weight: server.weight,
            upper_threshold: server.upper,
            lower_threshold: if flag(server_flags::DEFAULT_LOWER) { 0 } else { server.lower },
            overloaded: is_overloaded(server, load),
            active: load.active,
            inactive: load.inactive,
            persistent,
            counts,
        }
    }
}
