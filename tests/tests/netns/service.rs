//! As systemd runs it: told when it is ready, with a watchdog, its log in the journal, and as a user who may do little.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::process::{Background, Lifetime};
use lvs_tests::{config, skip_unless_possible, xlvs};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::fstat;
use nix::unistd::Pid;

use super::support::Bed;

/// A controller that tells a socket of ours what it would tell systemd, with a watchdog of this many microseconds.
fn notified(bed: &Bed, watchdog: u64) -> Result<(UnixDatagram, Background)> {
    let path = bed.scratch.path("notify");
    let socket = UnixDatagram::bind(&path)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let setup = bed.setup(config::EXAMPLE, None)?;
    let mut arguments = vec![
        format!("NOTIFY_SOCKET={}", path.display()),
        format!("WATCHDOG_USEC={watchdog}"),
        xlvs::binary()?.display().to_string(),
    ];
    arguments.extend(setup.arguments());
    let env = Path::new("env");
    let lb = &bed.topology.lb;
    let process = Background::spawn(lb, env, &arguments, &setup.log, Lifetime::Bound)?;
    Ok((socket, process))
}

/// Waits for a message with this line.
fn told(socket: &UnixDatagram, line: &str) -> Result<()> {
    let mut message = [0; 4096];
    loop {
        let len = socket.recv(&mut message).with_context(|| format!("no message with {line}"))?;
        if String::from_utf8_lossy(&message[..len]).lines().any(|told| told == line) {
            return Ok(());
        }
    }
}

#[test]
fn systemd_is_told_when_it_is_ready() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let (socket, process) = notified(&bed, 0)?;
    told(&socket, "READY=1")?;
    bed.ask_many(1, 1).context("it is not ready")?;
    assert!(process.end(Signal::SIGTERM, Duration::from_secs(15))?.success());
    Ok(())
}

#[test]
fn the_watchdog_hears_of_a_loop_that_turns_and_of_no_other() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let (socket, process) = notified(&bed, 400_000)?;
    told(&socket, "READY=1")?;
    for _ in 0..3 {
        told(&socket, "WATCHDOG=1")?;
    }
    // Stuck.
    let pid = Pid::from_raw(process.pid().try_into()?);
    kill(pid, Signal::SIGSTOP)?;
    socket.set_read_timeout(Some(Duration::from_millis(600)))?;
    while socket.recv(&mut [0; 4096]).is_ok() {}
    kill(pid, Signal::SIGCONT)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    told(&socket, "WATCHDOG=1")?;
    assert!(process.end(Signal::SIGTERM, Duration::from_secs(15))?.success());
    Ok(())
}

/// Puts a socket of ours in the journal's place, in a mount namespace of its own: `$1` is the folder with the socket, the
/// command follows.
const AS_THE_JOURNAL: &str = "mount --bind \"$1\" /mnt && mount -t tmpfs none /run && \
     mkdir -p /run/systemd/journal && mount --move /mnt /run/systemd/journal && shift && exec \"$@\"";

/// A field of an entry as journald takes it: name, length, value.
fn field(name: &str, value: &str) -> String {
    let length = (value.len() as u64).to_le_bytes();
    format!("{name}\n{}{value}\n", String::from_utf8_lossy(&length))
}

#[test]
fn the_journal_gets_priorities_and_a_configuration_that_is_wrong_in_one_entry() -> Result<()> {
    skip_unless_possible!("unshare");
    let bed = Bed::new()?;
    let folder = bed.scratch.path("journal");
    std::fs::create_dir(&folder)?;
    let journal = UnixDatagram::bind(folder.join("socket"))?;
    journal.set_read_timeout(Some(Duration::from_secs(10)))?;
    let (stderr, reader) = UnixStream::pair()?;
    let stat = fstat(&stderr)?;
    let text = "virtual_server 10.64.1.2 80 {\n  delay_lop 1\n  lb_algo rr\n  lb_kind NATT\n}\n";
    let config = Path::new("/proc/self/fd/0");
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "20", "unshare", "--mount", "sh", "-c", AS_THE_JOURNAL, "sh"]);
    command.arg(&folder).arg(xlvs::binary()?).args(["run", "--interface", "lo", "--config"]);
    command.arg(config).stdin(std::fs::File::open(bed.scratch.write("wrong.conf", text)?)?);
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino));
    let status = command.stderr(OwnedFd::from(stderr)).status()?;
    drop(command);
    ensure!(status.code() == Some(3), "{status}");
    let mut entry = vec![0; 65536];
    let mut entries = Vec::new();
    journal.set_nonblocking(true)?;
    while let Ok(len) = journal.recv(&mut entry) {
        entries.push(String::from_utf8_lossy(&entry[..len]).into_owned());
    }
    let errors: Vec<&String> =
        entries.iter().filter(|entry| entry.contains(&field("PRIORITY", "3"))).collect();
    let [error] = errors.as_slice() else { anyhow::bail!("not one error: {entries:?}") };
    for part in [&field("SYSLOG_IDENTIFIER", "xlvs"), "lb_kind NATT", "delay_lop", "error["] {
        ensure!(error.contains(part), "no {part} in {error}");
    }
    reader.set_nonblocking(true)?;
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut &reader, &mut rest)?;
    ensure!(rest.is_empty(), "stderr has {rest}");
    Ok(())
}
