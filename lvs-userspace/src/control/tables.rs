//! From the configuration to the contents of the maps.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use anyhow::bail;
use lvs_common::{
    abi::{
        Address, FILTER_WORDS, Load, MAX_LOCALS, MAX_MEMBERS, MEMBERS_EACH, Mark, Run,
        SchedulerState, Server, Service, ServiceKey, Settings, V4, V6, forwarding, half_open_slots,
        scheduler, server_flags, service_flags, settings_flags,
    },
    connection,
    tcp::TcpState,
    wire,
};

use super::lists::{self, Limit, Member};
use crate::{
    bpf::{Error, Maps},
    config::{
        Config, Family, Forwarding, Granularity, Protocol, RealServer, Scheduler, Target,
        VirtualServer,
    },
};

/// A UDP connection's time-out in seconds (`udp_timeouts` in `ip_vs_proto_udp.c`).
const UDP_TIMEOUT: u32 = 300;

/// How far the first ports of two servers are apart.
const PORT_STRIDE: u64 = 10_007;

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

/// The contents of the maps that a configuration asks for.
#[derive(Clone, Debug)]
pub struct Tables {
    /// `SERVICES4`.
    pub services4: Vec<(ServiceKey<V4>, Service)>,
    /// `SERVICES6`.
    pub services6: Vec<(ServiceKey<V6>, Service)>,
    /// `SERVERS`, by id.
    pub servers: Vec<Server>,
    /// `MEMBERS`.
    pub members: Vec<[u16; MEMBERS_EACH]>,
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
}

impl Tables {
    /// Numbers services and servers, lists members and local addresses, and marks the filter.
    #[must_use]
    pub fn new(config: &Config, choices: &Choices) -> Self {
        let mut tables = Self {
            services4: Vec::new(),
            services6: Vec::new(),
            servers: Vec::new(),
            members: Vec::new(),
            runs: Vec::new(),
            states: vec![SchedulerState::at(0); config.services.len()],
            locals: Vec::new(),
            ports: choices.ports.clone(),
            settings: settings(config, choices),
            filter: vec![0; FILTER_WORDS],
        };
        // Marks come first in IPVS: where a key is another service's too, the last one that is written counts.
        let marked = marked(config);
        let (by_mark, by_address): (Vec<_>, Vec<_>) = (0_u32..)
            .zip(&config.services)
            .partition(|(_, service)| matches!(service.target, Target::Mark(_)));
        for (id, service) in by_address.into_iter().chain(by_mark) {
            tables.add(id, service, &marked);
        }
        if tables.settings.flags & (settings_flags::ALL_PORTS | settings_flags::MARKS) != 0 {
            tables.set(Mark::WIDE);
        }
        tables
    }

    fn add(&mut self, id: u32, service: &VirtualServer, marked: &Marked) {
        let granularity = service.persistence.map_or(u32::MAX, |p| match p.granularity {
            // As it lies in memory.
            Granularity::Mask(mask) => u32::from_ne_bytes(mask.octets()),
            Granularity::Prefix(length) => length.into(),
        });
        let protocols = service.protocol.map_or(Protocol::ALL.to_vec(), |protocol| vec![protocol]);
        let first_server = self.servers.len() as u16;
        for server in &service.real_servers {
            let ipv6 = if server.address.is_ipv6() { server_flags::IPV6 } else { 0 };
            self.servers.push(Server {
                address: widen(server.address),
                port: server.port,
                flags: server_flags::AVAILABLE | ipv6,
                weight: server.weight,
                service: id,
                upper: server.upper_threshold,
                lower: server.lower_threshold,
                granularity,
            });
            for protocol in &protocols {
                self.mark(server.address, server.port, number(*protocol));
            }
        }
        let member = |(id, server): (u16, &RealServer)| Member {
            id,
            weight: server.weight,
            last_weight: server.weight,
            address: server.address,
            port: server.port,
        };
        let mut members: Vec<Member> =
            (first_server..).zip(&service.real_servers).map(member).collect();
        members.reverse();
        let Placed { scheduler, first_member, members, turns, turn } =
            self.place(service.scheduler, &members);
        if let Some(state) = self.states.get_mut(id as usize) {
            *state = SchedulerState::at(turn);
        }
        let locals: Vec<[u8; 16]> = service.local_addresses.iter().copied().map(widen).collect();
        let first_local = self.place_locals(&locals);
        let value = Service {
            turns,
            id,
            state: id,
            first_member,
            members,
            persistence: service
                .persistence
                .map_or(0, |p| u32::try_from(p.timeout.as_secs()).unwrap_or(u32::MAX)),
            granularity,
            first_local: first_local as u32,
            locals: locals.len() as u32,
            scheduler,
            forwarding: match service.forwarding {
                Forwarding::Nat => forwarding::NAT,
                Forwarding::FullNat => forwarding::FULL_NAT,
            },
            flags: flags(service),
            reserved: [0; 5],
        };
        match service.target {
            Target::Address { address, port } => {
                if port == 0 {
                    self.settings.flags |= settings_flags::ALL_PORTS;
                }
                for protocol in protocols {
                    self.lead(address, port, number(protocol), value);
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
        self.mark(address, port, protocol);
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

    /// Lays out what a scheduler chooses from.
    fn place(&mut self, scheduler: Scheduler, servers: &[Member]) -> Placed {
        let (number, list) = match scheduler {
            Scheduler::WeightedRoundRobin => return self.place_round(servers),
            Scheduler::RoundRobin => (scheduler::ROUND_ROBIN, lists::usable(servers)),
            Scheduler::LeastConnections => (scheduler::LEAST_CONNECTION, lists::usable(servers)),
            Scheduler::WeightedLeastConnections => {
                (scheduler::WEIGHTED_LEAST_CONNECTION, lists::usable(servers))
            }
            Scheduler::SourceHash => (scheduler::SOURCE_HASHING, lists::source_hashing(servers)),
            Scheduler::DestinationHash => {
                (scheduler::DESTINATION_HASHING, lists::destination_hashing(servers))
            }
            Scheduler::LocalityLeastConnections => (scheduler::LOCALITY, lists::usable(servers)),
            Scheduler::LocalityLeastConnectionsReplicated => {
                (scheduler::LOCALITY_REPLICATED, lists::usable(servers))
            }
            Scheduler::ShortestExpectedDelay => {
                (scheduler::SHORTEST_EXPECTED_DELAY, lists::usable(servers))
            }
            Scheduler::NeverQueue => (scheduler::NEVER_QUEUE, lists::usable(servers)),
            Scheduler::MaglevHash => (scheduler::MAGLEV, lists::maglev(servers)),
            Scheduler::Failover => (scheduler::FAIL_OVER, lists::usable(servers)),
            Scheduler::Overflow => (scheduler::OVERFLOW, lists::usable(servers)),
            Scheduler::TwoChoices => (scheduler::TWO_RANDOM_CHOICES, lists::usable(servers)),
        };
        Placed {
            scheduler: number,
            first_member: self.place_members(&list),
            members: list.len() as u32,
            turns: 0,
            turn: 0,
        }
    }

    fn place_round(&mut self, servers: &[Member]) -> Placed {
        let round = lists::weighted_round(servers);
        let first_member = self.runs.len() as u32;
        for (turn, ids) in &round.runs {
            let first_member = self.place_members(ids);
            self.runs.push(Run { turn: *turn, first_member, members: ids.len() as u32 });
        }
        Placed {
            scheduler: scheduler::WEIGHTED_ROUND_ROBIN,
            first_member,
            members: round.runs.len() as u32,
            turns: round.turns,
            turn: Limit::after_adding(servers).turn(servers),
        }
    }

    /// Where a list lies, in places of `MEMBERS`; it begins with an element.
    fn place_members(&mut self, ids: &[u16]) -> u32 {
        let first = (self.members.len() * MEMBERS_EACH) as u32;
        self.members.extend(ids.chunks(MEMBERS_EACH).map(|ids| {
            let mut element = [0; MEMBERS_EACH];
            for (place, id) in element.iter_mut().zip(ids) {
                *place = *id;
            }
            element
        }));
        first
    }

    /// Where a run of local addresses lies. Services with the same group share one.
    fn place_locals(&mut self, locals: &[[u8; 16]]) -> usize {
        let there = match locals.len() {
            0 => Some(0),
            length => self.locals.windows(length).position(|run| run == locals),
        };
        there.unwrap_or_else(|| {
            self.locals.extend(locals);
            self.locals.len() - locals.len()
        })
    }

    fn mark(&mut self, address: IpAddr, port: u16, protocol: u8) {
        let mark = match address {
            IpAddr::V4(address) => Mark::new(address.octets(), port, protocol.into()),
            IpAddr::V6(address) => Mark::new(address.octets(), port, protocol.into()),
        };
        self.set(mark);
    }

    fn set(&mut self, mark: Mark) {
        if let Some(word) = self.filter.get_mut(mark.word as usize) {
            *word |= 1 << mark.bit;
        }
    }

    /// Whether everything fits.
    pub fn check(&self) -> anyhow::Result<()> {
        let count = self.members.len();
        if count > MAX_MEMBERS as usize {
            bail!(
                "the schedulers' lists take {count} elements, more than {MAX_MEMBERS}: weights that differ much from \
                 each other (wrr), or too many services with mh; let more servers have the same weight"
            );
        }
        let count = self.locals.len();
        if count > MAX_LOCALS as usize {
            bail!(
                "the groups of local addresses that services use hold {count} addresses, more than {MAX_LOCALS}; \
                 let services share groups"
            );
        }
        Ok(())
    }

    /// Has each server begin with another of full NAT's ports: it may be one of another service too, which would ask for
    /// the same ports in the same order.
    pub fn spread_ports(&self, maps: &mut Maps) -> Result<(), Error> {
        for id in 0..self.servers.len() as u32 {
            let load = Load { port_cursor: u64::from(id) * PORT_STRIDE, ..Load::default() };
            let result = maps.loads.set(id, load, 0);
            result.map_err(|source| Error::Map { map: "LOADS", source })?;
        }
        Ok(())
    }

    /// Writes everything: the services last, so that none is seen before its servers are there.
    pub fn write(&self, maps: &mut Maps) -> Result<(), Error> {
        for (id, server) in (0_u32..).zip(&self.servers) {
            let result = maps.servers.set(id, server, 0);
            result.map_err(|source| Error::Map { map: "SERVERS", source })?;
        }
        for (slot, member) in (0_u32..).zip(&self.members) {
            let result = maps.members.set(slot, member, 0);
            result.map_err(|source| Error::Map { map: "MEMBERS", source })?;
        }
        for (slot, local) in (0_u32..).zip(&self.locals) {
            let result = maps.locals.set(slot, local, 0);
            result.map_err(|source| Error::Map { map: "LOCALS", source })?;
        }
        for (slot, port) in (0_u32..).zip(&self.ports) {
            let result = maps.ports.set(slot, port, 0);
            result.map_err(|source| Error::Map { map: "PORTS", source })?;
        }
        let result = maps.settings.set(0, self.settings, 0);
        result.map_err(|source| Error::Map { map: "SETTINGS", source })?;
        let filter: &[u64; FILTER_WORDS] = self
            .filter
            .as_slice()
            .try_into()
            .map_err(|_| Error::Object("its filter has another size".to_owned()))?;
        let result = maps.filter.set(0, filter, 0);
        result.map_err(|source| Error::Map { map: "FILTER", source })?;
        for (slot, run) in (0_u32..).zip(&self.runs) {
            let result = maps.runs.set(slot, run, 0);
            result.map_err(|source| Error::Map { map: "RUNS", source })?;
        }
        for (slot, state) in (0_u32..).zip(&self.states) {
            let result = maps.schedulers.set(slot, state, 0);
            result.map_err(|source| Error::Map { map: "SCHEDULERS", source })?;
        }
        for (key, service) in &self.services4 {
            let result = maps.four.services.insert(key, service, 0);
            result.map_err(|source| Error::Map { map: "SERVICES4", source })?;
        }
        for (key, service) in &self.services6 {
            let result = maps.six.services.insert(key, service, 0);
            result.map_err(|source| Error::Map { map: "SERVICES6", source })?;
        }
        Ok(())
    }
}

/// What carries a mark, by mark and family.
type Marked = HashMap<(u32, Family), Vec<(IpAddr, u16, Protocol)>>;

/// What carries each mark: where several rules match, the first one counts.
fn marked(config: &Config) -> Marked {
    let mut seen = HashSet::new();
    let mut marked = Marked::new();
    for rule in &config.marks {
        let keys = rule.keys().filter(|key| seen.insert(*key));
        marked.entry((rule.mark, rule.addresses.family())).or_default().extend(keys);
    }
    marked
}

/// Where a scheduler finds what it chooses from.
struct Placed {
    /// [`Service::scheduler`].
    scheduler: u8,
    /// [`Service::first_member`].
    first_member: u32,
    /// [`Service::members`].
    members: u32,
    /// [`Service::turns`].
    turns: u64,
    /// The turn to begin with.
    turn: u64,
}

/// [`Service::flags`].
fn flags(service: &VirtualServer) -> u8 {
    let flag = |set: bool, bit| if set { bit } else { 0 };
    flag(service.one_packet, service_flags::ONE_PACKET)
        | flag(service.flags.fallback, service_flags::FALLBACK)
        | flag(service.flags.port, service_flags::SOURCE_PORT)
}

/// The protocol's number.
const fn number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => wire::PROTOCOL_TCP,
        Protocol::Udp => wire::PROTOCOL_UDP,
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
fn widen(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.octets().widen(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Tables {
        Tables::new(&crate::config::parse("test", text).unwrap().config, &Choices::default())
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
        assert_eq!(tables.members, [[2, 0, 0, 0], [3, 0, 0, 0]]);
        let runs: Vec<_> =
            tables.services4.iter().map(|(_, s)| (s.id, s.first_member, s.members)).collect();
        assert_eq!(runs, [(0, 0, 2), (1, 4, 1)]);
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
                flags: server_flags::AVAILABLE,
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
