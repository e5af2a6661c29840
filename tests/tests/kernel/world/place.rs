//! The families: addresses and routes, and the kernel's tables.

use std::{collections::HashMap, net::IpAddr};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData, MapInfo};
use lvs_common::{
    abi::{
        Address as _, Flow, Fragment, FragmentKey, Service, ServiceKey, Template, TemplateKey,
        Tuple, V4, V6,
    },
    host::sample::Sample,
};
use lvs_userspace::bpf::{Collector, Dataplane, Maps};

/// The addresses and the kernel's tables of a family.
pub(crate) trait Place: Sample {
    /// A client behind a link that takes little.
    const NARROW_CLIENT: Self;
    /// A client whose MAC address is not known.
    const STRANGER: Self;
    /// A server behind a link that takes little.
    const NARROW_SERVER: Self;
    /// A server whose MAC address is not known.
    const UNRESOLVED_SERVER: Self;
    /// Routes and neighbours, for `ip -batch`.
    const NETWORK: &[&str];

    /// The kernel's connection table.
    fn flows(maps: &Maps) -> Result<HashMap<Tuple<Self>, Flow<Self>>>;
    /// Changes an entry of it.
    fn set_flow(maps: &mut Maps, key: &Tuple<Self>, flow: &Flow<Self>) -> Result<()>;
    /// The kernel's first slots for half-open connections.
    fn slots(kernel: &mut Dataplane, count: u32) -> Result<Vec<Tuple<Self>>>;
    /// Replaces a service in the kernel.
    fn set_service(maps: &mut Maps, key: &ServiceKey<Self>, service: &Service) -> Result<()>;
    /// The kernel's persistence templates.
    fn templates(maps: &Maps) -> Result<HashMap<TemplateKey<Self>, Template>>;
    /// The neighbours that the kernel's program has noted, and the state of each.
    fn neighbours(maps: &Maps) -> Result<HashMap<(u32, Self), u32>>;
    /// Has the kernel end connections that are over; tells how many were.
    fn collect(collector: &Collector, keys: &[Tuple<Self>]) -> Result<u32>;
    /// Empties both tables of the kernel's.
    fn clear(maps: &mut Maps) -> Result<()>;
    /// Empties the kernel's fragment table.
    fn clear_fragments(kernel: &mut Dataplane) -> Result<()>;

    /// As it is written.
    fn text(self) -> String {
        let wide = self.widen();
        let address = match Self::VERSION {
            4 => IpAddr::from(V4::narrow(wide)),
            _ => IpAddr::from(wide),
        };
        address.to_string()
    }
}

macro_rules! maps {
    ($family:ident, $number:literal) => {
        fn slots(kernel: &mut Dataplane, count: u32) -> Result<Vec<Tuple<Self>>> {
            let map =
                map_of_program(kernel, concat!("plan", $number), concat!("HALF_OPEN", $number))?;
            let slots = Array::<_, Tuple<Self>>::try_from(Map::Array(map))?;
            Ok((0..count).map(|slot| slots.get(&slot, 0)).collect::<Result<_, _>>()?)
        }

        fn flows(maps: &Maps) -> Result<HashMap<Tuple<Self>, Flow<Self>>> {
            Ok(maps.$family.connections.map.iter().collect::<Result<_, _>>()?)
        }

        fn set_flow(maps: &mut Maps, key: &Tuple<Self>, flow: &Flow<Self>) -> Result<()> {
            Ok(maps.$family.connections.map.insert(key, flow, 0)?)
        }

        fn set_service(maps: &mut Maps, key: &ServiceKey<Self>, service: &Service) -> Result<()> {
            Ok(maps.$family.services.insert(key, service, 0)?)
        }

        fn templates(maps: &Maps) -> Result<HashMap<TemplateKey<Self>, Template>> {
            Ok(maps.$family.templates.map.iter().collect::<Result<_, _>>()?)
        }

        fn neighbours(maps: &Maps) -> Result<HashMap<(u32, Self), u32>> {
            let entries = maps.$family.neighbours.iter().collect::<Result<Vec<_>, _>>()?;
            Ok(entries
                .into_iter()
                .map(|(key, state)| ((key.interface, key.address), state))
                .collect())
        }

        fn collect(collector: &Collector, keys: &[Tuple<Self>]) -> Result<u32> {
            Ok(collector.collect(keys)?)
        }

        fn clear(maps: &mut Maps) -> Result<()> {
            let connections = &mut maps.$family.connections.map;
            for key in connections.keys().collect::<Result<Vec<_>, _>>()? {
                connections.remove(&key)?;
            }
            let templates = &mut maps.$family.templates.map;
            for key in templates.keys().collect::<Result<Vec<_>, _>>()? {
                templates.remove(&key)?;
            }
            Ok(())
        }

        fn clear_fragments(kernel: &mut Dataplane) -> Result<()> {
            let map =
                map_of_program(kernel, concat!("frag", $number), concat!("FRAGMENTS", $number))?;
            let mut fragments = aya::maps::HashMap::<_, FragmentKey<Self>, Fragment>::try_from(
                Map::LruHashMap(map),
            )?;
            for key in fragments.keys().collect::<Result<Vec<_>, _>>()? {
                fragments.remove(&key)?;
            }
            Ok(())
        }
    };
}

impl Place for V4 {
    const NARROW_CLIENT: Self = [10, 99, 9, 9];
    const STRANGER: Self = [10, 64, 1, 9];
    const NARROW_SERVER: Self = [192, 168, 1, 110];
    const UNRESOLVED_SERVER: Self = [192, 168, 1, 111];
    const NETWORK: &[&str] = &[
        "addr add 10.64.1.254/24 dev c0",
        "addr add 10.64.1.2/32 dev c0",
        "addr add 192.168.1.1/24 dev s0",
        "addr add 192.168.1.2/32 dev s0",
        "addr add 192.168.1.3/32 dev s0",
        "neigh replace 10.64.1.1 lladdr 02:00:00:00:01:01 dev c0 nud permanent",
        "route add 10.99.0.0/16 via 10.64.1.1",
        "route add 10.99.9.9/32 via 10.64.1.1 mtu lock 1400",
        "neigh replace 192.168.1.100 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.101 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.102 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace 192.168.1.110 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "route add 192.168.1.110/32 dev s0 mtu lock 1400",
    ];

    maps!(four, "4");
}

/// An address of [`Sample`]'s networks for IPv6.
const fn v6(high: u16, low: u16) -> V6 {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    [0xfd, 0, 0, 0, 0, 0, a, b, 0, 0, 0, 0, 0, 0, c, d]
}

impl Place for V6 {
    const NARROW_CLIENT: Self = v6(0x9999, 0x909);
    const STRANGER: Self = v6(1, 9);
    const NARROW_SERVER: Self = v6(2, 0x110);
    const UNRESOLVED_SERVER: Self = v6(2, 0x111);
    const NETWORK: &[&str] = &[
        "addr add fd00:0:0:1::fe/64 dev c0 nodad",
        "addr add fd00:0:0:1::2/128 dev c0 nodad",
        "addr add fd00:0:0:2::1/64 dev s0 nodad",
        "addr add fd00:0:0:2::2/128 dev s0 nodad",
        "addr add fd00:0:0:2::3/128 dev s0 nodad",
        "neigh replace fd00:0:0:1::1 lladdr 02:00:00:00:01:01 dev c0 nud permanent",
        "route add fd00:0:0:9999::/64 via fd00:0:0:1::1",
        "route add fd00:0:0:9999::909/128 via fd00:0:0:1::1 mtu lock 1400",
        "neigh replace fd00:0:0:2::100 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::101 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::102 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "neigh replace fd00:0:0:2::110 lladdr 02:00:00:00:02:01 dev s0 nud permanent",
        "route add fd00:0:0:2::110/128 dev s0 mtu lock 1400",
    ];

    maps!(six, "6");
}

/// A map that [`Maps`] does not have, by its name, from a stage that uses it.
fn map_of_program(kernel: &mut Dataplane, stage: &str, name: &str) -> Result<MapData> {
    for head in ["xlvs", "xlvs_tc"] {
        let program = kernel.program(&format!("{head}_{stage}")).context("the stage")?;
        // Only one of them is loaded.
        let Ok(info) = program.info() else { continue };
        for id in info.map_ids()?.context("the kernel tells the maps")? {
            let map = MapInfo::from_id(id)?;
            if map.name_as_str() == Some(name) {
                return Ok(MapData::from_id(id)?);
            }
        }
    }
    bail!("no stage {stage} with a map {name}")
}
