//! What share of 100,000 connections each server gets that clients on all CPUs open at once, and hold.

use anyhow::{Result, ensure};
use lvs_common::{
    abi::V4,
    host::{
        Frame,
        sample::{Kind, Method, Sample as _, port},
    },
    tcp::flags::{ACK, SYN},
};
use lvs_tests::skip_unless_possible;

use super::{THREADS, at_once, cpus};
use crate::{
    compare, rounds,
    world::{self, Hook, Options, World},
};

/// How many each thread opens.
const EACH: u16 = 25_000;
const ALL: u64 = THREADS as u64 * EACH as u64;

/// The virtual port of the first case.
const FIRST_PORT: u16 = port(Method::Nat, Kind::Tcp);

/// The action that a redirected frame ends in.
const XDP_REDIRECT: u32 = 4;

#[test]
fn turns_are_exact_over_all_cpus() -> Result<()> {
    skip_unless_possible!();
    let cases: [(&str, &[u32]); 5] = [
        ("rr", &[1; 3]),
        ("rr", &[9, 5, 0, 1, 1, 1, 1, 1]),
        ("wrr", &[5, 3, 1]),
        ("wrr", &[1000, 700, 0, 333, 1]),
        // A whole round has more turns than there are connections.
        ("wrr", &[65_535, 40_000, 1]),
    ];
    share(&cases, |world, case, counts| {
        let (scheduler, weights) = cases[case];
        let turn = world.tables.states[case].turn;
        let mut expected = vec![0; weights.len()];
        for server in rounds::of(scheduler, weights).skip(turn.try_into()?).take(ALL.try_into()?) {
            expected[server] += 1;
        }
        ensure!(counts == expected, "{counts:?}, not {expected:?}");
        Ok(())
    })
}

/// A thread may choose by counts to which others are about to add: that makes servers differ, by as many connections as
/// there are threads at most. Of a server's last five connections two are of one thread. When that chose the server for
/// the later of the two, the earlier one was counted, so that the server had all its connections but four or more; and
/// it was the best then. No other has had fewer, for its weight, since.
#[test]
fn held_connections_are_balanced_over_all_cpus() -> Result<()> {
    skip_unless_possible!();
    let cases: [(&str, &[u32]); 4] = [
        ("lc", &[7, 1, 0, 3, 1, 9]),
        ("wlc", &[1; 7]),
        ("wlc", &[5, 3, 1]),
        ("wlc", &[1000, 700, 0, 333, 1]),
    ];
    share(&cases, |_, case, counts| {
        let (scheduler, weights) = cases[case];
        let weight = |weight: u32| if scheduler == "lc" { weight.min(1) } else { weight };
        let shares: Vec<(u64, u64)> =
            (counts.iter().copied()).zip(weights.iter().map(|each| weight(*each).into())).collect();
        for (more, weight) in &shares {
            ensure!(*weight > 0 || *more == 0, "{counts:?}: one with weight 0 has some");
            for (fewer, other) in &shares {
                ensure!(
                    more.saturating_sub(THREADS.into()) * other <= fewer * weight,
                    "{counts:?}: {more} with weight {weight}, but {fewer} with {other}"
                );
            }
        }
        Ok(())
    })
}

/// Opens the connections of each of these services, and shows how many each of its servers has.
fn share(
    cases: &[(&str, &[u32])],
    check: impl Fn(&World, usize, &[u64]) -> Result<()> + Sync,
) -> Result<()> {
    let services = (FIRST_PORT..).zip(cases).map(|(port, (scheduler, weights))| {
        let servers = (8000..).zip(*weights).map(|(port, weight)| (V4::SERVERS[0], port, *weight));
        let servers: Vec<_> = servers.collect();
        world::service(Method::Nat, scheduler, port, "protocol TCP", &servers)
    });
    let configuration = Some(services.collect());
    let connections = u32::try_from(ALL)? * (u32::try_from(cases.len())? + 1);
    let options = Options { connections, configuration, ..Options::default() };
    world::with_options(Hook::Xdp, options, |world| {
        let mut first_server = 0_usize;
        for (case, (scheduler, weights)) in cases.iter().enumerate() {
            open(world, u8::try_from(case)?)?;
            let ids = first_server..first_server + weights.len();
            first_server = ids.end;
            let counts: Vec<u64> =
                ids.map(|id| count(world, id.try_into()?)).collect::<Result<_>>()?;
            println!("{scheduler} {weights:?}: {counts:?}");
            ensure!(counts.iter().sum::<u64>() == ALL, "{scheduler} {weights:?}: {counts:?}");
            check(world, case, &counts)?;
        }
        for cpu in cpus()?.into_iter().take(THREADS.into()) {
            ensure!(made(world, cpu)? > 0, "CPU {cpu} has made none");
        }
        Ok(())
    })
}

/// Opens and establishes all connections of a case. Its clients are others than those of other cases, which have the
/// same servers.
fn open(world: &mut World, case: u8) -> Result<()> {
    let program = &*world.kernel.xdp()?;
    let service = (V4::VIP, FIRST_PORT + u16::from(case));
    at_once(THREADS, |thread| {
        let client = [10, 99, case, u8::try_from(thread)?];
        for port in 10_000..10_000 + EACH {
            for flags in [SYN, ACK] {
                let frame = Frame::<V4>::new((client, port), service, flags);
                let (action, _) = world::run(program, &frame.bytes().unwrap())?;
                ensure!(action == XDP_REDIRECT, "{frame:?}: {action}");
            }
        }
        Ok(())
    })
}

/// The connections that a server was given, all of which it still has.
fn count(world: &World, id: u32) -> Result<u64> {
    let count = compare::statistics(world, id)?.connections;
    let load = world.kernel.maps.loads.get(id)?;
    ensure!(
        u64::from(load.active) == count && load.inactive == 0,
        "server {id}: {count} connections, {load:?}"
    );
    Ok(count)
}

/// The connections that a CPU has made.
fn made(world: &World, cpu: usize) -> Result<u64> {
    let mut made = 0;
    for (id, _) in (0..).zip(&world.tables.servers) {
        made += world.kernel.maps.statistics.get(&id, 0)?[cpu].connections;
    }
    Ok(made)
}
