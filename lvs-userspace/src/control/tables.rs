//! The contents of the maps, and what the configuration means in them.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use lvs_common::{
    abi::{
        Address, FILTER_WORDS, Identity, LedgerHead, MEMBERS_EACH, Mark, Place, Run,
        SchedulerState, Server, Service, ServiceKey, Settings, V4, V6, forwarding, half_open_slots,
        identity_flags, server_flags, service_flags, settings_flags,
    },
    connection,
    tcp::TcpState,
    wire,
};

use crate::{
    config::{
        Config, Family, Forwarding, Granularity, Protocol, RealServer, Target, VirtualServer,
    },
    inspect::ServiceName,
};

/// A UDP connection's time-out in seconds (`udp_timeouts` in `ip_vs_proto_udp.c`).
pub(super) const UDP_TIMEOUT: u32 = 300;

/// What holds for all services, beside the configuration file.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// Connections of each address family that fit.
    pub connections: u32,
    /// Whether any TCP segment may open a connection.
    pub sloppy_tcp: bool,
    /// Whether packets of a connection whose server was removed end it.
    pub expire_nodest: bool,
    /// Whether a template whose server has weight 0 has ended.
    pub expire_quiescent: bool,
    /// The ports that full NAT can take.
    pub ports: Vec<u16>,
}

/// The contents of the maps.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `SERVICES4`; of several values of one key the last one counts.
    pub services4: Vec<(ServiceKey<V4>, Service)>,
    /// `SERVICES6`, likewise.
    pub services6: Vec<(ServiceKey<V6>, Service)>,
    /// `SERVERS`, by id.
    pub servers: Vec<Server>,
    /// `MEMBERS`.
    pub members: Vec<[u32; MEMBERS_EACH]>,
    /// `RUNS`.
    pub runs: Vec<Run>,
    /// `SCHEDULERS`.
    pub states: Vec<SchedulerState>,
    /// `LOCALS`.
    pub locals: Vec<[u8; 16]>,
    /// `PORTS`.
    pub ports: Vec<u16>,
    /// `SETTINGS`.
    pub settings: Settings,
    /// `FILTER`.
    pub filter: Vec<u64>,
    /// `IDENTITIES`.
    pub identities: HashMap<u32, Identity>,
    /// `PLACES`, by server id.
    pub places: Vec<Place>,
    /// `LEDGER`.
    pub head: LedgerHead,
}

impl Default for Tables {
    fn default() -> Self {
        Self {
            services4: Vec::new(),
            services6: Vec::new(),
            servers: Vec::new(),
            members: Vec::new(),
            runs: Vec::new(),
            states: Vec::new(),
            locals: Vec::new(),
            ports: Vec::new(),
            settings: Settings { timeouts: [0; 16], ports: 0, half_open: 0, flags: 0 },
            filter: vec![0; FILTER_WORDS],
            identities: HashMap::new(),
            places: Vec::new(),
            head: LedgerHead::default(),
        }
    }
}

impl Tables {
    /// What holds for all services, without any.
    pub(super) fn with(config: &Config, choices: &Choices) -> Self {
        Self {
            ports: choices.ports.clone(),
            settings: settings(config, choices),
            ..Self::default()
        }
    }

    /// The number of a service that is there.
    pub(super) fn id(&self, name: ServiceName) -> Option<u32> {
        let (address, port, mark) = name_in_maps(name.target());
        let version = version(name.family());
        let is_it = |identity: &Identity| {
            (identity.address, identity.port, identity.mark) == (address, port, mark)
                && identity.protocol == name.protocol().map_or(0, number)
                && identity.version == version
                && identity.flags & identity_flags::PRESENT != 0
        };
        self.identities.iter().find(|(_, identity)| is_it(identity)).map(|(id, _)| *id)
    }

    /// Has the packets of a service find it, and those of its servers.
    pub(super) fn add(&mut self, service: &VirtualServer, value: Service, marked: &Marked) {
        for protocol in protocols(service.protocol) {
            for server in service.real_servers.iter() {
                self.mark(server.address, server.port, protocol);
            }
        }
        match service.target {
            Target::Address { address, port } => {
                for protocol in protocols(service.protocol) {
                    self.lead(address, port, protocol, value);
                }
            }
            Target::Mark(mark) => {
                self.settings.flags |= settings_flags::MARKS;
                match service.family {
                    Family::Ipv4 => self.services4.push((ServiceKey::of_mark(mark), value)),
                    Family::Ipv6 => self.services6.push((ServiceKey::of_mark(mark), value)),
                }
                let keys = marked.get(&(mark, service.family)).into_iter().flatten();
                for (address, port, protocol) in keys {
                    self.lead(*address, *port, number(*protocol), value);
                }
            }
        }
    }

    /// Has what is sent there find the service.
    fn lead(&mut self, address: IpAddr, port: u16, protocol: u8, value: Service) {
        self.mark_service(address, port, protocol);
        let protocol = protocol.into();
        match address {
            IpAddr::V4(address) => {
                let key = ServiceKey { address: address.octets(), port, protocol };
                self.services4.push((key, value));
            }
            IpAddr::V6(address) => {
                let key = ServiceKey { address: address.octets(), port, protocol };
                self.services6.push((key, value));
            }
        }
    }

    /// Has the filter let through what is sent there.
    pub(super) fn mark_service(&mut self, address: IpAddr, port: u16, protocol: u8) {
        if port == 0 {
            self.settings.flags |= settings_flags::ALL_PORTS;
        }
        self.mark(address, port, protocol);
    }

    /// The same for what comes from there.
    pub(super) fn mark(&mut self, address: IpAddr, port: u16, protocol: u8) {
        let mark = match address {
            IpAddr::V4(address) => Mark::new(address.octets(), port, protocol.into()),
            IpAddr::V6(address) => Mark::new(address.octets(), port, protocol.into()),
        };
        self.set(mark);
    }

    /// Has the filter ask further if there are services that ask for it.
    pub(super) fn mark_wide(&mut self) {
        if self.settings.flags & (settings_flags::ALL_PORTS | settings_flags::MARKS) != 0 {
            self.set(Mark::WIDE);
        }
    }

    fn set(&mut self, mark: Mark) {
        if let Some(word) = self.filter.get_mut(mark.word as usize) {
            *word |= 1 << mark.bit;
        }
    }
}

/// What carries a mark, by mark and family.
pub(super) type Marked = HashMap<(u32, Family), Vec<(IpAddr, u16, Protocol)>>;

/// What carries each mark: where several rules match, the first one counts.
pub(super) fn marked(config: &Config) -> Marked {
    let mut seen = HashSet::new();
    let mut marked = Marked::new();
    for rule in &config.marks {
        let keys = rule.keys().filter(|key| seen.insert(*key));
        marked.entry((rule.mark, rule.addresses.family())).or_default().extend(keys);
    }
    marked
}

/// A server's entry.
pub(super) fn server(server: &RealServer, service: u32, granularity: u32) -> Server {
    let flag = |set: bool, bit| if set { bit } else { 0 };
    Server {
        address: widen(server.address),
        port: server.port,
        flags: server_flags::AVAILABLE
            | flag(server.address.is_ipv6(), server_flags::IPV6)
            | flag(server.lower_threshold == 0, server_flags::DEFAULT_LOWER),
        weight: server.weight,
        service,
        upper: server.upper_threshold,
        lower: match server.lower_threshold {
            0 => Server::default_lower(server.upper_threshold),
            lower => lower,
        },
        granularity,
    }
}

/// [`Identity::address`], [`Identity::port`] and [`Identity::mark`].
pub(super) fn name_in_maps(target: Target) -> ([u8; 16], u16, u32) {
    match target {
        Target::Address { address, port } => (widen(address), port, 0),
        Target::Mark(mark) => ([0; 16], 0, mark),
    }
}

/// [`Identity::version`].
pub(super) const fn version(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 4,
        Family::Ipv6 => 6,
    }
}

/// The numbers of a service's protocols.
pub(super) fn protocols(protocol: Option<Protocol>) -> impl Iterator<Item = u8> {
    let of_service = move |one: &Protocol| protocol.is_none_or(|protocol| protocol == *one);
    Protocol::ALL.into_iter().filter(of_service).map(number)
}

/// [`Service::granularity`].
pub(super) fn granularity(service: &VirtualServer) -> u32 {
    service.persistence.map_or(u32::MAX, |p| match p.granularity {
        // As it lies in memory.
        Granularity::Mask(mask) => u32::from_ne_bytes(mask.octets()),
        Granularity::Prefix(length) => length.into(),
    })
}

/// [`Service::persistence`].
pub(super) fn persistence(service: &VirtualServer) -> u32 {
    service.persistence.map_or(0, |p| u32::try_from(p.timeout.as_secs()).unwrap_or(u32::MAX))
}

/// [`Service::forwarding`].
pub(super) const fn forwarding(service: &VirtualServer) -> u8 {
    match service.forwarding {
        Forwarding::FullNat => forwarding::FULL_NAT,
        // Services of the last two are left out before: `Loaded::balanced`.
        Forwarding::Nat | Forwarding::DirectRouting | Forwarding::Tunnel(_) => forwarding::NAT,
    }
}

/// [`Service::flags`].
pub(super) fn flags(service: &VirtualServer) -> u8 {
    let flag = |set: bool, bit| if set { bit } else { 0 };
    flag(service.one_packet, service_flags::ONE_PACKET)
        | flag(service.flags.fallback, service_flags::FALLBACK)
        | flag(service.flags.port, service_flags::SOURCE_PORT)
}

/// IANA's number.
const PROTOCOL_SCTP: u8 = 132;

/// The protocol's number.
pub(super) const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => wire::PROTOCOL_TCP,
        Protocol::Udp => wire::PROTOCOL_UDP,
        Protocol::Sctp => PROTOCOL_SCTP,
    }
}

/// IPVS's time-outs with what the file changes: `lvs_timeouts` sets those that `ipvsadm --set` does.
fn settings(config: &Config, choices: &Choices) -> Settings {
    let flag = |set: bool, bit| if set { bit } else { 0 };
    let mut timeouts = [0; 16];
    for (number, place) in (0..).zip(&mut timeouts) {
        *place = match TcpState::from_number(number) {
            Some(TcpState::Established) => {
                config.timeouts.tcp.unwrap_or(TcpState::Established.timeout())
            }
            Some(TcpState::FinWait) => {
                config.timeouts.tcp_fin.unwrap_or(TcpState::FinWait.timeout())
            }
            Some(state) => state.timeout(),
            None if number == connection::UDP => config.timeouts.udp.unwrap_or(UDP_TIMEOUT),
            None => 0,
        };
    }
    Settings {
        timeouts,
        ports: choices.ports.len() as u32,
        half_open: half_open_slots(choices.connections),
        flags: flag(choices.sloppy_tcp, settings_flags::SLOPPY_TCP)
            | flag(choices.expire_nodest, settings_flags::EXPIRE_NODEST)
            | flag(choices.expire_quiescent, settings_flags::EXPIRE_QUIESCENT),
    }
}

/// An address in the 16 bytes that tables for both families hold.
pub(super) fn widen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.octets().widen(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::ledger::Ledger, *};

    fn tables(text: &str) -> Tables {
        let config =
            crate::config::parse("test", text, &crate::config::Policy::default()).unwrap().config;
        Ledger::first(&config, &Choices::default()).unwrap().ledger.tables
    }

    const TWO_SERVICES: &str = "
        virtual_server 10.0.0.1 80 {
            lb_algo rr
            lb_kind NAT
            protocol TCP
            persistence_timeout 90
            real_server 192.168.0.1 8080 { weight 1 }
            real_server 192.168.0.2 8081 { weight 0 }
            real_server 192.168.0.3 8082 { weight 5 }
        }
        virtual_server 10.0.0.1 443 {
            lb_algo rr
            lb_kind NAT
            protocol TCP
            real_server 192.168.0.1 8443 { weight 1 }
        }";

    #[test]
    fn members_are_the_usable_servers_newest_first() {
        let tables = tables(TWO_SERVICES);
        assert_eq!(tables.members, [[2, 0], [3, 0]]);
        let runs: Vec<_> =
            tables.services4.iter().map(|(_, s)| (s.id, s.first_member, s.members)).collect();
        assert_eq!(runs, [(0, 0, 2), (1, 2, 1)]);
    }

    #[test]
    fn a_server_of_weight_0_is_still_there_for_its_persistent_clients() {
        let tables = tables(TWO_SERVICES);
        assert_eq!(tables.servers.len(), 4);
        assert_eq!(
            tables.servers[1],
            Server {
                address: [192, 168, 0, 2].widen(),
                port: 8081,
                flags: server_flags::AVAILABLE | server_flags::DEFAULT_LOWER,
                weight: 0,
                service: 0,
                upper: 0,
                lower: 0,
                granularity: u32::MAX,
            }
        );
        assert_eq!(tables.services4[0].1.persistence, 90);
        assert_eq!(tables.services4[1].1.persistence, 0);
    }

    #[test]
    fn full_nat_and_ipv6_and_udp_reach_their_tables() {
        let tables = tables(
            "
            local_address_group here {
                fd00::1
                fd00::2
            }
            virtual_server fd00::80 53 {
                lb_algo rr
                lb_kind FNAT
                laddr_group_name here
                protocol UDP
                ops
                real_server fd00:1::1 5353 { weight 1 }
            }
            global_defs { lvs_timeouts tcp 60 udp 5 }",
        );
        let [(key, service)] = tables.services6.as_slice() else { panic!("one IPv6 service") };
        assert_eq!((key.port, key.protocol), (53, 17));
        assert_eq!((service.forwarding, service.locals), (forwarding::FULL_NAT, 2));
        assert_eq!(service.flags, service_flags::ONE_PACKET);
        assert_eq!(tables.locals.len(), 2);
        assert_eq!(tables.servers[0].flags & server_flags::IPV6, server_flags::IPV6);
        let timeouts = tables.settings.timeouts;
        assert_eq!(timeouts[TcpState::Established as usize], 60);
        assert_eq!(timeouts[TcpState::FinWait as usize], 120);
        assert_eq!(timeouts[usize::from(connection::UDP)], 5);
        let marks = tables.filter.iter().map(|word| word.count_ones()).sum::<u32>();
        assert_eq!(marks, 2, "the service and its server");
    }
}
