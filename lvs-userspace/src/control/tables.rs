//! From the configuration to the contents of the maps.

use std::net::IpAddr;

use anyhow::bail;
use lvs_common::{
    abi::{
        Address, FILTER_WORDS, Load, MAX_LOCALS, Mark, SchedulerState, Server, Service, ServiceKey,
        Settings, V4, V6, forwarding, half_open_slots, scheduler, server_flags, service_flags,
        settings_flags,
    },
    connection,
    tcp::TcpState,
    wire,
};

use crate::{
    bpf::{Error, Maps},
    config::{Config, Forwarding, Protocol, Target, VirtualServer},
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
    pub members: Vec<u32>,
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
            locals: Vec::new(),
            ports: choices.ports.clone(),
            settings: settings(config, choices),
            filter: vec![0; FILTER_WORDS],
        };
        for (id, service) in (0_u32..).zip(&config.services) {
            tables.add(id, service);
        }
        tables
    }

    fn add(&mut self, id: u32, service: &VirtualServer) {
        // replaced by the engine's branch: a service of a mark has no place in the tables yet.
        let Target::Address { address: service_address, port: service_port } = service.target
        else {
            return;
        };
        let protocol = match service.protocol {
            Some(Protocol::Tcp) => wire::PROTOCOL_TCP,
            Some(Protocol::Udp) => wire::PROTOCOL_UDP,
            None => return,
        };
        let first_server = self.servers.len() as u32;
        for server in &service.real_servers {
            let ipv6 = if server.address.is_ipv6() { server_flags::IPV6 } else { 0 };
            self.servers.push(Server {
                address: widen(server.address),
                port: server.port,
                flags: server_flags::AVAILABLE | ipv6,
                weight: server.weight,
                service: id,
            });
            self.mark(server.address, server.port, protocol);
        }
        // IPVS puts a new server at the head of the list: the walk begins with the newest.
        let first_member = self.members.len();
        let usable = (first_server..)
            .zip(&service.real_servers)
            .filter(|(_, server)| server.weight > 0)
            .map(|(id, _)| id);
        self.members.extend(usable.collect::<Vec<_>>().into_iter().rev());
        let locals: Vec<[u8; 16]> = service.local_addresses.iter().copied().map(widen).collect();
        let first_local = self.place_locals(&locals);
        self.mark(service_address, service_port, protocol);
        let value = Service {
            id,
            first_member: first_member as u32,
            members: (self.members.len() - first_member) as u32,
            persistence: service
                .persistence
                .map_or(0, |p| u32::try_from(p.timeout.as_secs()).unwrap_or(u32::MAX)),
            first_local: first_local as u32,
            locals: locals.len() as u32,
            // replaced by the engine's branch: all schedulers are rr, without flags and thresholds.
            scheduler: scheduler::ROUND_ROBIN,
            forwarding: match service.forwarding {
                Forwarding::Nat => forwarding::NAT,
                Forwarding::FullNat => forwarding::FULL_NAT,
            },
            flags: if service.one_packet { service_flags::ONE_PACKET } else { 0 },
            reserved: 0,
        };
        let (port, protocol) = (service_port, u16::from(protocol));
        match service_address {
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
        if let Some(word) = self.filter.get_mut(mark.word as usize) {
            *word |= 1 << mark.bit;
        }
    }

    /// Whether everything fits.
    pub fn check(&self) -> anyhow::Result<()> {
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
        let services4 = self.services4.iter().map(|(_, service)| service);
        for service in services4.chain(self.services6.iter().map(|(_, service)| service)) {
            let result = maps.schedulers.set(service.id, SchedulerState::START, 0);
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

/// IPVS's time-outs with what the file changes: `lvs_timeouts` sets those that `ipvsadm --set` does.
fn settings(config: &Config, choices: &Choices) -> Settings {
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
        flags: if choices.sloppy_tcp { settings_flags::SLOPPY_TCP } else { 0 },
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
        assert_eq!(tables.members, [2, 0, 3]);
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
                flags: server_flags::AVAILABLE,
                weight: 0,
                service: 0
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
