//! Programs that run in a namespace while the harness goes on, with their output in a file.

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;
use crate::netns::Netns;

/// How often something that is waited for is looked at.
pub(crate) const POLL: Duration = Duration::from_millis(20);

/// How long a program may live.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// Not longer than the thread that started it: the kernel ends it, even after a `kill -9`.
    Bound,
    /// Until somebody ends it, if it is [left](Background::leave) running.
    Free,
}

/// A running program; killed when dropped, unless it was left running.
#[derive(Debug)]
pub struct Background {
    child: Child,
    left: bool,
}

impl Background {
    /// Starts a program inside a namespace.
    ///
    /// In a process group of its own, it does not see the Ctrl-C that is meant for the harness.
    pub fn spawn(
        netns: &Netns,
        program: &Path,
        arguments: &[String],
        log: &Path,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let log = File::create(log).with_context(|| log.display().to_string())?;
        let mut command = match lifetime {
            Lifetime::Free => netns.command(program),
            Lifetime::Bound => {
                let mut command = netns.command("setpriv");
                command.args(["--pdeathsig", "KILL"]).arg(program);
                command
            }
        };
        command.args(arguments).process_group(0);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("`{}` did not start", command::line(&command)))?;
        Ok(Self { child, left: false })
    }

    /// The program's process id: the commands in front of it become it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Asks it to end by a signal and waits until it has; after the limit, it is killed.
    pub fn end(mut self, signal: Signal, limit: Duration) -> Result<ExitStatus> {
        let pid = Pid::from_raw(i32::try_from(self.pid())?);
        kill(pid, signal).with_context(|| format!("{signal} to process {pid}"))?;
        let give_up = Instant::now() + limit;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if Instant::now() > give_up {
                bail!("process {pid} did not end within {limit:?} of {signal}");
            }
            sleep(POLL);
        }
    }

    /// Leaves it running.
    pub fn leave(mut self) {
        self.left = true;
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if !self.left {
            // Neither does anything to a program that was seen to end.
            self.child.kill().ok();
            self.child.wait().ok();
        }
    }
}
