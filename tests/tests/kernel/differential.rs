//! The same random traffic through the engine on the host and in the kernel: verdict, bytes and tables must agree.
//!
//! Some things are made to agree. There are so many ports for full NAT that the next one is always free: which one is
//! tried then is random. Time passes by making entries older in both places, and for all others it does not: each of
//! the two has a last moment of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use lvs_common::{
    abi::{COLLECTED_AT_ONCE, Counter, Flow, Server, Tuple, V4, V6, scheduler, server_flags},
    connection,
    env::{Env, Tables},
    host::MemoryEnv,
};
use lvs_tests::skip_unless_possible;
use lvs_userspace::bpf::Collector;

use crate::{
    compare,
    show::show,
    traffic,
    world::{self, Hook, Options, Place, World},
};

const STEPS: usize = 20_000;
/// What random traffic it is, unless `XLVS_TEST_SEED` has another number.
const SEED: u64 = 4;
/// So few that the tables are full at times.
const CONNECTIONS: u32 = 250;
/// So few that half-open connections make room for each other. Odd, as it must be.
const HALF_OPEN: u32 = 13;
/// Ticks in a second, rounded up.
const SECOND: u32 = 954;
/// How long entries may grow old by themselves: less than the shortest time-out, ten seconds, however slow the machine.
const STEADY: Duration = Duration::from_secs(2);
/// How long first fragments are remembered: less than the half minute of the engine, after which host and kernel forget
/// them at moments that are some milliseconds apart.
const REMEMBERED: Duration = Duration::from_secs(20);
/// More than the time that a step may take.
const MARGIN: u32 = 10 * SECOND;

#[test]
fn host_and_xdp_agree_on_random_traffic() -> Result<()> {
    skip_unless_possible!();
    agree(Hook::Xdp)
}

#[test]
fn host_and_tc_agree_on_random_traffic() -> Result<()> {
    skip_unless_possible!();
    agree(Hook::Tc)
}

fn agree(hook: Hook) -> Result<()> {
    let seed = match std::env::var("XLVS_TEST_SEED") {
        Ok(seed) => seed.parse()?,
        Err(_) => SEED,
    };
    let options = Options { connections: CONNECTIONS, ..Options::default() };
    world::with_options(hook, options, |world| {
        world.change_settings(|settings| settings.half_open = HALF_OPEN)?;
        let collector = Arc::clone(&world.collector);
        let mut random = fastrand::Rng::with_seed(seed);
        let mut young = Instant::now();
        let mut remembered = Instant::now();
        for step in 0..STEPS {
            let context = |what: &str| format!("seed {seed}, step {step}: {what}");
            match random.u8(..100) {
                0..4 => age(&mut random, world).with_context(|| context("age"))?,
                4 => collect(&collector, world).with_context(|| context("collect"))?,
                5 => change_server(&mut random, world).with_context(|| context("server"))?,
                6 => change_scheduler(&mut random, world).with_context(|| context("scheduler"))?,
                _ => {
                    let bytes = traffic::frame(&mut random, world);
                    world.send(&bytes).with_context(|| context(&show(&bytes)))?;
                }
            }
            if step % 500 == 0 {
                compare::tables(world).with_context(|| context("tables"))?;
            }
            if step % 500 == 0 || young.elapsed() > STEADY {
                stay_young::<V4>(world)?;
                stay_young::<V6>(world)?;
                young = Instant::now();
            }
            if remembered.elapsed() > REMEMBERED {
                forget_fragments::<V4>(world)?;
                forget_fragments::<V6>(world)?;
                remembered = Instant::now();
            }
        }
        compare::tables(world).with_context(|| format!("seed {seed}: tables at the end"))?;
        if seed == SEED { check_reach(world) } else { Ok(()) }
    })
}

/// Removes a server or adds it again, or changes its weight or its threshold.
fn change_server(random: &mut fastrand::Rng, world: &mut World) -> Result<()> {
    let id = random.usize(..world.memory.servers.len());
    let gone = random.u8(..8) == 0;
    let (weight, upper) = (random.u32(..4), random.u32(..12));
    world.change_server(id, |server| {
        server.flags = if gone { 0 } else { server_flags::AVAILABLE };
        server.weight = weight;
        server.upper = if upper < 3 { 0 } else { upper };
        server.lower = Server::default_lower(server.upper);
    })?;
    if gone {
        let id = u16::try_from(id)?;
        forget_hops::<V4>(world, id)?;
        forget_hops::<V6>(world, id)?;
    }
    Ok(())
}

/// Has the next packets of a server's connections look up their next hops, and with it find the server gone. By
/// themselves host and kernel do so at moments that are some milliseconds apart.
fn forget_hops<A: Place>(world: &mut World, server: u16) -> Result<()> {
    let kernel = A::flows(&world.kernel.maps)?;
    let flows = A::tables(&world.memory).flows.borrow();
    for (key, cell) in flows.iter().filter(|(_, cell)| cell.get().server == server) {
        cell.set(Flow { hop_checked: 0, ..cell.get() });
        let flow = kernel.get(key).with_context(|| format!("{key:?} is missing"))?;
        A::set_flow(&mut world.kernel.maps, key, &Flow { hop_checked: 0, ..*flow })?;
    }
    Ok(())
}

/// Gives a service another scheduler, of those that choose from the same list and not at random.
fn change_scheduler(random: &mut fastrand::Rng, world: &mut World) -> Result<()> {
    const SCHEDULERS: [u8; 9] = [
        scheduler::ROUND_ROBIN,
        scheduler::LEAST_CONNECTION,
        scheduler::WEIGHTED_LEAST_CONNECTION,
        scheduler::SHORTEST_EXPECTED_DELAY,
        scheduler::NEVER_QUEUE,
        scheduler::FAIL_OVER,
        scheduler::OVERFLOW,
        scheduler::LOCALITY,
        scheduler::LOCALITY_REPLICATED,
    ];
    let number = SCHEDULERS[random.usize(..SCHEDULERS.len())];
    if random.bool() {
        world.change_service::<V4>(random.u32(..), |service| service.scheduler = number)
    } else {
        world.change_service::<V6>(random.u32(..), |service| service.scheduler = number)
    }
}

/// Makes a connection so old that its time is over, or one direction of it.
fn age(random: &mut fastrand::Rng, world: &mut World) -> Result<()> {
    if random.bool() { age_one::<V4>(random, world) } else { age_one::<V6>(random, world) }
}

fn age_one<A: Place>(random: &mut fastrand::Rng, world: &mut World) -> Result<()> {
    let Some((key, flow)) = traffic::connection::<A>(random, world) else { return Ok(()) };
    make_older(world, &key)?;
    if random.u8(..3) > 0 {
        make_older(world, &flow.reverse_key(key.protocol))?;
    }
    Ok(())
}

fn make_older<A: Place>(world: &mut World, key: &Tuple<A>) -> Result<()> {
    let older = |flow: &Flow<A>| {
        let idle = flow.timeout * SECOND + MARGIN;
        Flow { seen: flow.seen.wrapping_sub(idle), ..*flow }
    };
    let kernel = A::flows(&world.kernel.maps)?;
    let flows = A::tables(&world.memory).flows.borrow();
    ensure!(kernel.contains_key(key) == flows.contains_key(key), "{key:?}");
    if let (Some(flow), Some(cell)) = (kernel.get(key), flows.get(key)) {
        cell.set(older(&cell.get()));
        A::set_flow(&mut world.kernel.maps, key, &older(flow))?;
    }
    Ok(())
}

/// Has all entries that are not over go on.
fn stay_young<A: Place>(world: &mut World) -> Result<()> {
    let now = world.now()?;
    let young = |flow: &Flow<A>| Flow { seen: connection::ticks(now), ..*flow };
    let kernel = A::flows(&world.kernel.maps)?;
    let flows = A::tables(&world.memory).flows.borrow();
    for (key, cell) in flows.iter().filter(|(_, cell)| !cell.get().ended(now)) {
        cell.set(young(&cell.get()));
        let flow = kernel.get(key).with_context(|| format!("{key:?} is missing"))?;
        A::set_flow(&mut world.kernel.maps, key, &young(flow))?;
    }
    Ok(())
}

/// As if no first fragment had come yet.
fn forget_fragments<A: Place>(world: &mut World) -> Result<()> {
    A::tables(&world.memory).fragments.borrow_mut().clear();
    A::clear_fragments(&mut world.kernel)
}

/// Ends all connections that are over.
fn collect(collector: &Collector, world: &World) -> Result<()> {
    collect_family::<V4>(collector, world)?;
    collect_family::<V6>(collector, world)
}

fn collect_family<A: Place>(collector: &Collector, world: &World) -> Result<()>
where
    MemoryEnv: Env + Tables<A>,
{
    let now = world.now()?;
    let keys: Vec<_> = A::tables(&world.memory).entries().into_keys().collect();
    for keys in keys.chunks(COLLECTED_AT_ONCE) {
        let ended = keys.iter().filter(|key| connection::collect(&world.memory, key, now)).count();
        let kernel = A::collect(collector, keys)?;
        ensure!(kernel as usize == ended, "the kernel ended {kernel}, the host {ended}");
    }
    Ok(())
}

/// Traffic that does not come everywhere tests too little.
fn check_reach(world: &World) -> Result<()> {
    const UNREACHED: [Counter; 7] = [
        Counter::NoPort,
        Counter::NoLocalAddress,
        Counter::ForwardingDisabled,
        Counter::NotAttached,
        Counter::MartianSource,
        Counter::Internal,
        Counter::VlanDevice,
    ];
    let (mut connections, mut packets) = (0, 0);
    for statistics in world.memory.statistics.borrow().values() {
        connections += statistics.connections;
        packets += statistics.in_packets.min(statistics.out_packets);
    }
    println!("{connections} connections, {packets} packets each way");
    for counter in Counter::ALL {
        let count = world.memory.counted(counter);
        println!("{}: {count}", counter.name());
        let rare = UNREACHED.contains(&counter) || counter == Counter::ErrorLimited;
        ensure!(rare || count > 0, "nothing ended in {}", counter.name());
    }
    ensure!(connections > 1000 && packets > 1000, "only {connections} and {packets}");
    Ok(())
}
