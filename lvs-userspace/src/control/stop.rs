//! `xlvs stop` and `xlvs reload`: what is asked of a controller that runs, by its process id.

use std::{
    path::PathBuf,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, anyhow};
use nix::{errno::Errno, sys::signal::Signal, unistd::Pid};

use super::{
    run::keep_signal,
    runtime::{self, clean, holder},
    status::Status,
    vips,
};
use crate::{
    bpf::{Pins, send_signal},
    exit::{Failure, Reason},
};

/// How long a controller may take to end, or to read its file.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often it is looked at meanwhile.
const POLL: Duration = Duration::from_millis(10);

/// Where a controller has its pins and its files.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) pin_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
}

impl Place {
    /// Where they are if nobody says otherwise.
    pub(crate) const PIN_DIR: &str = "/sys/fs/bpf/xlvs";
    pub(crate) const RUNTIME_DIR: &str = "/run/xlvs";
}

/// Ends the controller if there is one, and the data plane unless it is to be kept. Tells what was done.
pub(crate) fn stop(place: &Place, keep_dataplane: bool) -> Result<String, Failure> {
    let Place { pin_dir, runtime_dir } = place;
    let running = holder(runtime_dir)?;
    if let Some(pid) = running {
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
    if keep_dataplane {
        return Ok(match running {
            Some(pid) => format!("process {pid} has ended; packets flow on"),
            None => "no xlvs was running; packets flow on if they did".to_owned(),
        });
    }
    // Before those who follow the addresses find nobody under them.
    if running.is_none() {
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

/// Has the controller read its file again, and tells how that has ended.
pub(crate) fn reload(place: &Place) -> Result<String, Failure> {
    let directory = &place.runtime_dir;
    let pid = holder(directory)?.with_context(|| {
        format!(
            "no xlvs is running with {}; start one, or give its --runtime-dir",
            directory.display()
        )
    })?;
    let path = runtime::status(directory);
    let before = Status::read(&path).context("it is still starting; try again")?;
    signal(pid, Signal::SIGHUP as i32)?;
    let give_up = Instant::now() + PATIENCE;
    loop {
        // One that was begun before may have read the file as it was.
        match Status::read(&path) {
            Ok(now) if now.ended > before.begun => return outcome(now),
            _ if holder(directory)? != Some(pid) => {
                return Err(anyhow!("process {pid} has ended instead; its log says why").into());
            }
            _ if Instant::now() > give_up => {
                return Err(anyhow!("process {pid} has not reloaded; its log may say why").into());
            }
            _ => sleep(POLL),
        }
    }
}

fn outcome(status: Status) -> Result<String, Failure> {
    let reason = match status.code {
        0 => return Ok(status.outcome),
        code if code == Reason::Configuration as u8 => Reason::Configuration,
        code if code == Reason::Kernel as u8 => Reason::Kernel,
        _ => Reason::Failed,
    };
    Err(Failure { reason, error: anyhow!(status.outcome) })
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
