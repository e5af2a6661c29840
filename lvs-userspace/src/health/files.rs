//! Track files: numbers that others write, and `FILE_CHECK` reads. As in keepalived's `track_file.c` a file is read again
//! when it was written and closed, moved into its place, or removed; one that is not there says 0. Unlike there, the same
//! goes for the symbolic links that lead to it. What no watch tells (a folder on the way that goes or comes) a look each second
//! finds.

use std::{
    ffi::{OsStr, OsString},
    io::Read as _,
    os::{
        fd::{AsFd as _, AsRawFd, RawFd},
        unix::{
            ffi::OsStrExt as _,
            fs::{MetadataExt as _, OpenOptionsExt as _},
        },
    },
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent, WatchDescriptor};
use tokio::{
    io::unix::AsyncFd,
    sync::mpsc::UnboundedSender,
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, warn};

use crate::config::{FileCheck, TrackFile};

/// So much of a file is read.
const READ: u64 = 127;
/// So many symbolic links are followed, as by the kernel.
const MOST_LINKS: usize = 40;
/// How often it is looked whether a file is still the one that is watched.
const LOOK: Duration = Duration::from_secs(1);

/// What a file's number adds to the weight of a server; absent for a server that is down by it.
/// `update_track_file_status()`.
pub(crate) fn added(check: &FileCheck, value: i64) -> Option<i64> {
    if check.weight == 0 {
        return ((value == 0) != check.reverse).then_some(0);
    }
    let sign = if check.reverse { -1 } else { 1 };
    let added = value.saturating_mul(i64::from(check.weight)).saturating_mul(sign);
    (added > i64::from(i32::MIN)).then_some(added.min(i64::from(i32::MAX)))
}

/// What a track file says, for who knows it by its name.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) name: String,
    pub(crate) value: i64,
}

/// Reads a file; at the start of the program its first number is written before, where that is wanted. Something else than a
/// file stays as it is.
pub(crate) fn first(file: &TrackFile, starts: bool) -> i64 {
    if let Some(initial) = file.initial.filter(|_| starts)
        && file.path.metadata().map_or(true, |is| initial.overwrite && is.is_file())
    {
        let written = std::fs::write(&file.path, format!("{}\n", initial.value));
        if let Err(error) = written {
            warn!("track_file {}: cannot write {}: {error}", file.name, file.path.display());
        }
    }
    read(&file.path).unwrap_or(0)
}

/// The number in a file, 0 without one; absent for one that is out of range. Does not wait for the other end of a FIFO.
fn read(path: &Path) -> Option<i64> {
    let open = std::fs::OpenOptions::new()
        .read(true)
        .custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits())
        .open(path);
    let Ok(file) = open else { return Some(0) };
    let mut text = Vec::new();
    if file.take(READ).read_to_end(&mut text).is_err() {
        return Some(0);
    }
    let value = number(&String::from_utf8_lossy(&text));
    (i64::from(i32::MIN)..=i64::from(i32::MAX) + 1).contains(&value).then_some(value)
}

/// As `strtol()` with base 0 reads it: what does not look like a number is 0.
fn number(text: &str) -> i64 {
    let text = text.trim_start();
    let (sign, text) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (base, text) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(rest) => (16, rest),
        None if text.starts_with('0') => (8, text),
        None => (10, text),
    };
    let digits = text.chars().map_while(|letter| letter.to_digit(base));
    sign * digits.fold(0_i64, |value, digit| {
        value.saturating_mul(i64::from(base)).saturating_add(i64::from(digit))
    })
}

/// What the runtime needs to wait for it.
struct Watcher(Inotify);

impl AsRawFd for Watcher {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Watches files, and tells what they say now. Ends when nobody listens, or when nothing can be watched.
pub(crate) async fn watch(files: Vec<TrackFile>, teller: UnboundedSender<Told>) {
    if files.is_empty() {
        return;
    }
    if let Err(error) = keep_watching(files, &teller).await {
        warn!("cannot watch track files, FILE_CHECK stays as it is: {error}");
    }
}

async fn keep_watching(
    files: Vec<TrackFile>,
    teller: &UnboundedSender<Told>,
) -> std::io::Result<()> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    // By the places of the files: what is to be looked at for each of them.
    let mut watches = Vec::new();
    for file in &files {
        let found = watch_one(file, &inotify).await;
        if found.is_empty() {
            warn!("track_file {}: there is no folder of {} yet", file.name, file.path.display());
        }
        watches.push(found);
    }
    #[expect(
        deprecated,
        reason = "the new way is `unsafe`; this descriptor is the watcher's own for as long as it lives"
    )]
    let source = AsyncFd::new(Watcher(inotify))?;
    // What changed between the first look and the watches.
    for file in &files {
        tell(file, teller).await;
    }
    let mut seen = look(&files).await;
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut ready = tokio::select! {
            ready = source.readable() => ready?,
            _ = ticks.tick() => {
                let now = look(&files).await;
                for ((file, watches), (was, is)) in files.iter().zip(&mut watches).zip(seen.iter().zip(&now)) {
                    if was != is || watches.is_empty() {
                        *watches = watch_one(file, &source.get_ref().0).await;
                        tell(file, teller).await;
                    }
                }
                seen = now;
                continue;
            }
            () = teller.closed() => return Ok(()),
        };
        let events = match ready.get_inner().0.read_events() {
            Ok(events) => events,
            Err(nix::errno::Errno::EAGAIN) => {
                ready.clear_ready();
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        for event in events {
            for (file, watches) in files.iter().zip(&mut watches) {
                if watches.iter().any(|watch| watch.concerns(&event)) {
                    // Before it is read: a link may lead elsewhere now.
                    *watches = watch_one(file, &source.get_ref().0).await;
                    tell(file, teller).await;
                }
            }
        }
    }
}

/// Which file it is, in which folder, and how it was written last; nothing where there is none.
type Seen = (Option<(u64, u64)>, Option<[i64; 5]>);

/// What there is of each of them.
async fn look(files: &[TrackFile]) -> Vec<Seen> {
    let paths: Vec<PathBuf> = files.iter().map(|file| file.path.clone()).collect();
    let seen = |path: &PathBuf| -> Seen {
        let folder = path.parent().and_then(|folder| folder.metadata().ok());
        let file = path.metadata().ok().map(|is| {
            let (device, number) = (is.dev().cast_signed(), is.ino().cast_signed());
            [device, number, is.mtime(), is.mtime_nsec(), is.size().cast_signed()]
        });
        (folder.map(|is| (is.dev(), is.ino())), file)
    };
    spawn_blocking(move || paths.iter().map(seen).collect()).await.unwrap_or_default()
}

/// A name in a folder that is watched.
struct Watch {
    folder: WatchDescriptor,
    place: Place,
}

impl Watch {
    /// Whether something has come of it that counts.
    fn concerns(&self, event: &InotifyEvent) -> bool {
        let is_it =
            event.wd == self.folder && event.name.as_deref() == Some(self.place.name.as_os_str());
        // A file that was only made has nothing in it yet, but a link is complete.
        let is_made = event.mask.contains(AddWatchFlags::IN_CREATE);
        is_it && (!is_made || self.place.folder.join(&self.place.name).is_symlink())
    }
}

/// Has a file watched, and the links that lead to it; nothing if a folder is not there.
async fn watch_one(file: &TrackFile, inotify: &Inotify) -> Vec<Watch> {
    let flags = AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE;
    let path = file.path.clone();
    let places = spawn_blocking(move || places(&path)).await.unwrap_or_default();
    let mut watches = Vec::new();
    for place in places {
        // The same folder, whatever it is called, has the same descriptor.
        match inotify.add_watch(&place.folder, flags) {
            Ok(folder) => watches.push(Watch { folder, place }),
            Err(error) => {
                debug!(
                    "track_file {}: cannot watch {}: {error}",
                    file.name,
                    place.folder.display()
                );
                return Vec::new();
            }
        }
    }
    watches
}

/// A name in a folder. No part of the folder's path is a symbolic link.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    folder: PathBuf,
    name: OsString,
}

/// The symbolic links that a path leads over, folders included, and at last the file itself.
fn places(path: &Path) -> Vec<Place> {
    let words = |path: &Path| {
        let words: Vec<OsString> = path.iter().rev().map(OsStr::to_owned).collect();
        words
    };
    let mut places = Vec::new();
    let mut folder = std::env::current_dir().unwrap_or_default();
    let mut left = words(path);
    while let Some(name) = left.pop() {
        match name.as_bytes() {
            b"." => {}
            b".." => drop(folder.pop()),
            b"/" => folder = PathBuf::from("/"),
            _ => match folder.join(&name).read_link() {
                Ok(target) if places.len() < MOST_LINKS => {
                    left.extend(words(&target));
                    places.push(Place { folder: folder.clone(), name });
                }
                _ if left.is_empty() => places.push(Place { folder: folder.clone(), name }),
                _ => folder.push(name),
            },
        }
    }
    places
}

async fn tell(file: &TrackFile, teller: &UnboundedSender<Told>) {
    let path = file.path.clone();
    let value = spawn_blocking(move || read(&path)).await.ok().flatten();
    debug!("track_file {}: {value:?}", file.name);
    match value {
        Some(value) => drop(teller.send(Told { name: file.name.clone(), value })),
        None => {
            warn!(
                "track_file {}: the number in {} is out of range",
                file.name,
                file.path.display()
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn numbers_are_read_as_c_does() {
        for (text, value) in [
            ("7\n", 7),
            (" -12 and more", -12),
            ("+3", 3),
            ("0x1F", 31),
            ("010", 8),
            ("09", 0),
            ("", 0),
            ("up", 0),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
    }

    #[test]
    fn a_path_is_followed_over_its_links() {
        let folder = tempfile::TempDir::new().unwrap();
        let root = folder.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("one/deep")).unwrap();
        symlink("one/deep", root.join("folder")).unwrap();
        symlink("../file", root.join("one/deep/link")).unwrap();
        symlink("loop", root.join("loop")).unwrap();
        let found = |path: &str| {
            let places = places(&root.join(path)).into_iter();
            let places = places.map(|place| place.folder.join(place.name));
            places.map(|path| path.strip_prefix(&root).unwrap().to_owned()).collect::<Vec<_>>()
        };
        let paths = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
        assert_eq!(found("one/file"), paths(&["one/file"]));
        assert_eq!(found("./folder/../none"), paths(&["folder", "one/none"]));
        assert_eq!(found("folder/link"), paths(&["folder", "one/deep/link", "one/file"]));
        assert_eq!(found("loop").len(), MOST_LINKS + 1);
    }

    #[test]
    fn a_file_adds_to_the_weight_or_takes_the_server_down() {
        let check = |weight, reverse| FileCheck { track_file: String::new(), weight, reverse };
        assert_eq!(added(&check(0, false), 0), Some(0));
        assert_eq!(added(&check(0, false), 5), None);
        assert_eq!(added(&check(0, true), 0), None);
        assert_eq!(added(&check(0, true), -1), Some(0));
        assert_eq!(added(&check(10, false), -3), Some(-30));
        assert_eq!(added(&check(10, true), -3), Some(30));
        assert_eq!(added(&check(2, false), i64::from(i32::MAX)), Some(i64::from(i32::MAX)));
        assert_eq!(added(&check(2, false), i64::from(i32::MIN) / 2), None);
        assert_eq!(added(&check(i32::MAX, true), i64::from(i32::MAX) + 1), None);
    }
}
