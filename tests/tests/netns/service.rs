//! As systemd runs it: told when it is ready, with a watchdog, its log in the journal, and as a user who may do little.

use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use lvs_tests::process::{Background, Lifetime};
use lvs_tests::xlvs::{Setup, Xlvs};
use lvs_tests::{config, skip_unless_possible, xlvs};
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::fstat;
use nix::unistd::{Pid, User, chown};

use super::modes;
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
        let message = message.get(..len).unwrap_or_default();
        if String::from_utf8_lossy(message).lines().any(|told| told == line) {
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

/// Becomes `nobody` with these capabilities and no others, now or later, and then the program of `$1`: it is open already,
/// for `nobody` may not look into the folders that it is in.
const AS_NOBODY: &str = "C=+bpf,+net_admin,+perfmon,+net_raw; exec 9<\"$1\"; shift; \
     exec setpriv --reuid=nobody --regid=nogroup --clear-groups --no-new-privs --inh-caps=-all,$C \
     --ambient-caps=-all,$C --bounding-set=-all,$C /proc/self/fd/9 \"$@\"";

/// `CAP_NET_ADMIN`, `CAP_NET_RAW`, `CAP_PERFMON` and `CAP_BPF`, as `/proc` shows them.
const CAPABILITIES: &str = "000000c000003000";

fn as_nobody(bed: &Bed, setup: &Setup) -> Result<Xlvs> {
    let binary = xlvs::binary()?.display().to_string();
    let before = ["-c", AS_NOBODY, "sh", &binary].map(str::to_owned);
    let lb = &bed.topology.lb;
    Xlvs::spawn_by(Path::new("sh"), &before, lb, setup.clone(), Lifetime::Bound)
}

/// What root prepares, as the unit does: a bpffs that others may pass through, and directories of `nobody`.
fn prepared(bed: &Bed, config: &str, mode: &'static str) -> Result<Setup> {
    let bpffs = bed.scratch.path("bpffs");
    if !bpffs.exists() {
        let nobody = User::from_name("nobody")?.context("no user nobody")?;
        std::fs::create_dir(&bpffs)?;
        mount(Some("bpf"), &bpffs, Some("bpf"), MsFlags::empty(), Some("mode=0711"))?;
        for folder in [bpffs.join("xlvs"), bed.scratch.path("run")] {
            std::fs::create_dir(&folder)?;
            chown(&folder, Some(nobody.uid), Some(nobody.gid))?;
        }
    }
    let setup = bed.setup(config, Some(mode))?;
    Ok(Setup { pin_dir: bpffs.join("xlvs"), ..setup })
}

/// Each server has another check.
const CHECKED: &str = "virtual_server 10.64.1.2 10000 {
  delay_loop 0.3\n  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  warmup 0\n  retry 1\n  delay_before_retry 0.2
  real_server 192.168.1.100 8089 {\n    PING_CHECK {\n      connect_timeout 1\n    }\n  }
  real_server 192.168.1.101 18089 {
    TCP_CHECK {\n      connect_timeout 1\n    }
    MISC_CHECK {\n      misc_path \"/bin/true\"\n    }
  }
}
";

const ONE: &str = "virtual_server 10.64.1.2 10000 {
  lb_algo rr\n  lb_kind NAT\n  protocol TCP\n  real_server 192.168.1.100 8089 {\n    weight 1\n  }\n}
";

#[test]
fn an_unprivileged_user_needs_the_named_capabilities_and_no_more() -> Result<()> {
    skip_unless_possible!();
    let mut bed = Bed::new()?;
    let setup = prepared(&bed, CHECKED, "native")?;
    let mut xlvs = as_nobody(&bed, &setup)?;
    xlvs.wait_until_ready(|| Ok(()))?;
    let status = std::fs::read_to_string(format!("/proc/{}/status", xlvs.pid()))?;
    for line in [
        format!("CapEff:\t{CAPABILITIES}"),
        format!("CapBnd:\t{CAPABILITIES}"),
        "Uid:\t65534\t65534".to_owned(),
    ] {
        ensure!(status.contains(&line), "no {line} in {status}");
    }
    bed.ask_many(10, 2)?;
    assert_eq!(bed.served()?, [5, 5]);

    // One does not answer pings any more, the other one's port is closed.
    let web1 = &bed.topology.servers[0];
    web1.set("ipv4/icmp_echo_ignore_all", "1")?;
    xlvs.wait_for(
        "real server 192.168.1.100:8089 of 10.64.1.2:10000/TCP is down, taken out: PING_CHECK",
    )?;
    web1.set("ipv4/icmp_echo_ignore_all", "0")?;
    xlvs.wait_for("real server 192.168.1.100:8089 of 10.64.1.2:10000/TCP is up")?;
    drop(bed.servers.pop());
    xlvs.wait_for(
        "real server 192.168.1.101:18089 of 10.64.1.2:10000/TCP is down, taken out: TCP_CHECK",
    )?;
    xlvs.reload(&CHECKED.replace("delay_loop 0.3", "delay_loop 0.5"))?;

    // Killed, and gone on with.
    drop(xlvs);
    bed.ask_many(2, 1)?;
    let mut next = as_nobody(&bed, &setup)?;
    next.wait_until_ready(|| Ok(()))?;
    ensure!(next.log().contains("goes on with the data plane"), "{}", next.log());
    // It knows who is down, and checks go on.
    bed.ask_many(2, 1)?;
    bed.topology.servers[0].set("ipv4/icmp_echo_ignore_all", "1")?;
    next.wait_for(
        "real server 192.168.1.100:8089 of 10.64.1.2:10000/TCP is down, taken out: PING_CHECK",
    )?;
    let log = next.log();
    assert!(next.stop()?.success());
    nothing_of_nobody_is_left(&bed, &setup)?;
    ensure!(!log.contains("ERROR") && !log.contains("MISC_CHECK"), "{log}");
    let log = std::fs::read_to_string(&setup.log)?;
    ensure!(!log.contains("cannot"), "{log}");

    let setup = prepared(&bed, ONE, "tc")?;
    let mut xlvs = as_nobody(&bed, &setup)?;
    xlvs.wait_until_ready(|| Ok(()))?;
    bed.ask_many(2, 1)?;
    assert!(xlvs.stop()?.success());
    nothing_of_nobody_is_left(&bed, &setup)?;
    Ok(())
}

/// Root's directories stay, empty.
fn nothing_of_nobody_is_left(bed: &Bed, setup: &Setup) -> Result<()> {
    ensure!(modes::modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    for folder in [&setup.pin_dir, &setup.runtime_dir] {
        let left: Vec<_> = std::fs::read_dir(folder)?.collect();
        ensure!(left.is_empty(), "{left:?}");
    }
    Ok(())
}

#[test]
fn scripts_of_others_are_refused_where_nobody_can_be_become() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let others = CHECKED.replace("\"/bin/true\"", "\"/bin/true\"\n      user root");
    let setup = prepared(&bed, &others, "native")?;
    let mut refused = as_nobody(&bed, &setup)?;
    let ready = refused.wait_until_ready(|| Ok(()));
    let said = refused.log();
    ensure!(ready.is_err_and(|error| error.to_string().contains("exit status: 4")), "{said}");
    for part in ["/bin/true", "the user root", "CAP_SETUID", "script_user"] {
        ensure!(said.contains(part), "no {part} in {said}");
    }
    Ok(())
}
