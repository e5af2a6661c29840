//! A loaded program with its maps.

use std::path::Path;

use aya::{Ebpf, EbpfLoader, VerifierLogLevel, maps::MapError, programs::Xdp};
use aya_log::EbpfLogger;
use tracing::Level;

use super::{Error, Maps, error::chain, maps, object};

/// Name of the XDP program in the object.
pub const PROGRAM: &str = "xlvs";

/// aya-log's numbers for "log nothing" and "log everything down to debug".
const LOG_NOTHING: u8 = 0;
const LOG_DEBUG: u8 = aya_log::Level::Debug as u8;

/// The program, verified and in the kernel, and its maps. Dropping it releases what is not pinned.
#[expect(missing_debug_implementations, reason = "aya's arrays have none")]
pub struct Dataplane {
    ebpf: Ebpf,
    /// The maps.
    pub maps: Maps,
}

impl Dataplane {
    /// Loads the embedded object. With `pins`, each map is pinned in that directory under its name. Where
    /// the verifier refuses the program its log goes to `verifier_log`.
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
        program(&mut ebpf)?
            .load()
            .map_err(|error| Error::program(error, verifier_log.map(Path::to_owned)))?;
        let maps = Maps::take(&mut ebpf)?;
        Ok(Self { ebpf, maps })
    }

    /// The XDP program.
    pub fn program(&mut self) -> Result<&mut Xdp, Error> {
        program(&mut self.ebpf)
    }

    /// The reader of what the program logs, if logging was on when it was loaded.
    pub fn logger(&mut self) -> Result<EbpfLogger<&'static dyn tracing_log::log::Log>, Error> {
        EbpfLogger::init(&mut self.ebpf).map_err(|error| Error::Object(chain(&error)))
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, Error> {
    ebpf.program_mut(PROGRAM)
        .ok_or_else(|| Error::Object(format!("it has no program {PROGRAM}")))?
        .try_into()
        .map_err(|error| Error::Object(chain(&error)))
}
