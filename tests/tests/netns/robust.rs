//! A controller whose surroundings are broken: a log that nobody reads, a full or read-only disk, something else in place of
//! its files. What can go on goes on; the rest is refused with a line that helps.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_tests::xlvs::{self, Setup};
use lvs_tests::{config, skip_unless_possible};
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::operation::{order_in, start_refused};
use super::support::{Bed, say};
use super::survival::nothing_is_left;

const LIMIT: Duration = Duration::from_secs(30);

/// Longer than one of these the controller must not be held up.
const PROMPT: Duration = Duration::from_secs(5);

/// Waits until something is so.
fn until(what: &str, is: impl Fn() -> bool) -> Result<()> {
    let start = Instant::now();
    while !is() {
        ensure!(start.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[test]
fn a_log_that_nobody_reads_holds_up_nothing() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    // A hundred warnings for each reload, none of which was there before.
    let text = |round: u32| {
        let line = |number| format!("  unknown_{round}_{number} 1\n");
        let unknown: String = (0..100).map(line).collect();
        let unknown = format!("lb_algo rr\n{unknown}");
        config::without_persistence().replacen("lb_algo rr\n", &unknown, 1)
    };
    let setup = bed.setup(&text(0), None)?;
    let mut command = bed.topology.lb.command("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(xlvs::binary()?).args(setup.arguments());
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    let pid = Pid::from_raw(child.id().try_into()?);
    let pipe = child.stderr.take().context("its stderr")?;
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096))?;
    let checked = (|| -> Result<()> {
        until("it is ready", || setup.runtime_dir.join("status.json").exists())?;
        let socket = UnixStream::connect(setup.runtime_dir.join("control.sock"))?;
        socket.set_read_timeout(Some(PROMPT))?;
        let mut answers = BufReader::new(socket.try_clone()?);
        let begin = Instant::now();
        for number in 1..=100 {
            fs::write(&setup.config, text(number))?;
            (&socket).write_all(b"{\"request\":\"reload\"}\n")?;
            let mut answer = String::new();
            answers.read_line(&mut answer).with_context(|| format!("reload {number}"))?;
            ensure!(answer.contains("1 virtual service"), "reload {number}: {answer}");
        }
        say(format_args!("100 reloads with a log that nobody reads took {:?}", begin.elapsed()));
        bed.ask_many(2, 1)?;
        Ok(())
    })();
    if checked.is_err() {
        child.kill()?;
        child.wait()?;
        return checked;
    }
    // Who reads again is told what is missing.
    let reader = std::thread::spawn(move || -> Result<_> {
        let mut pipe = BufReader::new(pipe);
        let mut line = String::new();
        while pipe.read_line(&mut line)? > 0 {
            if line.contains("lines of this log were left out") {
                return Ok((line, pipe));
            }
            line.clear();
        }
        bail!("nothing was said about lines that were left out")
    });
    until("what is missing is said", || reader.is_finished())?;
    let (line, pipe) = reader.join().map_err(|_| anyhow::anyhow!("the reader panicked"))??;
    say(format_args!("{}", line.trim_end()));
    // Nobody reads any more, and then nobody can.
    let (code, said) = order_in(&bed.topology.lb, &setup, &["reload"])?;
    ensure!(code == Some(0) && said.contains("reloaded"), "{code:?}: {said}");
    drop(pipe);
    let (code, said) = order_in(&bed.topology.lb, &setup, &["reload"])?;
    ensure!(code == Some(0) && said.contains("reloaded"), "{code:?}: {said}");
    kill(pid, Signal::SIGTERM)?;
    let status = child.wait()?;
    ensure!(status.success(), "{status}");
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

/// Runs it below commands of a shell, in a mount namespace of its own: until it is refused, or else is ready and was told to
/// end. `$stderr` and `$ready` can be set before: where its log goes, and how one sees that it is ready.
fn run_in(bed: &Bed, setup: &Setup, before: &str) -> Result<(Option<i32>, String)> {
    let script = format!(
        "stderr={log}; ready='grep -q ready: {log}'; : > {log}; {before}
        if [ \"$stderr\" ]; then \"$@\" 2> $stderr & else \"$@\" 2>&- & fi
        while kill -0 $! && ! $ready; do sleep 0.05; done 2> /dev/null
        kill $! 2> /dev/null || :
        code=0; wait $! || code=$?
        cat {log} >&2; exit $code",
        log = setup.log.display()
    );
    let mut command = bed.topology.lb.command("timeout");
    command.args(["--signal=KILL", "30", "unshare", "--mount", "sh", "-ec", &script, "sh"]);
    let Output { status, stderr, .. } =
        command.arg(xlvs::binary()?).args(setup.arguments()).output()?;
    Ok((status.code(), String::from_utf8_lossy(&stderr).into_owned()))
}

#[test]
fn what_stands_in_its_way_is_named() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    let run = &setup.runtime_dir;
    let at = run.display();
    // What is done before, exit code, what is said.
    let cases = [
        (
            format!("mkdir -p {at}/control.sock"),
            1,
            "control.sock: something else has its name; remove it",
        ),
        (
            format!("mkdir -p {at}; echo x > {at}/control.sock"),
            1,
            "control.sock: something else has its name",
        ),
        (format!("mkdir -p {at}/xlvs.pid"), 1, "it is not a file; remove it"),
        (
            format!("mkdir -p {at}; mount -t tmpfs -o ro tmpfs {at}"),
            1,
            "give another --runtime-dir",
        ),
        (format!("mkdir -p {at}; mount -t tmpfs -o nr_inodes=1 tmpfs {at}"), 1, "No space left"),
        (
            format!(
                "mkdir -p {at}; mount -t tmpfs -o size=4k tmpfs {at}; head -c 4096 /dev/zero > {at}/full"
            ),
            1,
            "make room there",
        ),
        (format!("echo x > {at}"), 1, "cannot make the runtime directory"),
        (format!("mkdir -p {at}; echo '{{' > {at}/edits.json"), 3, "remove that file"),
        (format!("echo x > {}", setup.pin_dir.display()), 1, "give another --pin-dir"),
    ];
    for (before, code, expected) in cases {
        let (ended, said) = run_in(&bed, &setup, &before)?;
        ensure!(ended == Some(code) && said.contains(expected), "{before}: {ended:?}: {said}");
        ensure!(!said.contains("panicked"), "{before}: {said}");
        remove(run)?;
        remove(&setup.pin_dir)?;
        nothing_is_left(&bed.topology.lb, &setup.pin_dir)?;
    }
    // With these it runs until it is told to end.
    let cases = [
        format!(
            "mkdir -p {at}; echo garbage > {at}/status.json; echo garbage > {at}/xlvs.pid; echo '[' > {at}/run.json"
        ),
        format!("mkdir -p {at}; echo '[' > {at}/health.json"),
        // Room for the process id, and for nothing else.
        format!("mkdir -p {at}; mount -t tmpfs -o size=4k tmpfs {at}"),
        // A log that goes nowhere.
        format!("stderr=; ready='test -e {at}/status.json'"),
    ];
    for before in cases {
        let (ended, said) = run_in(&bed, &setup, &before)?;
        ensure!(ended == Some(0) && !said.contains("panicked"), "{before}: {ended:?}: {said}");
        ensure!(before.contains("stderr=") || said.contains("ready"), "{before}: {said}");
        ensure!(!before.contains("size=4k") || said.contains("cannot write"), "{before}: {said}");
        remove(run)?;
    }
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

fn remove(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(is) if is.is_dir() => Ok(fs::remove_dir_all(path)?),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(_) => Ok(()),
    }
}

#[test]
fn files_that_are_spoilt_beside_it_are_named() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let setup = xlvs.setup().clone();
    let order = |word: &str| order_in(&bed.topology.lb, &setup, &[word]);
    let status = setup.runtime_dir.join("status.json");
    ensure!(fs::read_to_string(&status)?.ends_with("}\n"), "no line's end");
    fs::write(&status, "garbage")?;
    let (code, said) = order("reload")?;
    ensure!(code == Some(1) && said.contains("kill -HUP"), "{code:?}: {said}");
    kill(Pid::from_raw(xlvs.pid().try_into()?), Signal::SIGHUP)?;
    until("it is written again", || {
        fs::read_to_string(&status).is_ok_and(|text| text.contains("\"ended\": 1"))
    })?;
    let (code, said) = order("reload")?;
    ensure!(code == Some(0), "{code:?}: {said}");
    let pid_file = setup.runtime_dir.join("xlvs.pid");
    let pid = fs::read_to_string(&pid_file)?;
    fs::write(&pid_file, "garbage")?;
    for word in ["reload", "stop"] {
        let (code, said) = order(word)?;
        ensure!(
            code == Some(1) && said.contains("its id is not in there"),
            "{word}: {code:?}: {said}"
        );
    }
    fs::write(&pid_file, pid)?;
    // Who stands still is named, and not waited for.
    let process = Pid::from_raw(xlvs.pid().try_into()?);
    kill(process, Signal::SIGSTOP)?;
    until("it stands still", || {
        fs::read_to_string(format!("/proc/{process}/stat")).is_ok_and(|stat| stat.contains(") T "))
    })?;
    for word in ["reload", "stop"] {
        let begin = Instant::now();
        let (code, said) = order(word)?;
        ensure!(code == Some(1) && said.contains("kill -CONT"), "{word}: {code:?}: {said}");
        ensure!(begin.elapsed() < PROMPT, "{word} took {:?}", begin.elapsed());
    }
    kill(process, Signal::SIGCONT)?;
    let (code, said) = order("stop")?;
    ensure!(code == Some(0), "{code:?}: {said}");
    nothing_is_left(&bed.topology.lb, &setup.pin_dir)
}

#[test]
fn a_directory_of_the_user_stays() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let text = config::without_persistence();
    let setup = bed.setup(&text, None)?;
    fs::create_dir(&setup.runtime_dir)?;
    let is_empty = || -> Result<bool> { Ok(fs::read_dir(&setup.runtime_dir)?.next().is_none()) };
    let stop = || order_in(&bed.topology.lb, &setup, &["stop"]);
    for killed_before in [false, true] {
        if killed_before {
            drop(bed.start(&text, None)?);
        }
        let xlvs = bed.start(&text, None)?;
        let (code, said) = stop()?;
        ensure!(code == Some(0) && is_empty()?, "killed before: {killed_before}: {said}");
        drop(xlvs);
    }
    drop(bed.start(&text, None)?);
    let (code, said) = stop()?;
    ensure!(code == Some(0) && is_empty()?, "{said}");
    Ok(())
}

#[test]
fn a_controller_is_only_stopped_with_its_own_directories() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let own = xlvs.setup().clone();
    let empty = bed.scratch.path("empty");
    fs::create_dir(&empty)?;
    let pid = format!("process {}", xlvs.pid());
    let (pins, files) = (
        Setup { pin_dir: bed.scratch.path("other"), ..own.clone() },
        Setup { runtime_dir: empty, ..own.clone() },
    );
    for strange in [&pins, &files] {
        for words in [&["stop"][..], &["stop", "--keep-dataplane"]] {
            let (code, said) = order_in(&bed.topology.lb, strange, words)?;
            ensure!(code == Some(1) && said.contains(&pid), "{words:?}: {code:?}: {said}");
        }
    }
    // Nor does anybody say that none runs.
    for word in ["list", "doctor"] {
        let (_, said) = order_in(&bed.topology.lb, &files, &[word])?;
        ensure!(said.contains(&format!("{pid} has the pins")), "{word}: {said}");
        ensure!(!said.to_lowercase().contains("no controller runs"), "{word}: {said}");
    }
    bed.ask_many(4, 1)?;
    ensure!(xlvs.stop()?.success(), "it has not ended well");
    nothing_is_left(&bed.topology.lb, &own.pin_dir)
}

#[test]
fn a_pipe_in_the_place_of_the_process_id_is_not_waited_for() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup(&config::without_persistence(), None)?;
    fs::create_dir(&setup.runtime_dir)?;
    let pipe = setup.runtime_dir.join("xlvs.pid");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU)?;
    let (code, said) = start_refused(&bed, &setup)?;
    ensure!(code == Some(1) && said.contains("xlvs.pid"), "{code:?}: {said}");
    for word in ["reload", "stop"] {
        let (code, said) = order_in(&bed.topology.lb, &setup, &[word])?;
        ensure!(code == Some(1) && said.contains("it is not a file"), "{word}: {code:?}: {said}");
    }
    Ok(())
}

#[test]
fn a_bpffs_in_which_others_have_pins_stays() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let first = bed.start(&config::without_persistence(), None)?;
    let pins = first.setup().pin_dir.clone();
    // Another one's, in the bpffs that the first one has mounted.
    let theirs = pins.join("theirs");
    fs::create_dir(&theirs)?;
    ensure!(first.stop()?.success(), "it has not ended well");
    ensure!(theirs.exists(), "it was unmounted");
    fs::remove_dir(&theirs)?;
    let second = bed.start(&config::without_persistence(), None)?;
    ensure!(second.stop()?.success(), "it has not ended well");
    // Who has made the directory is not known any more; but nothing is mounted, for a bpffs always has files.
    ensure!(fs::read_dir(&pins)?.next().is_none(), "it is still mounted");
    Ok(())
}
