//! The directory of the pins: `<pin dir>/v<ABI>/{maps,links}` on a bpffs, held by one controller at a time.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::OwnedFd,
        unix::{
            ffi::OsStrExt as _,
            fs::{DirBuilderExt as _, MetadataExt as _},
        },
    },
    path::{Path, PathBuf},
};

use aya::maps::{Array, Map, MapData};
use lvs_common::abi::{ABI_VERSION, FILTER_WORDS, LedgerHead};
use nix::{
    errno::Errno,
    fcntl::Flock,
    mount::{MsFlags, mount, umount},
    sys::statfs::statfs,
};
use tracing::{info, warn};

use crate::lock;

use super::{
    Error,
    attach::{remove_filters, remove_link},
    sys::{LinkInfo, link_info, open_pin},
};

/// `f_type` of a bpffs (`BPF_FS_MAGIC` in `uapi/linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// What a bpffs that we have mounted for a pin directory alone is called in the list of mounts.
const MOUNT_SOURCE: &str = "xlvs";

/// The directories below that of a version.
pub(super) const MAPS: &str = "maps";
pub(super) const LINKS: &str = "links";
const PROGRAMS: &str = "programs";

/// Where every system has its bpffs.
const SYSTEM_BPFFS: &str = "/sys/fs/bpf";

/// The pin directory, prepared and locked. Dropping it removes everything that it has made, unless there is a data plane
/// that packets go through.
#[derive(Debug)]
pub struct Pins {
    pin_dir: PathBuf,
    root: PathBuf,
    /// The pin directory and those above it that were not there before, deepest first.
    made: Vec<PathBuf>,
    /// The bpffs that was mounted for this directory alone.
    mounted: Option<PathBuf>,
    /// Whether that was in an earlier run.
    mounted_before: bool,
    lock: Option<Flock<File>>,
    /// Whether there was a data plane to go on with.
    found: bool,
    life: Life,
    /// The number of this run among those whose programs may be in use.
    generation: u32,
}

/// What becomes of the pins when this process ends.
#[derive(Clone, Copy, Debug)]
enum Life {
    /// It is not known yet whose they are: they stay.
    Unknown,
    /// They go: nobody uses them yet.
    Fresh,
    /// They stay: packets go through them.
    Lasting,
}

impl Pins {
    /// Makes the directories below `pin_dir`, mounts a bpffs where there is none, and takes the lock. A data plane that is
    /// there is [found](Self::found); what is left of a start that came to nothing is removed.
    pub fn prepare(pin_dir: &Path) -> Result<Self, Error> {
        let mut pins = Self::at(pin_dir)?;
        let (pin_dir, root) = (pins.pin_dir.clone(), pins.root.clone());
        pins.lock = Some(lock::make_and_lock(&root, || {
            pins.ensure_bpffs(&pin_dir)?;
            pins.make(&pin_dir)?;
            pins.make(&root)?;
            lock(&root)
        })?);
        pins.refuse_others()?;
        pins.found = pins.layout()? != 0;
        if !pins.found {
            pins.remove_leftovers()?;
        }
        pins.life = if pins.found { Life::Lasting } else { Life::Fresh };
        for directory in [pins.maps(), pins.links(), pins.root.join(PROGRAMS)] {
            pins.make(&directory)?;
        }
        // One more than any that is there.
        let generation = pins.generations()?.into_iter().max().unwrap_or_default() + 1;
        pins.generation = generation;
        let directory = pins.programs();
        DirBuilder::new()
            .mode(0o700)
            .create(&directory)
            .map_err(|error| failed(&directory, &error))?;
        Ok(pins)
    }

    fn at(pin_dir: &Path) -> Result<Self, Error> {
        let pin_dir = std::path::absolute(pin_dir).map_err(|error| failed(pin_dir, &error))?;
        Ok(Self {
            root: pin_dir.join(format!("v{ABI_VERSION}")),
            pin_dir,
            made: Vec::new(),
            mounted: None,
            mounted_before: false,
            lock: None,
            found: false,
            life: Life::Unknown,
            generation: 0,
        })
    }

    /// Whether there is a data plane to go on with.
    #[must_use]
    pub const fn found(&self) -> bool {
        self.found
    }

    /// Where the maps are pinned, each under its name.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root.join(MAPS)
    }

    /// Where the links are pinned, each under the name of its interface.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join(LINKS)
    }

    /// Where the maps are pinned that belong to the programs of this run alone.
    pub(super) fn programs(&self) -> PathBuf {
        self.root.join(PROGRAMS).join(self.generation.to_string())
    }

    /// The numbers of all runs whose programs may still be in use.
    fn generations(&self) -> Result<Vec<u32>, Error> {
        let names = names(&self.root.join(PROGRAMS))?;
        Ok(names.iter().filter_map(|name| name.parse().ok()).collect())
    }

    /// The fingerprint in `LEDGER`; 0 if there is none.
    pub(super) fn layout(&self) -> Result<u64, Error> {
        let path = self.maps().join("LEDGER");
        if !path.exists() {
            return Ok(0);
        }
        let read = || {
            let map = Map::Array(MapData::from_pin(&path)?);
            Array::<_, LedgerHead>::try_from(map)?.get(&0, 0)
        };
        match read() {
            Ok(head) => Ok(head.layout),
            Err(error) => {
                Err(Error::Layout { path: self.maps(), reason: format!("its map LEDGER: {error}") })
            }
        }
    }

    /// The filters of all programs that may be in use, in one: connections may have come by any of their keys.
    pub(super) fn filters(&self) -> Result<Vec<u64>, Error> {
        let mut all = vec![0; FILTER_WORDS];
        for generation in self.generations()? {
            let path = self.root.join(PROGRAMS).join(generation.to_string()).join("FILTER");
            if generation == self.generation || !path.exists() {
                continue;
            }
            let read = || {
                let map = Map::Array(MapData::from_pin(&path)?);
                Array::<_, [u64; FILTER_WORDS]>::try_from(map)?.get(&0, 0)
            };
            let words = read().map_err(|source| Error::Map { map: "FILTER", source })?;
            for (all, word) in all.iter_mut().zip(words) {
                *all |= word;
            }
        }
        Ok(all)
    }

    /// The links that are pinned; those of interfaces that have gone are removed.
    pub(super) fn attached(&self) -> Result<Vec<Attached>, Error> {
        let mut attached = Vec::new();
        for name in names(&self.links())? {
            let path = self.links().join(name);
            match link_info(&path) {
                Ok(LinkInfo { interface: 0, .. }) => {
                    info!("removed the link {}: its interface has gone", path.display());
                    remove_link(&path).map_err(|error| failed(&path, &error))?;
                }
                Ok(LinkInfo { xdp, interface, program }) => {
                    attached.push(Attached { path, xdp, interface, program });
                }
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Ok(attached)
    }

    /// Refuses to go on where somebody has removed the directory: all links have gone with their pins, so that no packet is
    /// balanced, and maps without pins are of no use to anybody.
    pub(crate) fn refuse_removed(&self) -> Result<(), Error> {
        // A directory that is removed has no names any more; one that only is not seen under its path has.
        let removed = |lock: &Flock<File>| lock.metadata().is_ok_and(|is| is.nlink() == 0);
        if !self.lock.as_ref().is_some_and(removed) {
            return Ok(());
        }
        Err(Error::Pins {
            path: self.root.clone(),
            reason: "somebody has removed it, and with it what balances packets; start xlvs again, which makes all of it \
                     anew (without the connections that it had)"
                .to_owned(),
            permission: false,
        })
    }

    /// Removes what belongs to the programs of other runs, which no link leads to any more. A packet may still be in one of
    /// them: what is returned is to be kept for a moment.
    pub(crate) fn retire(&self) -> Result<Vec<OwnedFd>, Error> {
        let mut kept = Vec::new();
        for generation in self.generations()? {
            if generation == self.generation {
                continue;
            }
            let directory = self.root.join(PROGRAMS).join(generation.to_string());
            for name in names(&directory)? {
                kept.extend(open_pin(&directory.join(name)).ok());
            }
            clear(&directory, |path| fs::remove_file(path))?;
            fs::remove_dir(&directory).map_err(|error| failed(&directory, &error))?;
        }
        Ok(kept)
    }

    /// Detaches everything and removes everything that was pinned, in whatever run it was.
    pub(crate) fn remove(mut self) -> Result<(), Error> {
        self.clear_all()?;
        if self.found {
            // Who has made these is not known.
            self.made.extend([self.root.clone(), self.pin_dir.clone()]);
        }
        self.take_down();
        self.life = Life::Lasting;
        Ok(())
    }

    /// From now on the data plane outlives this process, unless it is [removed](Self::remove).
    pub(crate) const fn establish(&mut self) {
        self.life = Life::Lasting;
    }

    /// Unmounts the bpffs that is ours alone, and removes the directories that were made.
    fn take_down(&mut self) {
        // What is open keeps a mount in use.
        drop(self.lock.take());
        let unmount = |point: PathBuf| {
            // It would take along what others have pinned there. (What has a dot in its name is the kernel's own.)
            let theirs = |name: &String| !name.contains('.');
            if names(&point).is_ok_and(|names| names.iter().any(theirs)) {
                warn!("the bpffs at {} stays: there is more in it", point.display());
            } else if let Err(errno) = umount(&point) {
                warn!("cannot unmount the bpffs at {}: {errno}", point.display());
            }
        };
        for path in std::mem::take(&mut self.made) {
            if let Some(point) = self.mounted.take_if(|point| *point == path) {
                unmount(point);
            }
            match fs::remove_dir(&path) {
                // Another controller's directories may be in it; or root has made it for us, in a folder in which we may
                // change nothing.
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::DirectoryNotEmpty
                            | io::ErrorKind::NotFound
                            | io::ErrorKind::PermissionDenied
                            | io::ErrorKind::ReadOnlyFilesystem
                    ) =>
                {
                    warn!("cannot remove {}: {error}", path.display());
                }
                _ => {}
            }
        }
        if let Some(point) = self.mounted.take() {
            unmount(point);
        }
    }

    /// The processes that hold a data plane below `pin_dir`, of whatever version, as far as they are seen from here.
    pub(crate) fn holders(pin_dir: &Path) -> Result<Vec<i32>, Error> {
        let of = |version: String| {
            let root = pin_dir.join(version);
            let holders = File::open(&root).and_then(|root| lock::holders_of(&root));
            holders.map_err(|error| failed(&root, &error))
        };
        let all: Result<Vec<Vec<i32>>, Error> = versions(pin_dir)?.into_iter().map(of).collect();
        Ok(all?.concat())
    }

    /// Refuses if a controller holds a data plane below `pin_dir`, of whatever version.
    pub(crate) fn refuse_held(pin_dir: &Path) -> Result<(), Error> {
        let mut versions = versions(pin_dir)?.into_iter();
        versions.try_for_each(|version| lock(&pin_dir.join(version)).map(drop))
    }

    /// Ends the data planes of all versions below `pin_dir` that no controller holds, and tells how many there were.
    pub(crate) fn end_all(pin_dir: &Path) -> Result<usize, Error> {
        let mut count = 0;
        let mut pins = Self::at(pin_dir)?;
        if !pins.pin_dir.exists() {
            return Ok(0);
        }
        pins.mounted = mounted_by_us(&pins.pin_dir).then(|| pins.pin_dir.clone());
        for version in versions(&pins.pin_dir)? {
            pins.root = pins.pin_dir.join(version);
            pins.lock = Some(lock(&pins.root)?);
            if pins.clear_all()? > 0 {
                count += 1;
            }
            fs::remove_dir(&pins.root).map_err(|error| failed(&pins.root, &error))?;
        }
        pins.made.push(pins.pin_dir.clone());
        pins.take_down();
        Ok(count)
    }

    /// Removes links, maps and their directories, and tells how many pins there were.
    fn clear_all(&self) -> Result<usize, Error> {
        if self.maps().exists() {
            remove_filters();
        }
        let mut count = clear(&self.links(), remove_link)?;
        count += clear(&self.maps(), |path| fs::remove_file(path))?;
        let programs = self.root.join(PROGRAMS);
        for name in names(&programs)? {
            let directory = programs.join(name);
            count += clear(&directory, |path| fs::remove_file(path))?;
            fs::remove_dir(&directory).map_err(|error| failed(&directory, &error))?;
        }
        for directory in [self.links(), self.maps(), programs] {
            match fs::remove_dir(&directory) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(&directory, &error));
                }
                _ => {}
            }
        }
        Ok(count)
    }

    /// The data plane of another version of the ABI would go on beside this one.
    fn refuse_others(&self) -> Result<(), Error> {
        for version in versions(&self.pin_dir)? {
            let root = self.pin_dir.join(version);
            if root != self.root && !names(&root.join(MAPS))?.is_empty() {
                return Err(Error::Layout {
                    path: root.join(MAPS),
                    reason: format!("its maps are not of version {ABI_VERSION}"),
                });
            }
        }
        Ok(())
    }

    fn ensure_bpffs(&mut self, pin_dir: &Path) -> Result<(), Error> {
        let existing = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(pin_dir);
        if is_bpffs(existing)? {
            // Mounted by an earlier run that was killed: this one takes it down.
            if mounted_by_us(pin_dir) {
                self.mounted = Some(pin_dir.to_owned());
                self.mounted_before = true;
            }
            return Ok(());
        }
        // The system's own mount is for everybody and stays; one elsewhere is ours alone and goes.
        let system = pin_dir.starts_with(SYSTEM_BPFFS);
        let (point, source) = if system {
            (Path::new(SYSTEM_BPFFS), "bpf")
        } else {
            self.make(pin_dir)?;
            refuse_unless_empty(pin_dir)?;
            (pin_dir, MOUNT_SOURCE)
        };
        mount(Some(source), point, Some("bpf"), MsFlags::empty(), Some("mode=0700")).map_err(
            |errno| Error::Pins {
                path: point.to_owned(),
                reason: match errno {
                    Errno::EPERM => format!(
                        "no bpffs is mounted there, and mounting one needs CAP_SYS_ADMIN; \
                         run as root: mount -t bpf bpf {}",
                        point.display()
                    ),
                    errno => format!("cannot mount a bpffs: {errno}"),
                },
                permission: true,
            },
        )?;
        info!(
            "mounted a bpffs at {} (seen in this mount namespace only; a command under `ip netns exec` \
             has one of its own, `nsenter --net=…` shares it)",
            point.display()
        );
        if !system {
            self.mounted = Some(pin_dir.to_owned());
        }
        Ok(())
    }

    /// Makes a directory with those above it and remembers them.
    fn make(&mut self, directory: &Path) -> Result<(), Error> {
        let missing: Vec<PathBuf> =
            directory.ancestors().take_while(|path| !path.exists()).map(Path::to_owned).collect();
        for path in missing.into_iter().rev() {
            DirBuilder::new().mode(0o700).create(&path).map_err(|error| failed(&path, &error))?;
            self.made.insert(0, path);
        }
        Ok(())
    }

    /// Removes what is left of a start that came to nothing. What has links has been in use: it stays.
    fn remove_leftovers(&mut self) -> Result<(), Error> {
        if !names(&self.links())?.is_empty() {
            return Err(Error::Layout {
                path: self.maps(),
                reason: "there are links, but no map LEDGER that has been filled".to_owned(),
            });
        }
        self.clear_all()?;
        if !self.made.contains(&self.root) {
            self.made.insert(0, self.root.clone());
        }
        Ok(())
    }
}

/// A link that is pinned.
#[derive(Clone, Debug)]
pub(super) struct Attached {
    /// Where.
    pub(super) path: PathBuf,
    /// Whether it is one of XDP; else it is one of tcx.
    pub(super) xdp: bool,
    /// The index of its interface.
    pub(super) interface: u32,
    /// The id of its program.
    pub(super) program: u32,
}

impl Drop for Pins {
    fn drop(&mut self) {
        match self.life {
            Life::Unknown => {
                // Another one's data plane may be in it.
                if self.mounted_before {
                    self.mounted = None;
                }
            }
            Life::Fresh => {
                if let Err(error) = self.clear_all() {
                    warn!("{error}");
                }
            }
            Life::Lasting => return,
        }
        self.take_down();
    }
}

/// Whether the mount at this very path is one of ours.
fn mounted_by_us(path: &Path) -> bool {
    // Fields of a line: …, mount point (5th), …, "-", type, source, options (proc_pid_mountinfo(5)).
    let ours = |line: &str| {
        let mut words = line.split(' ');
        let point = words.nth(4).map(|point| point.replace("\\040", " "));
        let source = words.skip_while(|word| *word != "-").nth(2);
        point.as_deref().map(Path::new) == Some(path) && source == Some(MOUNT_SOURCE)
    };
    fs::read_to_string("/proc/self/mountinfo").is_ok_and(|mounts| mounts.lines().any(ours))
}

/// A mount hides what is in the directory.
fn refuse_unless_empty(directory: &Path) -> Result<(), Error> {
    let mut entries = fs::read_dir(directory).map_err(|error| failed(directory, &error))?;
    if entries.next().is_none() {
        return Ok(());
    }
    Err(Error::Pins {
        path: directory.to_owned(),
        reason: "it is not on a bpffs, and mounting one there would hide what is in it; \
                 give an empty or a new directory"
            .to_owned(),
        permission: false,
    })
}

/// The names in a directory; none if it is not there.
pub(super) fn names(directory: &Path) -> Result<Vec<String>, Error> {
    match fs::read_dir(directory) {
        Err(error)
            if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            Ok(Vec::new())
        }
        Err(error) => Err(failed(directory, &error)),
        Ok(entries) => {
            let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
            Ok(names.collect())
        }
    }
}

/// The directories of versions in a pin directory.
pub(super) fn versions(pin_dir: &Path) -> Result<Vec<String>, Error> {
    let version =
        |name: &String| name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok());
    Ok(names(pin_dir)?.into_iter().filter(version).collect())
}

/// Removes the files in a directory and tells how many there were.
fn clear(directory: &Path, remove: impl Fn(&Path) -> io::Result<()>) -> Result<usize, Error> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        Err(error) => return Err(failed(directory, &error)),
    };
    let mut count = 0;
    for entry in entries {
        let path = entry.map_err(|error| failed(directory, &error))?.path();
        remove(&path).map_err(|error| failed(&path, &error))?;
        count += 1;
    }
    Ok(count)
}

fn lock(root: &Path) -> Result<Flock<File>, Error> {
    let locked = lock::take(|| File::open(root)).map_err(|error| failed(root, &error))?;
    locked.ok_or_else(|| Error::Pins {
        path: root.to_owned(),
        reason: "another xlvs is running on it; stop that one, or give this one another --pin-dir"
            .to_owned(),
        permission: false,
    })
}

pub(super) fn is_bpffs(path: &Path) -> Result<bool, Error> {
    let info = statfs(path).map_err(|errno| failed(path, &errno.into()))?;
    Ok(info.filesystem_type().0 as i64 == BPF_FS_MAGIC)
}

fn failed(path: &Path, error: &io::Error) -> Error {
    let permission = error.kind() == io::ErrorKind::PermissionDenied;
    let dotted = path.file_name().is_some_and(|name| name.as_bytes().contains(&b'.'));
    let hint = match error.kind() {
        io::ErrorKind::PermissionDenied if dotted => {
            "; a bpffs takes no names with dots, give another --pin-dir"
        }
        io::ErrorKind::PermissionDenied => "; run as root, or give another --pin-dir",
        io::ErrorKind::IsADirectory => "; it is not ours, remove it",
        _ => "; give another --pin-dir",
    };
    Error::Pins { path: path.to_owned(), reason: format!("{error}{hint}"), permission }
}
