//! The counts of connections, whatever is opened, moved on, ended and collected at the same moment.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use aya::{
    TestRun,
    programs::{TestRunOptions, TestRunResult},
};
use lvs_common::{
    abi::{COLLECTED_AT_ONCE, Counter, Flow, Load, Tuple, V4, V6, flow_flags},
    connection,
    host::{
        Frame,
        sample::{Kind, Method},
    },
    tcp::{
        self, TcpState,
        flags::{ACK, FIN, RST, SYN},
    },
};
use lvs_tests::skip_unless_possible;
use lvs_userspace::bpf::Collector;

use super::{THREADS, at_once};
use crate::{
    compare,
    talk::Talk,
    world::{self, Hook, Place, World},
};

/// Few, so that the CPUs meet at the same connections.
const CLIENT_PORTS: u16 = 6;
/// Fewer than there are connections, so that half-open ones are evicted, too.
const HALF_OPEN: u32 = 5;
/// How long the CPUs are busy.
const BUSY: Duration = Duration::from_secs(3);

#[test]
fn counts_are_exact_whatever_the_cpus_do_at_once_in_xdp() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Xdp, |world| {
        let lines = prepare(world)?;
        let collector = Arc::clone(&world.collector);
        be_busy(&*world.kernel.xdp()?, &collector, &lines)?;
        check(world, &collector)
    })
}

#[test]
fn counts_are_exact_whatever_the_cpus_do_at_once_in_tc() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Tc, |world| {
        let lines = prepare(world)?;
        let collector = Arc::clone(&world.collector);
        be_busy(&*world.kernel.tc()?, &collector, &lines)?;
        check(world, &collector)
    })
}

/// What client and server may send in one connection.
struct Line {
    questions: Vec<Vec<u8>>,
    /// Known once the first question has come to a server.
    answers: Mutex<Vec<Vec<u8>>>,
    /// From a question as the server sees it to the answers.
    learn: fn(&[u8]) -> Option<Vec<Vec<u8>>>,
    collect: Collect,
}

type Collect = Box<dyn Fn(&Collector) -> Result<()> + Sync>;

/// Sets short time-outs, so that the collector has something to do all the time.
fn prepare(world: &mut World) -> Result<Vec<Line>> {
    world.change_settings(|settings| {
        settings.half_open = HALF_OPEN;
        settings.timeouts = [1; 16];
        for state in [TcpState::Close as u8, TcpState::TimeWait as u8, connection::UDP] {
            settings.timeouts[usize::from(state)] = 0;
        }
    })?;
    let mut lines = Vec::new();
    for method in [Method::Nat, Method::FullNat] {
        for kind in [Kind::Tcp, Kind::Persistent, Kind::Udp] {
            for port in 0..CLIENT_PORTS {
                lines.push(line(Talk::<V4>::new(method, kind), port));
                lines.push(line(Talk::<V6>::new(method, kind), port));
            }
        }
    }
    Ok(lines)
}

fn line<A: Place>(talk: Talk<A>, port: u16) -> Line {
    let question = |flags| Frame { ports: [40_000 + port, talk.service.1], ..talk.question(flags) };
    let key = question(0).tuple();
    Line {
        // Most often what opens and what establishes.
        questions: [SYN, SYN, SYN, ACK, ACK, FIN | ACK, RST]
            .map(|flags| question(flags).bytes().unwrap())
            .to_vec(),
        answers: Mutex::default(),
        learn: answers::<A>,
        collect: Box::new(move |collector| A::collect(collector, &[key]).map(drop)),
    }
}

fn answers<A: Place>(seen: &[u8]) -> Option<Vec<Vec<u8>>> {
    let seen = Frame::<A>::read(seen).ok()?;
    let answer =
        |flags| Frame { protocol: seen.protocol, ..Frame::new(seen.to(), seen.from(), flags) };
    Some(
        [SYN | ACK, SYN | ACK, ACK, FIN | ACK, RST]
            .map(|flags| answer(flags).bytes().unwrap())
            .to_vec(),
    )
}

/// Lets threads send what they like, and one collect what is over.
fn be_busy<P>(program: &P, collector: &Collector, lines: &[Line]) -> Result<()>
where
    P: for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult> + Sync,
{
    let end = Instant::now() + BUSY;
    let count = AtomicU32::new(0);
    let ended = AtomicBool::new(false);
    let work = |_| {
        let mut random = fastrand::Rng::new();
        while Instant::now() < end {
            let line = &lines[random.usize(..lines.len())];
            count.fetch_add(1, Ordering::Relaxed);
            let answer = random.choice(line.answers.lock().unwrap().as_slice()).cloned();
            match answer {
                Some(answer) if random.bool() => {
                    world::run(program, &answer)?;
                }
                _ => {
                    let (_, seen) =
                        world::run(program, &line.questions[random.usize(..line.questions.len())])?;
                    // Of the client's side if it passed; then nobody has these ports.
                    if let Some(answers) = (line.learn)(&seen) {
                        *line.answers.lock().unwrap() = answers;
                    }
                }
            }
        }
        Ok(())
    };
    thread::scope(|scope| {
        let collecting = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                lines.iter().try_for_each(|line| (line.collect)(collector))?;
            }
            anyhow::Ok(())
        });
        let worked = at_once(THREADS, work);
        ended.store(true, Ordering::Relaxed);
        println!("{} packets", count.load(Ordering::Relaxed));
        worked.and(collecting.join().unwrap())
    })
}

/// The counts are those of the entries that there are, and zero once all are collected.
fn check(world: &World, collector: &Collector) -> Result<()> {
    let mut loads = HashMap::new();
    let mut states = HashMap::new();
    let entries = add_up::<V4>(world, &mut loads, &mut states)?
        + add_up::<V6>(world, &mut loads, &mut states)?;
    println!("{entries} entries; connections by state {states:?}");
    for counter in Counter::ALL {
        let count = compare::counter(world, counter)?;
        if count > 0 {
            println!("{}: {count}", counter.name());
        }
    }
    compare_loads(world, &loads).context("with connections")?;
    ensure!(compare::counter(world, Counter::Internal)? == 0, "an internal failure");

    thread::sleep(Duration::from_millis(1300));
    for _ in 0..2 {
        collect_all::<V4>(world, collector)?;
        collect_all::<V6>(world, collector)?;
    }
    let left = V4::flows(&world.kernel.maps)?.len() + V6::flows(&world.kernel.maps)?.len();
    ensure!(left == 0, "{left} entries are left");
    compare_loads(world, &HashMap::new()).context("without connections")
}

/// Adds up what the servers' counts must be, and checks that each entry has its counterpart. Gives the number of
/// entries.
fn add_up<A: Place>(
    world: &World,
    loads: &mut HashMap<u32, (u32, u32)>,
    states: &mut HashMap<u8, u32>,
) -> Result<usize> {
    let flows: HashMap<Tuple<A>, Flow<A>> = A::flows(&world.kernel.maps)?;
    for (key, flow) in &flows {
        let other = flows.get(&flow.reverse_key(key.protocol));
        ensure!(
            other.is_some_and(|other| other.reverse_key(key.protocol) == *key)
                || flow.head.flags & flow_flags::ONE_PACKET != 0,
            "{key:?} {flow:?}: the other direction is {other:?}"
        );
        if flow.to_server() {
            let (active, inactive) = loads.entry(flow.server).or_default();
            *if tcp::is_active(flow.head.state) { active } else { inactive } += 1;
            *states.entry(flow.head.state).or_default() += 1;
        }
    }
    Ok(flows.len())
}

fn compare_loads(world: &World, expected: &HashMap<u32, (u32, u32)>) -> Result<()> {
    for (id, server) in (0_u32..).zip(&world.tables.servers) {
        let Load { active, inactive, .. } = world.kernel.maps.loads.get(id)?;
        let expected = expected.get(&id).copied().unwrap_or_default();
        ensure!(
            (active, inactive) == expected,
            "server {id}, {server:?}: counted {active} and {inactive}, there are {expected:?}"
        );
    }
    Ok(())
}

fn collect_all<A: Place>(world: &World, collector: &Collector) -> Result<()> {
    let keys: Vec<_> = A::flows(&world.kernel.maps)?.into_keys().collect();
    for keys in keys.chunks(COLLECTED_AT_ONCE) {
        A::collect(collector, keys)?;
    }
    Ok(())
}
