//! The object in the kernel: its maps, and the programs that are needed.

use std::{
    net::IpAddr,
    num::NonZero,
    panic::resume_unwind,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread::{self, available_parallelism},
    time::Duration,
};

use aya::{
    Ebpf, EbpfLoader, Pod, VerifierLogLevel,
    maps::{Array, MapData, MapError, MapInfo, ProgramArray},
    programs::{Program, ProgramError, ProgramFd, SchedClassifier, Xdp},
};
use aya_log::EbpfLogger;
use lvs_common::{
    abi::{
        COLLECTED_AT_ONCE, Clock, DEFAULT_CONNECTIONS, DEFAULT_MEMBERS, DEFAULT_SERVERS,
        FILTER_WORDS, MAX_SERVERS, Stage, Tuple, V4, V6, half_open_slots, identities, runs,
    },
    wire,
};
use nix::time::{ClockId, clock_getres};
use tracing::Level;

use super::{Error, Maps, Pins, error::chain, layout, maps, object, sys};

/// Names of the first programs in the object; those of the stages begin with them too.
pub(super) const XDP_PROGRAM: &str = "xlvs";
pub(crate) const TC_PROGRAM: &str = "xlvs_tc";

/// The program that tells what is traced, and its slot behind those of the stages.
const TRACE: &str = "trace";
const TRACE_SLOT: u32 = Stage::ALL.len() as u32;

/// aya-log's numbers for "log nothing" and "log everything down to …".
const LOG_NOTHING: u8 = 0;
const LOG_INFO: u8 = aya_log::Level::Info as u8;
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// Whose decisions are to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One client only.
    pub client: Option<IpAddr>,
    /// Services under one address only.
    pub address: Option<IpAddr>,
    /// Services under one port only.
    pub port: Option<u16>,
}

/// How much a configuration asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Elements of `MEMBERS`; there is room for a quarter more, and for all of them once more.
    pub members: u32,
    /// Real servers; there is room for as many again.
    pub servers: u32,
}

/// How a data plane is to be loaded.
#[derive(Clone, Copy, Debug)]
pub struct LoadOptions<'o> {
    /// Where the maps are pinned; those that are there already are taken.
    pub pins: Option<&'o Pins>,
    /// Where the verifier's log goes should it refuse a program.
    pub verifier_log: Option<&'o Path>,
    /// Connections of each address family that fit.
    pub connections: u32,
    /// What the configuration needs now.
    pub needs: Needs,
    /// What to trace, if anything.
    pub trace: Option<Trace>,
}

impl Default for LoadOptions<'_> {
    fn default() -> Self {
        Self {
            pins: None,
            verifier_log: None,
            connections: DEFAULT_CONNECTIONS,
            needs: Needs::default(),
            trace: None,
        }
    }
}

/// The programs and their maps. Dropping it releases what is not pinned.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Dataplane {
    /// The programs.
    pub programs: Programs,
    /// The maps.
    pub maps: Maps,
    /// The fingerprint of the maps' layouts.
    pub layout: u64,
}

/// The programs.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Programs {
    ebpf: Ebpf,
    verifier_log: Option<PathBuf>,
    stages: ProgramArray<MapData>,
    stages_tc: ProgramArray<MapData>,
    trace: bool,
}

impl Dataplane {
    /// Loads the embedded object.
    pub fn load(options: &LoadOptions<'_>) -> Result<Self, Error> {
        let LoadOptions { pins, verifier_log, connections, needs, trace } = *options;
        let log_level = if tracing::enabled!(Level::DEBUG) {
            LOG_DEBUG
        } else if trace.is_some() {
            LOG_INFO
        } else {
            LOG_NOTHING
        };
        let filter = trace.unwrap_or_default();
        let (tracing, client, address, port) = (
            u8::from(trace.is_some()),
            wide(filter.client),
            wide(filter.address),
            filter.port.unwrap_or_default(),
        );
        let mut loader = EbpfLoader::new();
        for (map, entries) in sized_by(connections) {
            loader.map_max_entries(map, entries);
        }
        for (map, entries) in sized_for(needs) {
            // aya believes what it is told, also of maps that are there.
            let there = pins.filter(|pins| pins.found()).map(|pins| pins.maps().join(map));
            let there = there.and_then(|path| MapInfo::from_pin(path).ok());
            loader.map_max_entries(map, there.map_or(entries, |map| map.max_entries()));
        }
        if let Some(pins) = pins {
            for name in maps::NAMES {
                loader.map_pin_path(name, pins.maps().join(name));
            }
        }
        let mut ebpf = loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(aya_log::LEVEL, &log_level, true)
            .override_global("NS_PER_JIFFY", &jiffy()?, true)
            .override_global("TRACE", &tracing, true)
            .override_global("TRACE_CLIENT", &client, true)
            .override_global("TRACE_ADDRESS", &address, true)
            .override_global("TRACE_PORT", &port, true)
            .load(object::bytes()?)
            .map_err(|error| Error::object(&error))?;
        if let Some(pins) = pins {
            for (name, in_object) in maps::OF_PROGRAMS {
                let map = ebpf.map(in_object).ok_or_else(|| Error::no_map(name))?;
                map.pin(pins.programs().join(name)).map_err(|error| Error::Map {
                    map: name,
                    source: MapError::PinError { name: Some(name.to_owned()), error },
                })?;
            }
        }
        let stages = maps::typed(&mut ebpf, "STAGES")?;
        let stages_tc = maps::typed(&mut ebpf, "STAGES_TC")?;
        let mut maps = Maps::take(&mut ebpf)?;
        if let Some(pins) = pins {
            let words = pins.filters()?;
            let words: &[u64; FILTER_WORDS] = words
                .as_slice()
                .try_into()
                .map_err(|_| Error::Object("its filter has another size".to_owned()))?;
            maps.filter.set(0, words, 0).map_err(|source| Error::Map { map: "FILTER", source })?;
        }
        let programs = Programs {
            ebpf,
            verifier_log: verifier_log.map(Path::to_owned),
            stages,
            stages_tc,
            trace: trace.is_some(),
        };
        Ok(Self { programs, maps, layout: layout::fingerprint() })
    }

    /// Whether what is pinned is what [`load`](Self::load) would make for so many connections of each family.
    pub fn check(pins: &Pins, connections: u32) -> Result<(), Error> {
        let mut entries = sized_by(connections).map(|(map, entries)| (map, Some(entries))).to_vec();
        entries.extend(sized_for(Needs::default()).map(|(map, _)| (map, None)));
        layout::check(&pins.maps(), &entries)?;
        if pins.layout()? == layout::fingerprint() {
            return Ok(());
        }
        Err(Error::Layout {
            path: pins.maps(),
            reason: "the fields of its maps are others (the fingerprint in LEDGER)".to_owned(),
        })
    }

    /// See [`Programs::xdp`].
    pub fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        self.programs.xdp()
    }

    /// See [`Programs::tc`].
    pub fn tc(&mut self) -> Result<&mut SchedClassifier, Error> {
        self.programs.tc()
    }

    /// See [`Programs::program`].
    pub fn program(&mut self, name: &str) -> Option<&mut Program> {
        self.programs.program(name)
    }

    /// See [`Programs::collector`].
    pub fn collector(&mut self) -> Result<Collector, Error> {
        self.programs.collector()
    }

    /// See [`Programs::logger`].
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn tracing_log::log::Log>, Error> {
        self.programs.logger()
    }
}

impl Programs {
    /// The XDP program, verified and in the kernel, with all its stages.
    pub fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        if program::<Xdp>(&mut self.ebpf, XDP_PROGRAM)?.fd().is_err() {
            let slots = self.slots(XDP_PROGRAM);
            let names = slots.iter().map(|(_, name)| name.as_str()).chain([XDP_PROGRAM]);
            self.verify(&names.collect::<Vec<_>>())?;
            for (slot, name) in slots {
                let fd = cloned(program::<Xdp>(&mut self.ebpf, &name)?.fd())?;
                set_stage(&mut self.stages, "STAGES", slot, &fd)?;
            }
        }
        program(&mut self.ebpf, XDP_PROGRAM)
    }

    /// The TC program, verified and in the kernel, with all its stages.
    pub fn tc(&mut self) -> Result<&mut SchedClassifier, Error> {
        if program::<SchedClassifier>(&mut self.ebpf, TC_PROGRAM)?.fd().is_err() {
            let slots = self.slots(TC_PROGRAM);
            let names = slots.iter().map(|(_, name)| name.as_str()).chain([TC_PROGRAM]);
            self.verify(&names.collect::<Vec<_>>())?;
            for (slot, name) in slots {
                let fd = cloned(program::<SchedClassifier>(&mut self.ebpf, &name)?.fd())?;
                set_stage(&mut self.stages_tc, "STAGES_TC", slot, &fd)?;
            }
        }
        program(&mut self.ebpf, TC_PROGRAM)
    }

    /// A program of any name; for tests that ask what the verifier made of it.
    pub fn program(&mut self, name: &str) -> Option<&mut Program> {
        self.ebpf.program_mut(name)
    }

    /// The slots of the stages and the names of their programs.
    fn slots(&self, head: &str) -> Vec<(u32, String)> {
        let stages = Stage::ALL.into_iter().map(|stage| (stage as u32, stage.name()));
        let trace = self.trace.then_some((TRACE_SLOT, TRACE));
        stages.chain(trace).map(|(slot, name)| (slot, format!("{head}_{name}"))).collect()
    }

    /// Has the kernel verify programs that it does not have yet, on as many CPUs as there are: it takes its time for each, and
    /// one does not wait for another. They are loaded with the verifier's statistics only, which take no time.
    fn verify(&mut self, wanted: &[&str]) -> Result<(), Error> {
        let mut programs: Vec<(&str, &mut Program)> = self
            .ebpf
            .programs_mut()
            .filter(|(name, program)| wanted.contains(name) && program.fd().is_err())
            .collect();
        // The last ones are taken first: those of the stages that the verifier walks the longest.
        programs.sort_by_key(|(name, _)| wanted.iter().position(|wanted| wanted == name));
        let log = self.verifier_log.as_deref();
        let threads = available_parallelism().map_or(1, NonZero::get).min(programs.len());
        let queue = Mutex::new(programs);
        let next = || queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let work = || {
            while let Some((name, program)) = next() {
                load(name, program, log)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)))
        })
    }

    /// What collects connections that are over.
    pub fn collector(&mut self) -> Result<Collector, Error> {
        let names = ["xlvs_collect4", "xlvs_collect6", "xlvs_clock"];
        self.verify(&names)?;
        let [four, six, clock] =
            names.map(|name| cloned(program::<Xdp>(&mut self.ebpf, name)?.fd()));
        Ok(Collector {
            four: four?,
            six: six?,
            clock: clock?,
            // Taken once: there is one collector.
            time: maps::typed(&mut self.ebpf, "CLOCK")?,
        })
    }

    /// Whether decisions are traced.
    #[must_use]
    pub const fn traces(&self) -> bool {
        self.trace
    }

    /// The reader of what the program logs, if logging was on when it was loaded.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn tracing_log::log::Log>, Error> {
        EbpfLogger::init(&mut self.ebpf).map_err(|error| Error::Object(chain(&error)))
    }
}

/// The maps whose number of entries follows from how many connections of each family fit, and the number.
fn sized_by(connections: u32) -> [(&'static str, u32); 4] {
    let slots = half_open_slots(connections);
    [
        ("CONNECTIONS4", 2 * connections),
        ("CONNECTIONS6", 2 * connections),
        ("HALF_OPEN4", slots),
        ("HALF_OPEN6", slots),
    ]
}

/// The maps whose number of entries follows from what the configuration asks for at the start, and the number. A small one
/// has room to grow into what takes little memory.
fn sized_for(needs: Needs) -> [(&'static str, u32); 7] {
    let Needs { members, servers } = needs;
    let members = (members + members / 4).saturating_mul(2).max(DEFAULT_MEMBERS);
    let servers = servers.saturating_mul(2).clamp(DEFAULT_SERVERS, MAX_SERVERS);
    [
        ("MEMBERS", members),
        ("SERVERS", servers),
        ("LOADS", servers),
        ("STATISTICS", servers),
        ("PLACES", servers),
        ("RUNS", runs(servers)),
        ("IDENTITIES", identities(servers)),
    ]
}

/// The length of a jiffy in ns: the resolution of the kernel's coarse clocks.
fn jiffy() -> Result<u64, Error> {
    clock_getres(ClockId::CLOCK_MONOTONIC_COARSE)
        .map(|resolution| u64::try_from(Duration::from(resolution).as_nanos()).unwrap_or_default())
        .map_err(|errno| Error::Object(format!("the kernel's clock has no resolution: {errno}")))
}

/// The programs that end connections which are over, in the kernel (lvs-ebpf's `collect.rs`), and tell the time there.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Collector {
    four: ProgramFd,
    six: ProgramFd,
    clock: ProgramFd,
    time: Array<MapData, Clock>,
}

/// An address family whose connections can be collected.
pub trait Collectable: Pod {
    /// Its program.
    fn program(collector: &Collector) -> &ProgramFd;
}

impl Collectable for V4 {
    fn program(collector: &Collector) -> &ProgramFd {
        &collector.four
    }
}

impl Collectable for V6 {
    fn program(collector: &Collector) -> &ProgramFd {
        &collector.six
    }
}

impl Collector {
    /// What the data path's clock says.
    pub fn now(&self) -> Result<u64, Error> {
        sys::run(&self.clock, &[0; wire::ETH_LEN])
            .map_err(|source| Error::Batch { map: "CLOCK", source })?;
        let clock = self.time.get(&0, 0);
        clock.map(|clock| clock.now).map_err(|source| Error::Map { map: "CLOCK", source })
    }

    /// Ends those of the connections under `keys` that are over, and tells how many were. At most
    /// [`COLLECTED_AT_ONCE`] keys are taken.
    pub fn collect<A: Collectable>(&self, keys: &[Tuple<A>]) -> Result<u32, Error>
    where
        Tuple<A>: Pod,
    {
        let mut frame = vec![0; wire::ETH_LEN];
        for key in keys.iter().take(COLLECTED_AT_ONCE) {
            frame.extend_from_slice(sys::bytes(key));
        }
        sys::run(A::program(self), &frame)
            .map_err(|source| Error::Batch { map: "xlvs_collect", source })
    }
}

fn load(name: &str, program: &mut Program, log: Option<&Path>) -> Result<(), Error> {
    let loaded = match program {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => return Err(Error::Object(format!("its program {name} is of another kind"))),
    };
    loaded.map_err(|error| Error::program(name, &error, log))
}

fn cloned(fd: Result<&ProgramFd, ProgramError>) -> Result<ProgramFd, Error> {
    fd.map_err(|error| Error::Object(chain(&error)))?
        .try_clone()
        .map_err(|error| Error::Object(error.to_string()))
}

fn set_stage(
    stages: &mut ProgramArray<MapData>,
    map: &'static str,
    slot: u32,
    program: &ProgramFd,
) -> Result<(), Error> {
    stages.set(slot, program, 0).map_err(|source| Error::Map { map, source })
}

/// An address in the form of the trace's filter: zeros for any.
fn wide(address: Option<IpAddr>) -> [u64; 2] {
    let mut bytes = [0; 16];
    match address {
        Some(IpAddr::V4(address)) => {
            for (place, byte) in bytes.iter_mut().zip(address.octets()) {
                *place = byte;
            }
        }
        Some(IpAddr::V6(address)) => bytes = address.octets(),
        None => {}
    }
    zerocopy::transmute!(bytes)
}

fn program<'e, P>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut P, Error>
where
    &'e mut P: TryFrom<&'e mut Program, Error = ProgramError>,
{
    ebpf.program_mut(name)
        .ok_or_else(|| Error::Object(format!("it has no program {name}")))?
        .try_into()
        .map_err(|error: ProgramError| Error::Object(chain(&error)))
}

/// What the verifier says of a program at length: another try with the object, for the log alone.
pub(super) fn verifier_log(name: &str) -> Option<String> {
    let object = object::bytes().ok()?;
    let mut loader = EbpfLoader::new();
    let level = VerifierLogLevel::DEBUG | VerifierLogLevel::STATS;
    let mut ebpf = loader.verifier_log_level(level).load(object).ok()?;
    let result = match ebpf.program_mut(name)? {
        Program::Xdp(program) => program.load(),
        Program::SchedClassifier(program) => program.load(),
        _ => return None,
    };
    match result {
        Err(ProgramError::LoadError { verifier_log, .. }) => Some(verifier_log.to_string()),
        _ => None,
    }
}
