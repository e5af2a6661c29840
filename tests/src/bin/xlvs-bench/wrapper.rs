//! The bench's own object: filling its maps and running the wrapper before a program.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, EbpfLoader, TestRun, VerifierLogLevel,
    maps::{Array, HashMap, MapData, ProgramArray},
    programs::{ProgramFd, SchedClassifier, TestRunOptions, TestRunResult, Xdp},
};
use nix::time::{ClockId, clock_gettime};

use crate::case::{Family, Hook};
use crate::frame;

/// Words of the object's map `TEMPLATE`.
const TEMPLATE_WORDS: usize = 10;

/// Frames that differ in addresses and ports, in the wrapper's maps.
#[derive(Debug)]
pub(crate) struct Stream {
    first: u32,
    end: u32,
    template: [u64; TEMPLATE_WORDS],
    frame: Vec<u8>,
}

impl Stream {
    /// How many different frames there are.
    pub(crate) const fn len(&self) -> u32 {
        self.end - self.first
    }

    /// Its frames in their order, at most so many at once.
    pub(crate) fn parts(&self, most: u32) -> impl Iterator<Item = Self> {
        let (end, template) = (self.end, self.template);
        (self.first..end).step_by(most as usize).map(move |first| Self {
            first,
            end: end.min(first.saturating_add(most)),
            template,
            frame: self.frame.clone(),
        })
    }

    /// The same addresses and ports in a frame that is otherwise this one.
    pub(crate) fn with(&self, frame: &[u8]) -> Self {
        Self {
            first: self.first,
            end: self.end,
            template: frame::words(frame),
            frame: frame.to_vec(),
        }
    }
}

/// What came of running a program many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    /// Time for each packet in ns, wrapper included.
    pub(crate) each: f64,
    /// What the program returned for the last packet.
    pub(crate) action: u32,
}

/// The object.
pub(crate) struct Wrapper {
    ebpf: Ebpf,
    family: Family,
    hook: Hook,
    template: Array<MapData, [u64; TEMPLATE_WORDS]>,
    position: Array<MapData, [u32; 4]>,
    variations: Variations,
    programs: ProgramArray<MapData>,
    floor: Floor,
    used: u32,
}

enum Variations {
    V4(Array<MapData, [u64; 2]>),
    V6(Array<MapData, [u64; 5]>),
}

enum Floor {
    V4(HashMap<MapData, [u8; 16], u64>),
    V6(HashMap<MapData, [u8; 40], u64>),
}

/// Programs of the object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Own {
    /// Returns at once.
    Nothing,
    /// The floor.
    Floor,
}

impl Wrapper {
    /// Loads the object with room for so many variations and entries of the floor's table.
    pub(crate) fn load(
        object: &[u8],
        (family, hook): (Family, Hook),
        variations: u32,
        entries: u32,
    ) -> Result<Self> {
        let (name, floor, unused) = match family {
            Family::V4 => ("VARIATIONS4", "FLOOR4", ["VARIATIONS6", "FLOOR6"]),
            Family::V6 => ("VARIATIONS6", "FLOOR6", ["VARIATIONS4", "FLOOR4"]),
        };
        let [unused_variations, unused_floor] = unused;
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .map_max_entries(name, variations)
            .map_max_entries(floor, entries)
            .map_max_entries(unused_variations, 1)
            .map_max_entries(unused_floor, 1)
            .load(object)
            .context("the bench's object")?;
        let mut take = |name: &str| {
            ebpf.take_map(name).with_context(|| format!("the bench's object has no map {name}"))
        };
        let programs = match hook {
            Hook::Xdp => "PROGRAMS",
            Hook::Tc => "PROGRAMS_TC",
        };
        let mut wrapper = Self {
            template: take("TEMPLATE")?.try_into()?,
            position: take("POSITION")?.try_into()?,
            variations: match family {
                Family::V4 => Variations::V4(take(name)?.try_into()?),
                Family::V6 => Variations::V6(take(name)?.try_into()?),
            },
            programs: take(programs)?.try_into()?,
            floor: match family {
                Family::V4 => Floor::V4(take(floor)?.try_into()?),
                Family::V6 => Floor::V6(take(floor)?.try_into()?),
            },
            used: 0,
            ebpf,
            family,
            hook,
        };
        for name in [wrapper.name(), wrapper.own_name(Own::Nothing), wrapper.own_name(Own::Floor)] {
            match wrapper.hook {
                Hook::Xdp => wrapper.xdp(name)?.load(),
                Hook::Tc => wrapper.tc(name)?.load(),
            }
            .with_context(|| format!("the bench's program {name}"))?;
        }
        Ok(wrapper)
    }

    /// Takes the frames into the maps; all of them differ only in addresses and ports.
    pub(crate) fn take(&mut self, frames: impl Iterator<Item = Vec<u8>>) -> Result<Stream> {
        let first = self.used;
        let mut example = None;
        for frame in frames {
            let addresses = self.addresses(&frame)?;
            match &mut self.variations {
                Variations::V4(map) => map.set(self.used, frame::words(addresses), 0),
                Variations::V6(map) => map.set(self.used, frame::words(addresses), 0),
            }
            .context("more frames than there is room for")?;
            self.used += 1;
            example.get_or_insert(frame);
        }
        let frame = example.context("a stream has one frame at least")?;
        Ok(Stream { first, end: self.used, template: frame::words(&frame), frame })
    }

    fn addresses<'f>(&self, frame: &'f [u8]) -> Result<&'f [u8]> {
        frame.get(frame::addresses(self.family)).context("the frame is too short")
    }

    /// Gives the room of all streams back.
    pub(crate) fn clear(&mut self) {
        self.used = 0;
    }

    /// Puts the key that the floor reads from this frame into its table.
    pub(crate) fn add_to_floor(&mut self, frame: &[u8]) -> Result<()> {
        const PROTOCOL: u32 = 6;
        let key = [self.addresses(frame)?, &PROTOCOL.to_ne_bytes()].concat();
        match &mut self.floor {
            Floor::V4(map) => map.insert(<[u8; 16]>::try_from(key.as_slice())?, 0, 0)?,
            Floor::V6(map) => map.insert(<[u8; 40]>::try_from(key.as_slice())?, 0, 0)?,
        }
        Ok(())
    }

    /// Lets go of the program that ran last, and with it of that program's tables.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.programs.clear_index(&0).context("the program under test")
    }

    /// One of the object's own programs.
    pub(crate) fn own(&mut self, own: Own) -> Result<ProgramFd> {
        let name = self.own_name(own);
        let fd = match self.hook {
            Hook::Xdp => self.xdp(name)?.fd()?.try_clone(),
            Hook::Tc => self.tc(name)?.fd()?.try_clone(),
        };
        fd.context("a second handle on the program")
    }

    /// Runs the wrapper and behind it the program so many times, beginning at the first frame.
    pub(crate) fn run(&mut self, program: &ProgramFd, stream: &Stream, repeat: u32) -> Result<Run> {
        self.run_from(program, stream, stream.first, repeat)
    }

    /// Sends some frames of the stream, spread over it, and demands this action for each.
    pub(crate) fn demand(
        &mut self,
        program: &ProgramFd,
        stream: &Stream,
        action: u32,
    ) -> Result<()> {
        let step = (stream.len() / 64).max(1) as usize;
        for next in (stream.first..stream.end).step_by(step) {
            let run = self.run_from(program, stream, next, 1)?;
            ensure!(
                run.action == action,
                "frame {}: the program returned {:#x}, not {action:#x}",
                next - stream.first,
                run.action
            );
        }
        Ok(())
    }

    fn run_from(
        &mut self,
        program: &ProgramFd,
        stream: &Stream,
        next: u32,
        repeat: u32,
    ) -> Result<Run> {
        self.programs.set(0, program, 0).context("the program under test")?;
        self.template.set(0, stream.template, 0)?;
        self.position.set(0, [next, stream.first, stream.end, 0], 0)?;
        let name = self.name();
        match self.hook {
            Hook::Xdp => timed(self.xdp(name)?, &stream.frame, repeat),
            Hook::Tc => timed(self.tc(name)?, &stream.frame, repeat),
        }
    }

    const fn name(&self) -> &'static str {
        match (self.hook, self.family) {
            (Hook::Xdp, Family::V4) => "bench_wrap4",
            (Hook::Xdp, Family::V6) => "bench_wrap6",
            (Hook::Tc, _) => "bench_wrap4_tc",
        }
    }

    const fn own_name(&self, own: Own) -> &'static str {
        match (own, self.hook, self.family) {
            (Own::Nothing, Hook::Xdp, _) => "bench_nop",
            (Own::Nothing, Hook::Tc, _) => "bench_nop_tc",
            (Own::Floor, Hook::Xdp, Family::V4) => "bench_floor4",
            (Own::Floor, Hook::Xdp, Family::V6) => "bench_floor6",
            (Own::Floor, Hook::Tc, _) => "bench_floor4_tc",
        }
    }

    fn xdp(&mut self, name: &str) -> Result<&mut Xdp> {
        let program = self.ebpf.program_mut(name);
        Ok(program.with_context(|| format!("no program {name}"))?.try_into()?)
    }

    fn tc(&mut self, name: &str) -> Result<&mut SchedClassifier> {
        let program = self.ebpf.program_mut(name);
        Ok(program.with_context(|| format!("no program {name}"))?.try_into()?)
    }
}

/// The thread's own time for each repetition: finer than the whole ns that the kernel reports, and
/// without the time of others on this CPU. What the system call does besides, some 20 µs, is spread
/// over all repetitions.
fn timed(
    program: &impl for<'o> TestRun<Opts<'o> = TestRunOptions<'o>, Result = TestRunResult>,
    frame: &[u8],
    repeat: u32,
) -> Result<Run> {
    let mut options = TestRunOptions::new();
    options.data_in = Some(frame);
    options.repeat = repeat;
    let now = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map(Duration::from);
    let start = now()?;
    let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
    let time = now()?.saturating_sub(start);
    Ok(Run { each: time.as_secs_f64() * 1e9 / f64::from(repeat), action: result.return_value })
}
