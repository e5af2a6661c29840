//! Services with as many real servers as there may be: the first connections go where they should, in the kernel as on
//! the host.

use std::collections::HashSet;

use anyhow::{Context as _, Result, ensure};
use lvs_common::{
    abi::V4,
    host::{
        Frame,
        sample::{Kind, Method, Sample as _, port},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};
use lvs_tests::skip_unless_possible;

use crate::{
    compare, rounds,
    world::{self, Hook, Options, World},
};

const SERVERS: u16 = 1000;
/// Enough that those who take turns begin again.
const CLIENTS: u16 = SERVERS + 50;
const FIRST_SERVER_PORT: u16 = 8000;
/// The virtual port of the first service.
const FIRST_PORT: u16 = port(Method::Nat, Kind::Tcp);

#[test]
fn a_thousand_servers_are_chosen_from_as_on_the_host() -> Result<()> {
    skip_unless_possible!();
    let schedulers = ["rr", "wrr", "lc", "wlc", "sh", "mh"];
    let services = (FIRST_PORT..).zip(schedulers).map(|(port, scheduler)| {
        let servers: Vec<_> =
            (0..SERVERS).map(|n| (address(n), FIRST_SERVER_PORT + n, weight(n))).collect();
        world::service(Method::Nat, scheduler, port, "protocol TCP", &servers)
    });
    let options = Options {
        connections: u32::from(CLIENTS) * u32::try_from(schedulers.len())?,
        configuration: Some(services.collect()),
        ..Options::default()
    };
    world::with_options(Hook::Xdp, options, |world| {
        // It would compare each packet with each server.
        world.memory.unfiltered = true;
        for (number, scheduler) in (0..).zip(schedulers) {
            let chosen = choices(world, number).context(scheduler)?;
            let turn = usize::try_from(world.tables.states[usize::from(number)].turn)?;
            let weights: Vec<u32> = (0..SERVERS).map(weight).collect();
            let expected: Vec<usize> = match scheduler {
                "rr" | "wrr" => {
                    rounds::of(scheduler, &weights).skip(turn).take(chosen.len()).collect()
                }
                "lc" => fewest(&vec![1; weights.len()], chosen.len()),
                "wlc" => fewest(&weights, chosen.len()),
                _ => {
                    // Of the 256 buckets of sh, the newest servers take as many as they weigh, 4 on average.
                    let least = if scheduler == "sh" { 60 } else { 550 };
                    let different = chosen.iter().collect::<HashSet<_>>().len();
                    println!("{scheduler}: {different} servers");
                    ensure!(different > least, "{scheduler}: only {different} servers");
                    continue;
                }
            };
            ensure!(chosen == expected, "{scheduler}: {chosen:?}, not {expected:?}");
        }
        compare::tables(world)
    })
}

/// Where a server is. Two addresses, each with 500 ports.
fn address(number: u16) -> V4 {
    V4::SERVERS[usize::from(number % 2)]
}

fn weight(number: u16) -> u32 {
    u32::from(number % 7 + 1)
}

/// Has each client open and establish a connection, and says which server it got: a number in the service.
fn choices(world: &mut World, service: u16) -> Result<Vec<usize>> {
    let far = V4::CLIENTS[1];
    let route = *world.memory.four.routes.borrow().get(&far).context("the clients' route")?;
    let open = |number: u16| -> Result<usize> {
        let [high, low] = number.to_be_bytes();
        let client = [10, 99, high, low];
        world.memory.four.routes.borrow_mut().entry(client).or_insert(route);
        // The services have the same servers: for each of them clients have another port.
        let frame =
            |flags| Frame::new((client, 40_000 + service), (V4::VIP, FIRST_PORT + service), flags);
        let (verdict, seen) = world.send(&frame(SYN).bytes().unwrap())?;
        ensure!(matches!(verdict, Verdict::Redirect(_)), "client {number}: {verdict:?}");
        world.send(&frame(ACK).bytes().unwrap())?;
        let seen = Frame::<V4>::read(&seen).map_err(anyhow::Error::msg)?;
        Ok(usize::from(seen.ports[1] - FIRST_SERVER_PORT))
    };
    (0..CLIENTS).map(open).collect()
}

/// The servers of connections that go each to the one with the fewest for its weight, of such the newest.
fn fewest(weights: &[u32], connections: usize) -> Vec<usize> {
    let mut counts = vec![0; weights.len()];
    let mut next = || {
        let better = |best: usize, server: usize| {
            let better = counts[best] * weights[server] > counts[server] * weights[best];
            if better { server } else { best }
        };
        let server = (0..weights.len()).rev().reduce(better).unwrap();
        counts[server] += 1;
        server
    };
    (0..connections).map(|_| next()).collect()
}
