//! The same packets through the engine on the host and in the kernel: verdict, bytes and tables must agree.

use std::{collections::HashMap, time::Duration};

use anyhow::{Result, ensure};
use lvs_common::{
    abi::{Counter, Flow4, Statistics, Tuple4},
    host::{Frame, SlicePacket},
    pipeline::{self, Verdict},
    tcp::flags::{ACK, FIN, RST, SYN},
};
use lvs_tests::skip_unless_possible;
use nix::time::{ClockId, clock_gettime};

use crate::world::{self, Action, CLIENT, DISTANT, PORT, SERVERS, STRANGER, VIP, World};

const STEPS: usize = 20_000;

#[test]
fn host_and_kernel_agree_on_random_traffic() -> Result<()> {
    skip_unless_possible!();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    world::with_both(|world| {
        let mut random = fastrand::Rng::with_seed(seed);
        for step in 0..STEPS {
            let bytes = packet(&mut random, world);
            compare(world, &bytes).map_err(|error| {
                error.context(format!("seed {seed}, step {step}, frame {bytes:02x?}"))
            })?;
            if step % 500 == 0 {
                compare_tables(world)?;
            }
        }
        compare_tables(world)?;
        compare_counts(world)
    })
}

/// A frame that is likely to meet something: a client's, a server's, or one with bytes changed.
fn packet(random: &mut fastrand::Rng, world: &World) -> Vec<u8> {
    const FLAGS: [u8; 8] = [SYN, SYN, ACK, ACK, FIN | ACK, RST, SYN | ACK, 0];
    let client = *random.choice([CLIENT, DISTANT, STRANGER].as_slice()).unwrap();
    let port = 40_000 + random.u16(0..6);
    let service = *random.choice([PORT, PORT, 10_443, 10_001].as_slice()).unwrap();
    let flags = *random.choice(FLAGS.as_slice()).unwrap();
    let mut frame = if random.bool() {
        Frame::new((client, port), (VIP, service), flags)
    } else {
        Frame::new(*random.choice(SERVERS.as_slice()).unwrap(), (client, port), flags)
    };
    // Most replies belong to a connection.
    if random.u8(0..3) == 0
        && let Some(key) = random.choice(world.memory_flows().keys().collect::<Vec<_>>())
    {
        frame = Frame::new(
            (key.source, key.source_port),
            (key.destination, key.destination_port),
            flags,
        );
    }
    if random.u8(0..20) == 0 {
        frame.macs[1] = [0xff; 6];
    }
    frame.ttl = if random.u8(0..20) == 0 { 1 } else { random.u8(2..) };
    frame.options = vec![1; 4 * usize::from(random.u8(0..12).saturating_sub(9))];
    frame.payload = vec![0; random.usize(0..64)];
    random.fill(&mut frame.payload);
    let mut bytes = frame.bytes().unwrap();
    if random.u8(0..10) == 0 {
        // Not in the addresses: the host's routes know single destinations only.
        let place = random.usize(12..bytes.len().min(60));
        if !(26..34).contains(&place) {
            bytes[place] = random.u8(..);
        }
    }
    if random.u8(0..50) == 0 {
        // The kernel refuses to test a socket buffer with less than an IPv4 header.
        bytes.truncate(random.usize(34..bytes.len()));
    }
    bytes
}

fn compare(world: &mut World, bytes: &[u8]) -> Result<()> {
    let now = Duration::from(clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE)?);
    world.memory.now.set(u64::try_from(now.as_nanos())?);
    let mut memory_bytes = bytes.to_vec();
    let verdict = pipeline::process(&SlicePacket::new(&mut memory_bytes), &world.memory);
    let expected = match verdict {
        Verdict::Drop(_) => Action::Drop,
        Verdict::Pass(_) => Action::Pass,
        Verdict::Redirect(_) => Action::Redirect,
    };
    let (action, kernel_bytes) = world.send_bytes(bytes)?;
    ensure!(action == expected, "the kernel said {action:?}, the host {verdict:?}");
    ensure!(kernel_bytes == memory_bytes, "{verdict:?}: {kernel_bytes:02x?} {memory_bytes:02x?}");
    Ok(())
}

/// Compares the connection tables but for the times, which are those of two clocks, and for the age of next
/// hops.
fn compare_tables(world: &World) -> Result<()> {
    let timeless = |flows: HashMap<Tuple4, Flow4>| -> HashMap<Tuple4, Flow4> {
        let strip = |flow: Flow4| Flow4 { seen: 0, hop_checked: 0, ..flow };
        flows.into_iter().map(|(key, flow)| (key, strip(flow))).collect()
    };
    let (kernel, memory) = (timeless(world.flows()?), timeless(world.memory_flows()));
    for (key, flow) in &memory {
        let other = kernel.get(key);
        ensure!(other == Some(flow), "{key:?}: kernel {other:?}, host {flow:?}");
    }
    ensure!(kernel.len() == memory.len(), "{} and {} entries", kernel.len(), memory.len());
    Ok(())
}

fn compare_counts(world: &World) -> Result<()> {
    for counter in Counter::ALL {
        let kernel: u64 = world.kernel.maps.counters.get(&(counter as u32), 0)?.iter().sum();
        let memory = world.memory.counters.borrow().get(&counter).copied().unwrap_or_default();
        ensure!(kernel == memory, "{}: kernel {kernel}, host {memory}", counter.name());
    }
    let mut connections = 0;
    for id in 0..4 {
        let mut kernel = Statistics::default();
        for cpu in world.kernel.maps.statistics.get(&id, 0)?.iter() {
            let Statistics { connections, in_packets, in_bytes, out_packets, out_bytes } = cpu;
            kernel.connections += connections;
            kernel.in_packets += in_packets;
            kernel.in_bytes += in_bytes;
            kernel.out_packets += out_packets;
            kernel.out_bytes += out_bytes;
        }
        let memory = world.memory.statistics.borrow().get(&id).copied().unwrap_or_default();
        ensure!(kernel == memory, "server {id}: kernel {kernel:?}, host {memory:?}");
        connections += kernel.connections;
    }
    ensure!(connections > 100, "only {connections} connections: the traffic tests too little");
    Ok(())
}
