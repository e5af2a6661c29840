//! The tables of the kernel and those in memory: they must hold the same. The times in them are those of two clocks
//! and are left out; so is the age of next hops.

use std::{collections::HashMap, fmt::Debug, hash::Hash};

use anyhow::{Result, ensure};
use lvs_common::abi::{
    Counter, Flow, Head, Load, Statistics, Template, Tuple, V4, V6, neighbour_state,
};

use crate::world::{Place, World};

/// Compares all tables.
pub(crate) fn tables(world: &mut World) -> Result<()> {
    family::<V4>(world)?;
    family::<V6>(world)?;
    counters(world)?;
    for (id, _) in (0..).zip(&world.tables.servers) {
        let kernel: Load = world.kernel.maps.loads.get(id)?;
        let memory = world.memory.load(id);
        ensure!(kernel == memory, "load of server {id}: kernel {kernel:?}, host {memory:?}");
        let kernel = statistics(world, id)?;
        let memory = world.memory.statistics.borrow().get(&id).copied().unwrap_or_default();
        ensure!(kernel == memory, "server {id}: kernel {kernel:?}, host {memory:?}");
    }
    Ok(())
}

/// The kernel's statistics of a server, of all CPUs.
pub(crate) fn statistics(world: &World, id: u32) -> Result<Statistics> {
    let mut sum = Statistics::default();
    for cpu in world.kernel.maps.statistics.get(&id, 0)?.iter() {
        let Statistics { connections, in_packets, in_bytes, out_packets, out_bytes } = cpu;
        sum.connections += connections;
        sum.in_packets += in_packets;
        sum.in_bytes += in_bytes;
        sum.out_packets += out_packets;
        sum.out_bytes += out_bytes;
    }
    Ok(sum)
}

/// One of the kernel's counters, of all CPUs.
pub(crate) fn counter(world: &World, counter: Counter) -> Result<u64> {
    Ok(world.kernel.maps.counters.get(&(counter as u32), 0)?.iter().sum())
}

/// Compares the counters: the first that differs.
pub(crate) fn counters(world: &World) -> Result<()> {
    for each in Counter::ALL {
        let (kernel, memory) = (counter(world, each)?, world.memory.counted(each));
        ensure!(kernel == memory, "{}: kernel {kernel}, host {memory}", each.name());
    }
    Ok(())
}

fn family<A: Place>(world: &mut World) -> Result<()> {
    slots::<A>(world)?;
    let maps = &world.kernel.maps;
    let memory = A::tables(&world.memory);
    // Nor do the templates' generations agree, which are random.
    let timeless = |flow: Flow<A>| Flow {
        seen: 0,
        hop_checked: 0,
        head: Head { template: 0, ..flow.head },
        ..flow
    };
    same(
        "connection",
        &A::flows(maps)?.into_iter().map(|(key, flow)| (key, timeless(flow))).collect(),
        &memory.entries().into_iter().map(|(key, flow)| (key, timeless(flow))).collect(),
    )?;
    let told = |template: Template| (template.server, template.connections, template.timeout);
    let templates = memory.templates.borrow();
    same(
        "template",
        &A::templates(maps)?.into_iter().map(|(key, template)| (key, told(template))).collect(),
        &templates.iter().map(|(key, template)| (*key, told(template.get()))).collect(),
    )?;
    let state = |resolved: &bool| {
        if *resolved { neighbour_state::IN_USE } else { neighbour_state::UNRESOLVED }
    };
    let neighbours = memory.neighbours.borrow();
    same(
        "neighbour",
        &A::neighbours(maps)?,
        &neighbours.iter().map(|(key, resolved)| (*key, state(resolved))).collect(),
    )
}

/// The slots of half-open connections; of a free one only that it is free.
fn slots<A: Place>(world: &mut World) -> Result<()> {
    let taken = |(slot, key): (u32, Tuple<A>)| (key.protocol != 0).then_some((slot, key));
    let kernel = A::slots(&mut world.kernel, world.tables.settings.half_open)?;
    let memory = A::tables(&world.memory).half_open.borrow();
    same(
        "slot",
        &(0..).zip(kernel).filter_map(taken).collect(),
        &memory.iter().map(|(slot, key)| (*slot, *key)).filter_map(taken).collect(),
    )
}

fn same<K: Eq + Hash + Debug, V: PartialEq + Debug>(
    what: &str,
    kernel: &HashMap<K, V>,
    memory: &HashMap<K, V>,
) -> Result<()> {
    for (key, value) in memory {
        let other = kernel.get(key);
        ensure!(other == Some(value), "{what} {key:?}: kernel {other:?}, host {value:?}");
    }
    for (key, value) in kernel {
        ensure!(memory.contains_key(key), "{what} {key:?}: kernel {value:?}, host none");
    }
    Ok(())
}
