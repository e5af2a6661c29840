//! The product itself as a process: started in a namespace, waited for, read, and stopped.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command;
use crate::netns::Netns;
use crate::process::{Background, Lifetime, POLL};

/// Loading and verifying the programs takes well under a second on an idle machine.
const READY: Duration = Duration::from_secs(60);
const STOPPED: Duration = Duration::from_secs(15);
const RELOADED: Duration = Duration::from_secs(10);
/// What a log is waited for comes within a few seconds on an idle machine.
const SAID: Duration = Duration::from_secs(15);
/// Reloads are waited for by the hundred.
const RELOAD_POLL: Duration = Duration::from_millis(2);

/// Where everything of one instance lies, and how it is to run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The configuration file.
    pub config: PathBuf,
    /// Where the maps and links are pinned.
    pub pin_dir: PathBuf,
    /// Where its socket lies.
    pub runtime_dir: PathBuf,
    /// Where its log goes.
    pub log: PathBuf,
    /// `--mode`, if it is to be given.
    pub mode: Option<&'static str>,
    /// The interfaces to attach to.
    pub interfaces: Vec<String>,
    /// Further arguments.
    pub extra: Vec<String>,
}

impl Setup {
    /// The arguments of the command line, which is to be run inside the balancer's namespace.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let Self { config, pin_dir, runtime_dir, log: _, mode, interfaces, extra } = self;
        let mut arguments = vec!["run".to_owned()];
        let mut option = |name: &str, value: String| {
            arguments.push(format!("--{name}"));
            arguments.push(value);
        };
        option("config", config.display().to_string());
        for interface in interfaces {
            option("interface", interface.clone());
        }
        if let Some(mode) = mode {
            option("mode", (*mode).to_owned());
        }
        option("pin-dir", pin_dir.display().to_string());
        option("runtime-dir", runtime_dir.display().to_string());
        arguments.extend_from_slice(extra);
        arguments
    }

    /// Where a map is pinned.
    #[must_use]
    pub fn map(&self, name: &str) -> PathBuf {
        self.pin_dir.join("v5/maps").join(name)
    }
}

/// A running `xlvs run`; killed when dropped, if it was not stopped before.
#[derive(Debug)]
pub struct Xlvs {
    process: Background,
    setup: Setup,
}

impl Xlvs {
    /// Starts a binary inside a namespace.
    pub fn spawn(binary: &Path, netns: &Netns, setup: Setup, lifetime: Lifetime) -> Result<Self> {
        Self::spawn_by(binary, &[], netns, setup, lifetime)
    }

    /// Has another program become it, with these arguments before its own.
    pub fn spawn_by(
        program: &Path,
        before: &[String],
        netns: &Netns,
        setup: Setup,
        lifetime: Lifetime,
    ) -> Result<Self> {
        let arguments = [before, &setup.arguments()].concat();
        let process = Background::spawn(netns, program, &arguments, &setup.log, lifetime)?;
        Ok(Self { process, setup })
    }

    /// Starts the binary under test and waits until it is ready.
    pub fn start(netns: &Netns, setup: Setup) -> Result<Self> {
        let mut xlvs = Self::spawn(&binary()?, netns, setup, Lifetime::Bound)?;
        xlvs.wait_until_ready(|| Ok(()))?;
        Ok(xlvs)
    }

    /// Waits until it has said that it is ready. Meanwhile `go_on` is asked again and again, and
    /// its error ends the waiting.
    pub fn wait_until_ready(&mut self, go_on: impl Fn() -> Result<()>) -> Result<()> {
        let give_up = Instant::now() + READY;
        while self.ready_line().is_none() {
            go_on()?;
            if let Some(status) = self.process.ended()? {
                bail!("xlvs ended early ({status}); its log:\n{}", self.log());
            }
            if Instant::now() > give_up {
                bail!("xlvs was not ready within {READY:?}; its log:\n{}", self.log());
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// The line of its log that says that it is ready.
    #[must_use]
    pub fn ready_line(&self) -> Option<String> {
        let word = |line: &&str| line.split(|c: char| !c.is_alphanumeric()).any(|w| w == "ready");
        self.log().lines().find(word).map(str::to_owned)
    }

    /// Writes another configuration, and waits until it has said that it applies.
    pub fn reload(&self, config: &str) -> Result<()> {
        let path = &self.setup.config;
        let times = || self.log().lines().filter(|line| line.contains("reloaded")).count();
        let before = times();
        fs::write(path, config).with_context(|| path.display().to_string())?;
        kill(Pid::from_raw(self.pid().try_into()?), Signal::SIGHUP).context("SIGHUP")?;
        let give_up = Instant::now() + RELOADED;
        while times() == before {
            if Instant::now() > give_up {
                bail!("xlvs did not reload within {RELOADED:?}; its log:\n{}", self.log());
            }
            sleep(RELOAD_POLL);
        }
        Ok(())
    }

    /// Runs another command of `xlvs` that is to this instance's controller; it must succeed.
    pub fn order(&self, words: &[&str]) -> Result<String> {
        let mut order = Command::new(binary()?);
        order.args(words).arg("--pin-dir").arg(&self.setup.pin_dir);
        command::run(order.arg("--runtime-dir").arg(&self.setup.runtime_dir))
    }

    /// Runs a command of `xlvs` that reads this instance's maps, and gives what it prints.
    pub fn look(&self, words: &[&str]) -> Result<String> {
        let mut look = Command::new(binary()?);
        command::run(look.args(words).arg("--pin-dir").arg(&self.setup.pin_dir))
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Where its parts lie.
    #[must_use]
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// All that it has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        let log = fs::read(&self.setup.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// Waits until its log says something.
    pub fn wait_for(&self, said: &str) -> Result<()> {
        self.wait_for_times(said, 1)
    }

    /// Waits until its log has said something so many times.
    pub fn wait_for_times(&self, said: &str, times: usize) -> Result<()> {
        let give_up = Instant::now() + SAID;
        while self.log().matches(said).count() < times {
            if Instant::now() > give_up {
                let log = self.log();
                bail!("xlvs has not said `{said}` {times} times within {SAID:?}; its log:\n{log}");
            }
            sleep(POLL);
        }
        Ok(())
    }

    /// How it has ended, if it has.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.process.ended()
    }

    /// Asks it to end by SIGTERM, and waits until it has.
    pub fn stop(self) -> Result<ExitStatus> {
        self.stop_by(Signal::SIGTERM)
    }

    /// Asks it to end by a signal, and waits until it has.
    pub fn stop_by(self, signal: Signal) -> Result<ExitStatus> {
        let log = self.setup.log;
        let ended = self.process.end(signal, STOPPED);
        ended.with_context(|| format!("its log is {}", log.display()))
    }

    /// Leaves it running.
    pub fn leave(self) {
        self.process.leave();
    }
}

/// The binary under test: the one that `XLVS_BIN` names, else the release build, else the debug
/// build of this target folder.
pub fn binary() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("XLVS_BIN") {
        return Ok(path.into());
    }
    let own = std::env::current_exe().context("where is this program?")?;
    own.ancestors()
        .flat_map(|folder| ["release/xlvs", "debug/xlvs"].map(|name| folder.join(name)))
        .find(|path| path.is_file())
        .context("there is no xlvs binary; build it with `cargo build --release --bin xlvs`, or name one in XLVS_BIN")
}
