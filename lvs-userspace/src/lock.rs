//! Files and directories that one process at a time has locked (`flock(2)`).

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
};

use crate::process::is_ending;

/// How long a lock is waited for: who only looks whether it is taken has it for a moment too.
const MOMENT: Duration = Duration::from_millis(100);

/// How long where its process was killed: the kernel takes apart what that had, maps and programs too, before the lock is free.
const ENDING: Duration = Duration::from_secs(5);

/// How often it is tried.
const INTERVAL: Duration = Duration::from_millis(10);

/// How often a directory is made where one that ends removes it again.
const ATTEMPTS: u32 = 10;

/// Opens and locks; `None` if another process has it locked that goes on.
pub(crate) fn take(open: impl Fn() -> io::Result<File>) -> io::Result<Option<Flock<File>>> {
    let begin = Instant::now();
    loop {
        // Each time, for it may have been removed meanwhile.
        let file = open()?;
        let name = name(&file.metadata()?);
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(Some(locked)),
            Err((_, Errno::EWOULDBLOCK)) => {}
            Err((_, errno)) => return Err(errno.into()),
        }
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let mut holders = holders(&locks, &name);
        // None: it was let go of just now, or is another namespace's.
        let patience = if holders.all(is_ending) { ENDING } else { MOMENT };
        if begin.elapsed() > patience {
            return Ok(None);
        }
        sleep(INTERVAL);
    }
}

/// Makes a directory and locks something in it. One that ends may remove the directory in between: then again.
pub(crate) fn make_and_lock<T, E>(
    directory: &Path,
    mut attempt: impl FnMut() -> Result<T, E>,
) -> Result<T, E> {
    for _ in 1..ATTEMPTS {
        let locked = attempt();
        if locked.is_ok() || directory.exists() {
            return locked;
        }
    }
    attempt()
}

/// The processes that have locked a file, as far as they are seen from here.
pub(crate) fn holders_of(file: &File) -> io::Result<Vec<i32>> {
    let name = name(&file.metadata()?);
    // Those of another namespace have no number here.
    Ok(holders(&fs::read_to_string("/proc/locks")?, &name).filter(|process| *process > 0).collect())
}

/// What the kernel calls a file in its table of locks.
fn name(file: &fs::Metadata) -> String {
    let (major, minor) = (libc::major(file.dev()), libc::minor(file.dev()));
    format!("{major:02x}:{minor:02x}:{}", file.ino())
}

/// The processes that have locked a file, or wait for that (`/proc/locks`, proc(5)).
fn holders(locks: &str, name: &str) -> impl Iterator<Item = i32> {
    locks.lines().filter_map(move |line| {
        // A line with an arrow is of one who waits.
        let mut words = line.split_whitespace().skip(1).filter(|word| *word != "->");
        let kind = words.next()?;
        let process = words.nth(2)?.parse().ok()?;
        (kind == "FLOCK" && words.next()? == name).then_some(process)
    })
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn the_table_of_locks_is_read() {
        let locks = "1: FLOCK  ADVISORY  WRITE 100 00:1a:77 0 EOF\n1: -> FLOCK  ADVISORY  WRITE 101 00:1a:77 0 EOF\n\
            2: POSIX  ADVISORY  WRITE 102 00:1a:77 0 EOF\n3: FLOCK  ADVISORY  READ  103 fe:01:78 0 EOF\n";
        assert_eq!(holders(locks, "00:1a:77").collect::<Vec<_>>(), [100, 101]);
        assert_eq!(holders(locks, "fe:01:78").collect::<Vec<_>>(), [103]);
    }

    #[test]
    fn a_directory_that_was_removed_right_now_is_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("run");
        let mut attempts = 0;
        let mut until = |needed: u32| {
            attempts = 0;
            let _there_or_not = fs::remove_dir(&directory);
            let locked = make_and_lock(&directory, || {
                attempts += 1;
                if attempts < needed {
                    Err(attempts)
                } else {
                    fs::create_dir(&directory).map_err(|_| 0)
                }
            });
            (locked, attempts)
        };
        assert_eq!(until(3), (Ok(()), 3));
        assert_eq!(until(u32::MAX), (Err(ATTEMPTS), ATTEMPTS));
        // Somebody has it.
        fs::create_dir(&directory).unwrap();
        let mut attempts = 0;
        let refused = make_and_lock(&directory, || {
            attempts += 1;
            Err::<(), u32>(attempts)
        });
        assert_eq!(refused, Err(1));
    }

    #[test]
    fn a_killed_holder_is_waited_for_and_another_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, "").unwrap();
        let mut holder = Command::new("flock")
            .arg("--no-fork")
            .arg(&path)
            .args(["sh", "-c", "echo locked; exec sleep 60"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
        let begin = Instant::now();
        assert!(take(|| File::open(&path)).unwrap().is_none());
        assert!(begin.elapsed() < ENDING);
        holder.kill().unwrap();
        assert!(take(|| File::open(&path)).unwrap().is_some());
        holder.wait().unwrap();
    }
}
