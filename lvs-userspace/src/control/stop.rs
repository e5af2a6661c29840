//! `xlvs stop` and `xlvs reload`: what is asked of a controller that runs, by its process id.

use std::{
    path::Path,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow, bail};
use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};

use super::{
    client::Client,
    place::Place,
    protocol::Request,
    run::keep_signal,
    runtime::{self, clean, holder},
    status::Status,
    vips,
};
use crate::{
    bpf::{Pins, send_signal},
    exit::{Failure, Reason},
    process,
};

/// How long a controller may take to end, or to start and read its file again: the largest configuration that fits takes some
/// seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// Ends the controller if there is one, and the data plane unless it is to be kept. Tells what was done.
pub(crate) fn stop(place: &Place, keep_dataplane: bool) -> Result<String, Failure> {
    let Place { pin_dir, runtime_dir } = place;
    let running = holder(runtime_dir)?;
    if let Some(pid) = running {
        refuse_stopped(pid)?;
        refuse_others_pins(pid, place)?;
        signal(pid, if keep_dataplane { keep_signal() } else { Signal::SIGTERM as i32 })?;
        let give_up = Instant::now() + PATIENCE;
        while holder(runtime_dir)?.is_some_and(|holder| holder == pid) {
            if Instant::now() > give_up {
                let reason = anyhow!("process {pid} does not end; `kill -9 {pid}`, then again");
                return Err(reason.into());
            }
            sleep(POLL);
        }
    }
    if running.is_none() {
        place.refuse_elsewhere()?;
    }
    if keep_dataplane {
        return Ok(match running {
            Some(pid) => format!("process {pid} has ended; packets flow on"),
            None => "no xlvs was running; packets flow on if they did".to_owned(),
        });
    }
    // Before those who follow the addresses find nobody under them.
    if running.is_none() {
        // It may be one that is not seen from here.
        Pins::refuse_held(pin_dir)?;
        vips::remove_left(pin_dir)?;
    }
    let ended = Pins::end_all(pin_dir)?;
    if running.is_none() {
        clean(runtime_dir);
    }
    Ok(match (running, ended) {
        (Some(pid), _) => format!("process {pid} has ended; nothing of it is left"),
        (None, 0) => format!("nothing to stop in {}", pin_dir.display()),
        (None, _) => format!("no xlvs was running; ended the data plane in {}", pin_dir.display()),
    })
}

/// Refuses to stop a controller that has its pins elsewhere. (One that is starting may have none yet.)
fn refuse_others_pins(pid: Pid, place: &Place) -> Result<(), Failure> {
    let Place { pin_dir, runtime_dir } = place;
    let holders = Pins::holders(pin_dir)?;
    let told = Status::read(&runtime::status(runtime_dir)).ok().flatten();
    let ready = told.is_some_and(|status| i32::try_from(status.pid) == Ok(pid.as_raw()));
    if holders.contains(&pid.as_raw()) || (holders.is_empty() && !ready) {
        return Ok(());
    }
    let (pin_dir, runtime_dir) = (pin_dir.display(), runtime_dir.display());
    Err(anyhow!(
        "process {pid}, which has its files in {runtime_dir}, does not have its pins in {pin_dir}: give --pin-dir and \
         --runtime-dir of the same xlvs (`ps -ww -fp {pid}` shows those of this one)"
    )
    .into())
}

/// How a reload went.
#[derive(Debug)]
pub(crate) struct Reloaded {
    /// What was found in the file, as `xlvs check` shows it, and what became of edits: lines, or nothing.
    pub(crate) shown: String,
    /// What is in use now, or why that is what it was.
    pub(crate) outcome: Result<String, Failure>,
}

/// Has the controller read its file again, and tells how that has ended. One that is still starting is waited for.
/// With `discard_edits` those that were made at runtime count no more.
pub(crate) fn reload(place: &Place, discard_edits: bool) -> Result<Reloaded, Failure> {
    let directory = &place.runtime_dir;
    let pid = holder(directory)?.with_context(|| {
        format!(
            "no xlvs is running with {}; start one, or give its --runtime-dir",
            directory.display()
        )
    })?;
    let give_up = Instant::now() + PATIENCE;
    let path = runtime::status(directory);
    // What it has told once it has done something.
    let wait = |what: &str, done: &dyn Fn(&Status) -> bool| -> Result<Status, Failure> {
        loop {
            let told = Status::read(&path).with_context(|| {
                format!(
                    "how a reload goes cannot be told: remove {}, and `kill -HUP {pid}` has it written again",
                    path.display()
                )
            })?;
            // The file may be of one before.
            let own = |status: &Status| i32::try_from(status.pid) == Ok(pid.as_raw());
            if let Some(status) = told.filter(|status| own(status) && done(status)) {
                return Ok(status);
            }
            refuse_stopped(pid)?;
            if holder(directory)? != Some(pid) {
                return Err(anyhow!("process {pid} has ended instead; its log says why").into());
            }
            if Instant::now() > give_up {
                return Err(late(pid, what, &path).into());
            }
            sleep(POLL);
        }
    };
    refuse_stopped(pid)?;
    let before = wait("become ready", &|_| true)?.begun;
    if discard_edits {
        // How it went is in the status too, with what was found in the file.
        let _its_line = Client::connect(directory)?.ask(&Request::Reload { discard_edits })?;
    } else {
        signal(pid, Signal::SIGHUP as i32)?;
    }
    // One that was begun before may have read the file as it was.
    wait("reloaded", &|now| now.ended > before).map(outcome)
}

/// It takes too long.
fn late(pid: Pid, what: &str, status: &Path) -> anyhow::Error {
    anyhow!(
        "process {pid} has not {what} within {} s, and may still do so: look at its log, at `top -Hp {pid}` for what it \
         does, and at {}, which tells how each reload went",
        PATIENCE.as_secs(),
        status.display()
    )
}

/// Who is stopped does nothing of what it is asked for.
pub(super) fn refuse_stopped(pid: Pid) -> anyhow::Result<()> {
    if process::is_stopped(pid.as_raw()) {
        bail!(
            "process {pid} is stopped (by SIGSTOP, or Ctrl-Z), and does nothing; `kill -CONT {pid}` has it go on, then try \
             again"
        );
    }
    Ok(())
}

fn outcome(status: Status) -> Reloaded {
    let reason = match status.code {
        0 => return Reloaded { shown: status.shown, outcome: Ok(status.outcome) },
        code if code == Reason::Configuration as u8 => Reason::Configuration,
        code if code == Reason::Kernel as u8 => Reason::Kernel,
        _ => Reason::Failed,
    };
    let failure = Failure { reason, error: anyhow!(status.outcome) };
    Reloaded { shown: status.shown, outcome: Err(failure) }
}

fn signal(pid: Pid, number: i32) -> Result<(), Failure> {
    match send_signal(pid, number) {
        // It has ended meanwhile.
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno @ Errno::EPERM) => {
            Err(Failure::kernel(anyhow!("cannot signal process {pid}: {errno}; run as root")))
        }
        Err(errno) => Err(anyhow!("cannot signal process {pid}: {errno}").into()),
    }
}
