//! Where a running data plane and its controller are found: the same two options for every command that has to do with one.

use std::path::{Path, PathBuf};

use anyhow::bail;

use crate::bpf::Pins;

/// Where a controller has its pins and its files.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Place {
    /// Where maps and links are pinned: `v<ABI>/maps` and `v<ABI>/links` below it.
    #[arg(long, value_name = "DIR", default_value = Place::PIN_DIR)]
    pub(crate) pin_dir: PathBuf,
    /// Where the control socket, the process id and the status are kept, and the verifier's log should it refuse the program.
    #[arg(long, value_name = "DIR", default_value = Place::RUNTIME_DIR)]
    pub(crate) runtime_dir: PathBuf,
}

impl Place {
    /// Where they are if nobody says otherwise.
    pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/xlvs";
    pub(crate) const RUNTIME_DIR: &str = "/run/xlvs";

    /// Where the files are of the controller that has these pins, for who only reads them. With other pins than the usual ones
    /// the usual files are some other controller's.
    pub(crate) fn files(&self) -> Option<&Path> {
        let strange = self.pin_dir != Path::new(Self::PIN_DIR)
            && self.runtime_dir == Path::new(Self::RUNTIME_DIR);
        (!strange).then_some(&self.runtime_dir)
    }

    /// Refuses where a controller has the pins, but not the files: where nobody has these.
    pub(super) fn refuse_elsewhere(&self) -> anyhow::Result<()> {
        let Some(process) = Pins::holders(&self.pin_dir)?.first().copied() else { return Ok(()) };
        bail!(
            "process {process} has the pins in {}, and its files are not in {}: give its --runtime-dir, or if that was \
             removed, `kill -9 {process}` and start xlvs again, which goes on with the data plane",
            self.pin_dir.display(),
            self.runtime_dir.display()
        )
    }
}
