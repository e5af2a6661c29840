//! Where a running data plane and its controller are found.

use std::path::PathBuf;

use crate::control::Place;

/// The directory of the pins, for commands that read them.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PinDir {
    /// Where the maps are pinned: what `xlvs run` has as --pin-dir.
    #[arg(long, value_name = "DIR", default_value = PinDir::DEFAULT)]
    pub(super) pin_dir: PathBuf,
}

impl PinDir {
    pub(super) const DEFAULT: &str = Place::PIN_DIR;
}

/// The runtime directory, for commands that talk to the controller.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct RuntimeDir {
    /// Where the controller's socket is: what `xlvs run` has as --runtime-dir.
    #[arg(long, value_name = "DIR", default_value = RuntimeDir::DEFAULT)]
    pub(super) runtime_dir: PathBuf,
}

impl RuntimeDir {
    pub(super) const DEFAULT: &str = Place::RUNTIME_DIR;
}
