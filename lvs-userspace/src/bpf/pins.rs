//! The directory of the pins: `<pin dir>/v<ABI>/{maps,links}` on a bpffs, held by one controller at a time.

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::{ffi::OsStrExt as _, fs::DirBuilderExt as _},
    path::{Path, PathBuf},
};

use lvs_common::abi::ABI_VERSION;
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MsFlags, mount, umount},
    sys::statfs::statfs,
};
use tracing::{info, warn};

use super::{
    Error,
    attach::{remove_filters, remove_link},
};

/// `f_type` of a bpffs (`BPF_FS_MAGIC` in `uapi/linux/magic.h`).
const BPF_FS_MAGIC: i64 = 0xcafe_4a11;

/// What a bpffs that we have mounted for a pin directory alone is called in the list of mounts.
const MOUNT_SOURCE: &str = "xlvs";

/// Where every system has its bpffs.
const SYSTEM_BPFFS: &str = "/sys/fs/bpf";

/// The pin directory, prepared and locked. Dropping it removes everything that it has made.
#[derive(Debug)]
pub struct Pins {
    root: PathBuf,
    /// The pin directory and those above it that were not there before, deepest first.
    made: Vec<PathBuf>,
    /// The bpffs that was mounted for this directory alone.
    mounted: Option<PathBuf>,
    lock: Option<Flock<File>>,
}

impl Pins {
    /// Makes the directories below `pin_dir`, mounts a bpffs where there is none, and takes the lock. What
    /// a controller that was killed has left behind is removed.
    pub fn prepare(pin_dir: &Path) -> Result<Self, Error> {
        let pin_dir = std::path::absolute(pin_dir).map_err(|error| failed(pin_dir, &error))?;
        let mut pins = Self {
            root: pin_dir.join(format!("v{ABI_VERSION}")),
            made: Vec::new(),
            mounted: None,
            lock: None,
        };
        pins.ensure_bpffs(&pin_dir)?;
        pins.make(&pin_dir)?;
        pins.make(&pins.root.clone())?;
        pins.lock = Some(lock(&pins.root)?);
        pins.remove_leftovers()?;
        for directory in [pins.maps(), pins.links()] {
            pins.make(&directory)?;
        }
        Ok(pins)
    }

    /// Where the maps are pinned, each under its name.
    #[must_use]
    pub fn maps(&self) -> PathBuf {
        self.root.join("maps")
    }

    /// Where the links are pinned, each under the name of its interface.
    #[must_use]
    pub fn links(&self) -> PathBuf {
        self.root.join("links")
    }

    fn ensure_bpffs(&mut self, pin_dir: &Path) -> Result<(), Error> {
        let existing = pin_dir.ancestors().find(|path| path.exists()).unwrap_or(pin_dir);
        if is_bpffs(existing)? {
            // Mounted by an earlier run that was killed: this one takes it down.
            if mounted_by_us(pin_dir) {
                self.mounted = Some(pin_dir.to_owned());
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

    fn remove_leftovers(&mut self) -> Result<(), Error> {
        if self.maps().exists() {
            remove_filters();
        }
        let left =
            clear(&self.links(), remove_link)? + clear(&self.maps(), |path| fs::remove_file(path))?;
        for directory in [self.root.clone(), self.maps(), self.links()] {
            if directory.exists() && !self.made.contains(&directory) {
                self.made.insert(0, directory);
            }
        }
        if left > 0 {
            self.made.extend(self.root.parent().map(Path::to_owned));
            warn!(
                "removed {left} pins of a controller that did not end properly from {}; its connections \
                 are gone",
                self.root.display()
            );
        }
        Ok(())
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        if let Some(lock) = self.lock.take() {
            for result in [
                clear(&self.links(), remove_link),
                clear(&self.maps(), |path| fs::remove_file(path)),
            ] {
                if let Err(error) = result {
                    warn!("{error}");
                }
            }
            let _unlocked_by_closing = lock;
        }
        let mut unmount = self.mounted.take();
        for path in &self.made {
            if unmount.as_ref() == Some(path)
                && let Some(point) = unmount.take()
                && let Err(errno) = umount(&point)
            {
                warn!("cannot unmount the bpffs at {}: {errno}", point.display());
            }
            // Another controller's directories may be in it.
            if let Err(error) = fs::remove_dir(path)
                && error.kind() != io::ErrorKind::DirectoryNotEmpty
            {
                warn!("cannot remove {}: {error}", path.display());
            }
        }
        if let Some(point) = unmount
            && let Err(errno) = umount(&point)
        {
            warn!("cannot unmount the bpffs at {}: {errno}", point.display());
        }
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
    let file = File::open(root).map_err(|error| failed(root, &error))?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| Error::Pins {
        path: root.to_owned(),
        reason: match errno {
            Errno::EWOULDBLOCK => {
                "another xlvs is running on it; stop that one, or give this one another --pin-dir"
                    .to_owned()
            }
            errno => format!("cannot lock: {errno}"),
        },
        permission: false,
    })
}

fn is_bpffs(path: &Path) -> Result<bool, Error> {
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
