//! What is in the kernel already, for who only looks: pins, other programs on an interface, and whether the kernel takes ours.
//! Nothing here changes anything.

use std::{
    collections::HashMap,
    path::{Path, PathBuf, absolute},
};

use aya::programs::{
    ProgramInfo, SchedClassifier, TcAttachType, links::LinkType, loaded_links, loaded_programs,
};
use lvs_common::abi::ABI_VERSION;
use tracing::debug;

use super::{
    Dataplane, Error, LoadOptions, Mode,
    attach::named,
    pins::{LINKS, MAPS, is_bpffs, names, versions},
    sys::link_info,
};
use crate::net::Interface;

/// A pin directory as it is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Survey {
    /// Whether that could be looked at at all.
    pub(crate) looked_at: bool,
    /// Whether it is on a bpffs, or would be.
    pub(crate) bpffs: bool,
    /// The directories of data planes of other versions.
    pub(crate) others: Vec<PathBuf>,
    /// Whether there is a data plane of this version.
    pub(crate) data_plane: bool,
    /// The links that are pinned.
    pub(crate) links: Vec<PinnedLink>,
}

/// A link that is pinned.
#[derive(Clone, Debug)]
pub(crate) struct PinnedLink {
    /// Where.
    pub(crate) path: PathBuf,
    /// The name of its interface when it was attached.
    pub(crate) name: String,
    /// The index of its interface; 0 if that has gone.
    pub(crate) interface: u32,
    /// Whether it is one of XDP; else it is one of tcx.
    pub(crate) xdp: bool,
    /// The id of its program.
    pub(crate) program: u32,
}

impl Survey {
    /// Looks at a pin directory, which may not be there.
    pub(crate) fn of(pin_dir: &Path) -> Result<Self, Error> {
        let pin_dir = &absolute(pin_dir).unwrap_or_else(|_| pin_dir.to_owned());
        let there = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(pin_dir);
        let mut survey = Self { looked_at: true, bpffs: is_bpffs(there)?, ..Self::default() };
        let own = format!("v{ABI_VERSION}");
        for version in versions(pin_dir)? {
            let root = pin_dir.join(&version);
            let used = !names(&root.join(MAPS))?.is_empty();
            if version == own {
                survey.data_plane = used;
            } else if used {
                survey.others.push(root);
            }
        }
        let links = pin_dir.join(own).join(LINKS);
        for file in names(&links)? {
            let path = links.join(&file);
            match link_info(&path) {
                Ok(info) => survey.links.push(PinnedLink {
                    name: named(&file),
                    path,
                    interface: info.interface,
                    xdp: info.xdp,
                    program: info.program,
                }),
                Err(error) => debug!("{}: {error}", path.display()),
            }
        }
        Ok(survey)
    }
}

/// A program on an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OtherProgram {
    /// Its id.
    pub(crate) id: u32,
    /// Its name, if the kernel tells.
    pub(crate) name: String,
    /// The id of the XDP link that holds it, if one does.
    pub(crate) link: Option<u32>,
}

/// The programs on an interface, XDP ones and those of tcx, but for those that these pins hold.
pub(crate) fn other_programs(
    interface: &Interface,
    survey: &Survey,
) -> (Vec<OtherProgram>, Vec<OtherProgram>) {
    let names: HashMap<u32, String> = loaded_programs()
        .filter_map(Result::ok)
        .map(|program| (program.id(), program.name_as_str().unwrap_or_default().to_owned()))
        .collect();
    let links: HashMap<u32, u32> = loaded_links()
        .filter_map(Result::ok)
        .filter(|link| matches!(link.link_type(), Ok(LinkType::Xdp)))
        .map(|link| (link.program_id(), link.id()))
        .collect();
    let tcx = match SchedClassifier::query_tcx(&interface.name, TcAttachType::Ingress) {
        Ok((_, programs)) => programs.iter().map(ProgramInfo::id).collect(),
        Err(error) => {
            debug!("cannot ask for tcx programs on `{}`: {error}", interface.name);
            Vec::new()
        }
    };
    let others = |ids: &[u32]| {
        let mut ids = ids.to_vec();
        ids.sort_unstable();
        // The kernel names one that is alone twice.
        ids.dedup();
        ids.retain(|id| survey.links.iter().all(|link| link.program != *id));
        let describe = |id| OtherProgram {
            id,
            name: names.get(&id).cloned().unwrap_or_default(),
            link: links.get(&id).copied(),
        };
        ids.into_iter().map(describe).collect()
    };
    (others(&interface.xdp_programs), others(&tcx))
}

/// Has the kernel make the maps and verify the programs of a mode, as a start does, and lets go of them again.
pub(crate) fn try_programs(mode: Mode) -> Result<(), Error> {
    // Small tables: what the verifier says does not depend on it.
    let options = LoadOptions { connections: 1000, ..LoadOptions::default() };
    let mut dataplane = Dataplane::load(&options)?;
    if mode == Mode::Tc {
        dataplane.tc()?;
    } else {
        dataplane.xdp()?;
    }
    dataplane.collector().map(drop)
}
