//! The object in the kernel: its maps, and the program that is needed.

use std::path::{Path, PathBuf};

use aya::{
    Ebpf, EbpfLoader, VerifierLogLevel,
    maps::MapError,
    programs::{Program, ProgramError, SchedClassifier, Xdp},
};
use aya_log::EbpfLogger;
use tracing::Level;

use super::{Error, Maps, error::chain, maps, object};

/// Names of the programs in the object.
const XDP_PROGRAM: &str = "xlvs";
const TC_PROGRAM: &str = "xlvs_tc";

/// aya-log's numbers for "log nothing" and "log everything down to debug".
const LOG_NOTHING: u8 = 0;
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// The programs and their maps. Dropping it releases what is not pinned.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Dataplane {
    ebpf: Ebpf,
    verifier_log: Option<PathBuf>,
    /// The maps.
    pub maps: Maps,
}

impl Dataplane {
    /// Loads the embedded object. With `pins`, each map is pinned in that directory under its name. Where
    /// the verifier refuses a program its log goes to `verifier_log`.
    pub fn load(pins: Option<&Path>, verifier_log: Option<&Path>) -> Result<Self, Error> {
        let log_level = if tracing::enabled!(Level::DEBUG) { LOG_DEBUG } else { LOG_NOTHING };
        let mut ebpf = EbpfLoader::new()
            .verifier_log_level(VerifierLogLevel::STATS)
            .override_global(aya_log::LEVEL, &log_level, true)
            .load(object::bytes()?)
            .map_err(|error| Error::object(&error))?;
        if let Some(directory) = pins {
            for name in maps::NAMES {
                let map =
                    ebpf.map(name).ok_or_else(|| Error::Object(format!("it has no map {name}")))?;
                map.pin(directory.join(name)).map_err(|error| Error::Map {
                    map: name,
                    source: MapError::PinError { name: Some(name.to_owned()), error },
                })?;
            }
        }
        let maps = Maps::take(&mut ebpf)?;
        Ok(Self { ebpf, maps, verifier_log: verifier_log.map(Path::to_owned) })
    }

    /// The XDP program, verified and in the kernel.
    pub fn xdp(&mut self) -> Result<&mut Xdp, Error> {
        let program: &mut Xdp = program(&mut self.ebpf, XDP_PROGRAM)?;
        if program.fd().is_err() {
            program.load().map_err(|error| Error::program(error, self.verifier_log.clone()))?;
        }
        Ok(program)
    }

    /// The TC program, verified and in the kernel.
    pub fn tc(&mut self) -> Result<&mut SchedClassifier, Error> {
        let program: &mut SchedClassifier = program(&mut self.ebpf, TC_PROGRAM)?;
        if program.fd().is_err() {
            program.load().map_err(|error| Error::program(error, self.verifier_log.clone()))?;
        }
        Ok(program)
    }

    /// The reader of what the program logs, if logging was on when it was loaded.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn tracing_log::log::Log>, Error> {
        EbpfLogger::init(&mut self.ebpf).map_err(|error| Error::Object(chain(&error)))
    }
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
