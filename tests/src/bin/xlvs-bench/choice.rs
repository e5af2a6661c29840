//! What a new connection costs by scheduler and number of servers, in packets of connections that are there.
//!
//! Each round begins with an engine of its own, in whose table connections are opened and established; their packets
//! are the unit. Then each service gets its new connections, as SYNs from clients that were never there: some that are
//! not measured, so that the service's servers are in the caches, and then those that are. They stay: the table has
//! room for them, and the half-open slots too.

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;

use crate::engine::{self, Engine};
use crate::frame::{self, Content};
use crate::measure::{self, Actions, Plan};
use crate::progress;
use crate::schedulers::{self, CASE, Service};
use crate::statistics::median;
use crate::wrapper::{Own, Stream, Wrapper};

/// New connections of each service that are measured.
const NEW: u32 = 2_000;
/// Those before them that are not.
const BEFORE: u32 = 200;
/// New connections of all services.
const ALL_NEW: u32 = (NEW + BEFORE) * (schedulers::ALL.len() * schedulers::COUNTS.len()) as u32;
/// With fewer connections the unit says nothing: the system call is in it.
const LEAST: u32 = 1_000;

/// The figures for one number of connections that are there before.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) connections: u32,
    /// A packet of an established connection, in ns.
    pub(crate) unit: f64,
    pub(crate) costs: Vec<Cost>,
}

/// The cost of a new connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) service: Service,
    /// In ns, without the wrapper.
    pub(crate) time: f64,
    /// In packets of established connections.
    pub(crate) units: f64,
}

/// Measures with each number of connections that says something, in the namespace that the thread is in.
pub(crate) fn measure(plan: &Plan) -> Result<Vec<Figures>> {
    let mut sizes: Vec<u32> = plan.sizes.iter().copied().filter(|size| *size >= LEAST).collect();
    for size in &mut sizes {
        *size = (*size).min(engine::ENTRIES / 2 - ALL_NEW);
    }
    sizes
        .into_iter()
        .map(|size| {
            progress(&format!("schedulers, {size} connections"));
            at_size(plan, size).with_context(|| format!("schedulers, {size} connections"))
        })
        .collect()
}

/// The streams of all rounds.
struct Streams {
    /// The first packets of the connections that are there before.
    opening: Stream,
    /// Their next packets, in another order.
    next: Stream,
    /// Of each service: the new connections before the measurement, and the measured ones.
    new: Vec<(Service, Stream, Stream)>,
}

fn at_size(plan: &Plan, size: u32) -> Result<Figures> {
    let room = 2 * size + ALL_NEW;
    let mut wrapper = Wrapper::load(&plan.object, (CASE.family, CASE.hook), room, 1)?;
    let nothing = wrapper.own(Own::Nothing)?;
    let streams = streams(&mut wrapper, size)?;
    let config = schedulers::config();
    let mut units = Vec::new();
    let mut times = vec![Vec::new(); streams.new.len()];
    let mut quotients = times.clone();
    for _ in 0..plan.rounds {
        let mut engine = Engine::load_with(CASE, &config)?;
        engine.set_active(CASE.family.servers().count(), &schedulers::active())?;
        let program = engine.program()?;
        let (unit, costs) = round(&mut wrapper, &nothing, &program, &streams)?;
        check(&engine, size)?;
        wrapper.release()?;
        for ((time, times), quotients) in costs.iter().zip(&mut times).zip(&mut quotients) {
            times.push(*time);
            quotients.push(time / unit);
        }
        units.push(unit);
    }
    let middle = |values: &[f64]| median(values).context("no rounds");
    let mut costs = Vec::new();
    for ((new, times), quotients) in streams.new.iter().zip(&times).zip(&quotients) {
        let (service, ..) = *new;
        costs.push(Cost { service, time: middle(times)?, units: middle(quotients)? });
    }
    Ok(Figures { connections: size, unit: middle(&units)?, costs })
}

/// Whether all connections are there that should be: none was refused, or gave way to another.
fn check(engine: &Engine, size: u32) -> Result<()> {
    let (own, others) = engine.connections()?;
    let wanted = (size as usize, (size + 2 * ALL_NEW) as usize);
    ensure!(
        (own.len(), others.len()) == wanted,
        "{} and {} entries, not {wanted:?}",
        own.len(),
        others.len()
    );
    Ok(())
}

fn streams(wrapper: &mut Wrapper, size: u32) -> Result<Streams> {
    let (first, later) = (Content::opening(CASE.protocol), Content::established(CASE.protocol));
    let mut random = fastrand::Rng::with_seed(1);
    let mut shuffled = |from: u32, count: u32| {
        let mut clients: Vec<u32> = (from..from + count).collect();
        random.shuffle(&mut clients);
        clients.into_iter()
    };
    let own = |content| move |client| frame::bytes(CASE.family, &CASE.sent(client), content);
    let opening = wrapper.take(shuffled(0, size).map(own(first)))?;
    let next = wrapper.take(shuffled(0, size).map(own(later)))?;
    let mut new = Vec::new();
    let mut unused = size;
    for service in schedulers::services() {
        let to_service = |client| {
            let tuple = CASE.sent_to(client, CASE.family.virtual_address(), service.port);
            frame::bytes(CASE.family, &tuple, first)
        };
        let mut clients = shuffled(unused, BEFORE + NEW);
        unused += BEFORE + NEW;
        let before = wrapper.take(clients.by_ref().take(BEFORE as usize).map(to_service))?;
        new.push((service, before, wrapper.take(clients.map(to_service))?));
    }
    Ok(Streams { opening, next, new })
}

/// One round: the unit, and the time for a new connection of each service.
fn round(
    wrapper: &mut Wrapper,
    nothing: &ProgramFd,
    program: &ProgramFd,
    streams: &Streams,
) -> Result<(f64, Vec<f64>)> {
    let Actions { redirect, .. } = Actions::of(CASE.hook);
    measure::establish(CASE, wrapper, program, &streams.opening)?;
    wrapper.demand(program, &streams.next, redirect)?;
    let base = measure::warm(wrapper, nothing, &streams.next)?;
    let unit = measure::warm(wrapper, program, &streams.next)? - base;
    let mut costs = Vec::new();
    for (service, before, new) in &streams.new {
        wrapper.run(program, before, before.len())?;
        let run = wrapper.run(program, new, new.len())?;
        ensure!(run.action == redirect, "{service:?}: the program returned {:#x}", run.action);
        // As often, so that the system call counts for as much.
        costs.push(run.each - wrapper.run(nothing, new, new.len())?.each);
    }
    Ok((unit, costs))
}
