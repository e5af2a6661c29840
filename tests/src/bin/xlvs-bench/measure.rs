//! The measurement of one case, at each number of connections.
//!
//! In every round all programs run one after the other, so that a slow moment of the machine hits all of
//! them; what is reported are medians over the rounds of differences and quotients within a round.

use anyhow::{Context as _, Result, ensure};
use aya::programs::ProgramFd;

use crate::case::{Case, Hook, PORT, Protocol};
use crate::engine::{ENTRIES, Engine};
use crate::frame::{self, Content, Tuple};
use crate::memory;
use crate::progress;
use crate::statistics::median;
use crate::wrapper::{Own, Stream, Wrapper};

/// Packets of one measurement at least.
const PACKETS: u32 = 300_000;
/// Different packets of each kind that is not ours: as many as connections, but not more than this.
const STRANGERS: u32 = 100_000;
/// Different packets of one kind, in a table of any size.
const FEW_STRANGERS: u32 = 1_000;
/// So many connections are opened by their first packets before the next ones of the same clients follow: fewer
/// than the engine holds half-open, which is a quarter of the table.
const HALF_OPEN: u32 = 100_000;
/// So many packets of one connection each, with a look-up of the route for each, take less than a second.
const FRESH: u32 = 500_000;
/// Room for all that are not ours.
const ROOM_FOR_STRANGERS: u32 = 3 * STRANGERS + FEW_STRANGERS + 1;
/// With fewer connections their memory is lost in what else the machine does.
pub(crate) const MEMORABLE: u32 = 10_000;

/// What is to be measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The bench's object.
    pub(crate) object: Vec<u8>,
    /// Numbers of connections.
    pub(crate) sizes: Vec<u32>,
    /// Rounds.
    pub(crate) rounds: u32,
}

/// What packet is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Of an established connection, from its client.
    Forward,
    /// Of an established connection, from its server.
    Reverse,
    /// The first of a connection.
    New,
    /// To another port of the box.
    OtherPort,
    /// The same from a few senders only, whatever the number of connections.
    OtherPortFew,
    /// To an address elsewhere.
    Foreign,
    /// An echo request to the service's address.
    Echo,
    /// A request for an address.
    Arp,
}

/// The cost of one kind of packet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) kind: Kind,
    /// In ns, without the wrapper.
    pub(crate) time: f64,
    /// In floors.
    pub(crate) floors: f64,
}

/// Kernel memory, in bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// What the entries of all connections take from the allocator.
    pub(crate) entries: u64,
    /// What the empty table takes.
    pub(crate) table: u64,
    /// What the map says that it takes with the entries.
    pub(crate) stated: u64,
}

/// The figures for one number of connections.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) connections: u32,
    /// The wrapper alone, in ns.
    pub(crate) wrapper: f64,
    /// The floor without the wrapper, in ns.
    pub(crate) floor: f64,
    pub(crate) costs: Vec<Cost>,
    /// Where there are enough connections to tell.
    pub(crate) memory: Option<Memory>,
}

/// The figures of a case.
#[derive(Clone, Debug)]
pub(crate) struct Results {
    pub(crate) case: Case,
    pub(crate) figures: Vec<Figures>,
}

/// Measures a case, in the namespace that the thread is in.
pub(crate) fn measure(case: Case, plan: &Plan) -> Result<Results> {
    let figures = plan
        .sizes
        .iter()
        .map(|&size| {
            progress(&format!("{case}, {size} connections"));
            at_size(case, plan, size).with_context(|| format!("{case}, {size} connections"))
        })
        .collect::<Result<_>>()?;
    Ok(Results { case, figures })
}

fn at_size(case: Case, plan: &Plan, size: u32) -> Result<Figures> {
    let room = 2 * size + ROOM_FOR_STRANGERS;
    let mut wrapper = Wrapper::load(&plan.object, (case.family, case.hook), room, ENTRIES)?;
    let nothing = wrapper.own(Own::Nothing)?;
    let floor = wrapper.own(Own::Floor)?;
    let opened = open(case, plan, size, &mut wrapper)?;
    let Opened { mut engine, memory, times } = opened;
    let program = engine.program()?;

    let (mut forward, mut reverse) = engine.connections()?;
    ensure!(
        forward.len() == size as usize && reverse.len() == size as usize,
        "{} and {} entries for {size} connections",
        forward.len(),
        reverse.len()
    );
    // Neither in the order of the table nor in that in which memory was handed out.
    let mut random = fastrand::Rng::with_seed(2);
    random.shuffle(&mut forward);
    random.shuffle(&mut reverse);
    let content = Content::established(case.protocol);
    let bytes = |tuple: &Tuple| frame::bytes(case.family, tuple, content);
    for tuple in forward.iter().zip(&reverse).flat_map(|(one, other)| [one, other]) {
        wrapper.add_to_floor(&bytes(tuple))?;
    }
    wrapper.clear();
    let from_clients = wrapper.take(forward.iter().map(bytes))?;
    let from_servers = wrapper.take(reverse.iter().map(bytes))?;
    drop((forward, reverse));
    let actions = Actions::of(case.hook);
    wrapper.demand(&floor, &from_clients, actions.nothing)?;
    wrapper.demand(&floor, &from_servers, actions.nothing)?;
    let mut probes = vec![
        (Kind::Forward, from_clients, actions.redirect),
        (Kind::Reverse, from_servers, actions.redirect),
    ];
    for (kind, frames) in strangers(case, size) {
        probes.push((kind, wrapper.take(frames.into_iter())?, actions.pass));
    }
    for (kind, stream, action) in &probes {
        wrapper.demand(&program, stream, *action).with_context(|| format!("{kind:?}"))?;
    }
    rounds(plan, &mut wrapper, &[nothing, floor, program], &probes, &times)
        .map(|(wrapper, floor, costs)| Figures { connections: size, wrapper, floor, costs, memory })
}

/// What the programs return, by hook.
pub(crate) struct Actions {
    pub(crate) nothing: u32,
    pub(crate) pass: u32,
    pub(crate) redirect: u32,
}

impl Actions {
    pub(crate) const fn of(hook: Hook) -> Self {
        match hook {
            Hook::Xdp => Self { nothing: 1, pass: 2, redirect: 4 },
            Hook::Tc => Self { nothing: u32::MAX, pass: u32::MAX, redirect: 7 },
        }
    }
}

/// The engine with all connections open.
struct Opened {
    engine: Engine,
    memory: Option<Memory>,
    /// Time for each new connection, wrapper included.
    times: Vec<f64>,
}

/// Opens the connections, several times from an empty table; the last one is kept.
fn open(case: Case, plan: &Plan, size: u32, wrapper: &mut Wrapper) -> Result<Opened> {
    let mut clients: Vec<u32> = (0..size).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut clients);
    let opening = Content::opening(case.protocol);
    let frames =
        clients.into_iter().map(|client| frame::bytes(case.family, &case.sent(client), opening));
    let stream = wrapper.take(frames)?;
    let turns = match size {
        ..MEMORABLE => plan.rounds,
        _ => plan.rounds.min(3),
    };
    let mut times = Vec::new();
    loop {
        let mut engine = Engine::load(case)?;
        let program = engine.program()?;
        if size < MEMORABLE {
            times.push(establish(case, wrapper, &program, &stream)?);
            if times.len() >= turns as usize {
                return Ok(Opened { engine, memory: None, times });
            }
            wrapper.release()?;
            continue;
        }
        // Waits also where the figure does not count: what was dropped before is freed meanwhile.
        let before = memory::slab()?;
        let table = memory::map_size(Engine::entry(case.family), ENTRIES)?;
        times.push(establish(case, wrapper, &program, &stream)?);
        if times.len() >= turns as usize {
            let entries = memory::slab()?.saturating_sub(before);
            let stated = memory::map_size(Engine::entry(case.family), ENTRIES)?;
            return Ok(Opened { engine, memory: Some(Memory { entries, table, stated }), times });
        }
        wrapper.release()?;
    }
}

/// Opens a connection with each frame of the stream, and brings those of TCP out of the handshake. Returns the time
/// for each first packet, wrapper included.
pub(crate) fn establish(
    case: Case,
    wrapper: &mut Wrapper,
    program: &ProgramFd,
    opening: &Stream,
) -> Result<f64> {
    let next = frame::bytes(case.family, &case.sent(0), Content::established(case.protocol));
    let mut time = 0.0;
    for part in opening.parts(HALF_OPEN) {
        time += wrapper.run(program, &part, part.len())?.each * f64::from(part.len());
        if case.protocol == Protocol::Tcp {
            wrapper.run(program, &part.with(&next), part.len())?;
        }
    }
    Ok(time / f64::from(opening.len()))
}

/// Packets that are none of the engine's business.
fn strangers(case: Case, size: u32) -> Vec<(Kind, Vec<Vec<u8>>)> {
    let count = size.min(STRANGERS);
    let segment = Content::established(case.protocol);
    let own = case.family.virtual_address();
    let to = |address, port, content, count| {
        let frame =
            move |client| frame::bytes(case.family, &case.sent_to(client, address, port), content);
        (0..count).map(frame).collect::<Vec<_>>()
    };
    vec![
        (Kind::OtherPort, to(own, 22, segment, count)),
        (Kind::OtherPortFew, to(own, 22, segment, size.min(FEW_STRANGERS))),
        (Kind::Foreign, to(case.family.foreign_address(), PORT, segment, count)),
        (Kind::Echo, to(own, PORT, Content::Echo, count)),
        (Kind::Arp, vec![frame::arp(case.family)]),
    ]
}

type Probe = (Kind, Stream, u32);

/// All rounds: the wrapper, the floor, and the costs.
fn rounds(
    plan: &Plan,
    wrapper: &mut Wrapper,
    [nothing, floor, program]: &[ProgramFd; 3],
    probes: &[Probe],
    opening: &[f64],
) -> Result<(f64, f64, Vec<Cost>)> {
    let (_, connections, _) = probes.first().context("there are probes")?;
    let mut alone = Vec::new();
    let mut floors = Vec::new();
    let mut times = vec![Vec::new(); probes.len()];
    let mut quotients = vec![Vec::new(); probes.len()];
    for _ in 0..plan.rounds {
        let base = warm(wrapper, nothing, connections)?;
        let least = warm(wrapper, floor, connections)? - base;
        alone.push(base);
        floors.push(least);
        for (((_, stream, _), times), quotients) in
            probes.iter().zip(&mut times).zip(&mut quotients)
        {
            let time = warm(wrapper, program, stream)? - base;
            times.push(time);
            quotients.push(time / least);
        }
    }
    let middle = |values: &[f64]| median(values).context("no rounds");
    let (alone, floor) = (middle(&alone)?, middle(&floors)?);
    let mut costs = Vec::new();
    for (((kind, ..), times), quotients) in probes.iter().zip(&times).zip(&quotients) {
        costs.push(Cost { kind: *kind, time: middle(times)?, floors: middle(quotients)? });
    }
    let time = middle(opening)? - alone;
    costs.push(Cost { kind: Kind::New, time, floors: time / floor });
    Ok((alone, floor, costs))
}

/// The time of each packet in ns, each one sent before, less than a second ago: next hops are fresh then, as under
/// traffic. A long stream is measured in parts that are still more than the caches hold.
pub(crate) fn warm(wrapper: &mut Wrapper, program: &ProgramFd, stream: &Stream) -> Result<f64> {
    let (mut time, mut packets) = (0.0, 0);
    for part in stream.parts(FRESH) {
        let repeat = part.len().max(PACKETS);
        wrapper.run(program, &part, part.len().max(10_000))?;
        time += wrapper.run(program, &part, repeat)?.each * f64::from(repeat);
        packets += repeat;
    }
    Ok(time / f64::from(packets))
}
