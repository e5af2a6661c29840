//! Where a running data plane and its controller are found: the same two options for every command that has to do with one.

use std::path::{Path, PathBuf};

use crate::control::Place;

/// Where a controller has its pins and its files.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Directories {
    /// Where maps and links are pinned: `v<ABI>/maps` and `v<ABI>/links` below it.
    #[arg(long, value_name = "DIR", default_value = Place::PIN_DIR)]
    pin_dir: PathBuf,
    /// Where the control socket, the process id and the status are kept, and the verifier's log should it refuse the program.
    #[arg(long, value_name = "DIR", default_value = Place::RUNTIME_DIR)]
    runtime_dir: PathBuf,
}

impl Directories {
    /// That of the pins, for who only reads them.
    pub(super) fn pins(&self) -> &Path {
        &self.pin_dir
    }

    /// That of the controller's files, for who only reads them. With other pins than the default the default one is some other
    /// controller's.
    pub(super) fn files(&self) -> Option<&Path> {
        let default = Path::new(Place::RUNTIME_DIR);
        let strange = self.pin_dir != Path::new(Place::PIN_DIR) && self.runtime_dir == default;
        (!strange).then_some(&self.runtime_dir)
    }
}

impl From<Directories> for Place {
    fn from(Directories { pin_dir, runtime_dir }: Directories) -> Self {
        Self { pin_dir, runtime_dir }
    }
}
