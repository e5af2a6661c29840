//! What an earlier demo has left standing, on purpose or because it was killed.
//!
//! A file tells which processes belong to the demo. A process id alone could by now belong to
//! somebody else; with the time of the process's start, it cannot.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lvs_tests::{netns, scratch};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::stage::{FOLDER, PINS, PREFIX};

const FILE: &str = "/run/xlvs-demo/processes.json";
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(50);

/// A process, told from all others that ever had its id.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Process {
    pid: u32,
    started: u64,
}

impl Process {
    fn new(pid: u32) -> Result<Self> {
        let started = start_time(pid).with_context(|| format!("process {pid} is gone"))?;
        Ok(Self { pid, started })
    }

    fn is_alive(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid)
            && self.is_alive()
        {
            kill(Pid::from_raw(pid), signal).ok();
        }
    }
}

/// The start of a process in the kernel's ticks; none for one that is gone or a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, so count from its end, where field 3 begins.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if state == "Z" { None } else { fields.nth(18)?.parse().ok() }
}

/// The demo that runs, and what it has started, in that order.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Roll {
    owner: Process,
    started: Vec<Process>,
}

impl Roll {
    /// A new roll, owned by this process.
    pub(crate) fn new() -> Result<Self> {
        let roll = Self { owner: Process::new(std::process::id())?, started: Vec::new() };
        roll.write()?;
        Ok(roll)
    }

    /// Notes a process as part of the demo.
    pub(crate) fn add(&mut self, pid: u32) -> Result<()> {
        self.started.push(Process::new(pid)?);
        self.write()
    }

    fn write(&self) -> Result<()> {
        fs::write(FILE, serde_json::to_string(self)?).with_context(|| format!("writing {FILE}"))
    }
}

/// What is there of an earlier demo.
#[derive(Debug)]
pub(crate) struct Leftovers {
    processes: Vec<Process>,
    namespaces: Vec<String>,
}

impl Leftovers {
    /// Looks for them; an error if the earlier demo is still running.
    pub(crate) fn find() -> Result<Self> {
        let mut processes = Vec::new();
        if let Ok(text) = fs::read_to_string(FILE) {
            // One that cannot be read was being written when its demo was killed.
            if let Ok(Roll { owner, started }) = serde_json::from_str(&text) {
                if owner.is_alive() {
                    bail!("another demo is running, as process {}; end that one first", owner.pid);
                }
                processes = started;
            }
        }
        let mut namespaces = netns::names();
        namespaces.retain(|name| name.strip_prefix(PREFIX).is_some_and(|r| r.starts_with('-')));
        Ok(Self { processes, namespaces })
    }

    /// Removes them; returns whether there were any.
    pub(crate) fn remove(self) -> Result<bool> {
        let Self { processes, namespaces } = self;
        let alive = || processes.iter().filter(|process| process.is_alive()).count();
        let any = alive() > 0 || !namespaces.is_empty() || Path::new(FOLDER).exists();
        // Last started, first ended: the balancer goes while its network is still there.
        processes.iter().rev().for_each(|process| process.signal(Signal::SIGTERM));
        let mut waited = Duration::ZERO;
        while alive() > 0 && waited < PATIENCE {
            sleep(POLL);
            waited += POLL;
        }
        for process in &processes {
            process.signal(Signal::SIGKILL);
        }
        for name in &namespaces {
            netns::delete(name);
        }
        for folder in [PINS, FOLDER] {
            scratch::remove(Path::new(folder));
            if Path::new(folder).exists() {
                bail!("{folder} cannot be removed");
            }
        }
        Ok(any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_its_id_is_somebody_elses() {
        let own = Process::new(std::process::id()).unwrap();
        assert!(own.is_alive());
        assert!(!Process { started: own.started + 1, ..own }.is_alive());
    }
}
