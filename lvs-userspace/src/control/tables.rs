//! From the configuration to the contents of the maps.

use std::net::{IpAddr, Ipv4Addr};

use lvs_common::abi::{
    SchedulerState, Server, Service, ServiceKey4, forwarding, scheduler, server_flags,
};

use crate::{
    bpf::{Error, Maps},
    config::{Config, Forwarding, Protocol, Scheduler},
};

/// The contents of the maps that a configuration asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    /// `SERVICES4`.
    pub services: Vec<(ServiceKey4, Service)>,
    /// `SERVERS`, by id.
    pub servers: Vec<Server>,
    /// `MEMBERS`.
    pub members: Vec<u32>,
}

impl Tables {
    /// Numbers services and servers and lists the members.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut tables = Self::default();
        for (id, service) in (0_u32..).zip(&config.services) {
            let (IpAddr::V4(address), Forwarding::Nat, Protocol::Tcp) =
                (service.address, service.forwarding, service.protocol)
            else {
                tracing::error!(
                    "the tables cannot hold line {} yet, so that it is not balanced",
                    service.line
                );
                continue;
            };
            let first_server = tables.servers.len() as u32;
            tables.servers.extend(service.real_servers.iter().map(|server| Server {
                address: octets(server.address),
                port: server.port,
                flags: server_flags::AVAILABLE,
                weight: server.weight,
                service: id,
            }));
            // IPVS puts a new server at the head of the list: the walk begins with the newest.
            let first_member = tables.members.len();
            let usable = (first_server..)
                .zip(&service.real_servers)
                .filter(|(_, server)| server.weight > 0)
                .map(|(id, _)| id);
            tables.members.extend(usable.collect::<Vec<_>>().into_iter().rev());
            tables.services.push((
                ServiceKey4 {
                    address: address.octets(),
                    port: service.port,
                    protocol: u16::from(lvs_common::wire::PROTOCOL_TCP),
                },
                Service {
                    id,
                    first_member: first_member as u32,
                    members: (tables.members.len() - first_member) as u32,
                    persistence: service
                        .persistence
                        .map_or(0, |time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX)),
                    scheduler: match service.scheduler {
                        Scheduler::RoundRobin => scheduler::ROUND_ROBIN,
                    },
                    forwarding: forwarding::NAT,
                    reserved: 0,
                },
            ));
        }
        tables
    }

    /// Writes everything: the services last, so that none is seen before its servers are there.
    pub fn write(&self, maps: &mut Maps) -> Result<(), Error> {
        for (id, server) in (0_u32..).zip(&self.servers) {
            maps.servers
                .set(id, server, 0)
                .map_err(|source| Error::Map { map: "SERVERS", source })?;
        }
        for (slot, member) in (0_u32..).zip(&self.members) {
            maps.members
                .set(slot, member, 0)
                .map_err(|source| Error::Map { map: "MEMBERS", source })?;
        }
        for (key, service) in &self.services {
            maps.schedulers
                .set(service.id, SchedulerState::START, 0)
                .map_err(|source| Error::Map { map: "SCHEDULERS", source })?;
            maps.services
                .insert(key, service, 0)
                .map_err(|source| Error::Map { map: "SERVICES4", source })?;
        }
        Ok(())
    }
}

/// A service's real servers have its address family.
const fn octets(address: IpAddr) -> [u8; 4] {
    match address {
        IpAddr::V4(address) => address.octets(),
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED.octets(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables(text: &str) -> Tables {
        Tables::new(&crate::config::parse("test", text).unwrap().config)
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
            tables.services.iter().map(|(_, s)| (s.id, s.first_member, s.members)).collect();
        assert_eq!(runs, [(0, 0, 2), (1, 2, 1)]);
    }

    #[test]
    fn a_server_of_weight_0_is_still_there_for_its_persistent_clients() {
        let tables = tables(TWO_SERVICES);
        assert_eq!(tables.servers.len(), 4);
        assert_eq!(
            tables.servers[1],
            Server {
                address: [192, 168, 0, 2],
                port: 8081,
                flags: server_flags::AVAILABLE,
                weight: 0,
                service: 0
            }
        );
        assert_eq!(tables.services[0].1.persistence, 90);
        assert_eq!(tables.services[1].1.persistence, 0);
    }
}
