//! Named network namespaces, and ways to run a command, a closure or a future inside one.
//!
//! A namespace is a property of a thread, not of a process: closures run on a thread of their own
//! that enters the namespace and ends there. Commands enter by `nsenter --net` and never by
//! `ip netns exec`, which mounts a fresh `/sys` in which the pinned maps are missing.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::thread::JoinHandle;

use anyhow::{Context as _, Result, anyhow};
use nix::sched::CloneFlags;

use crate::command;

const FOLDER: &str = "/run/netns";

/// A named network namespace, deleted when this value is dropped.
#[derive(Debug)]
pub struct Netns {
    name: String,
    keep: bool,
}

impl Netns {
    /// Creates a namespace with its loopback interface up and without IPv6, whose router and
    /// neighbour discovery would only be noise on the test's links.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        Self::create(name.into(), &[("disable_ipv6", "1")])
    }

    /// Creates a namespace with its loopback interface up and with IPv6, if the kernel has it: addresses
    /// can be used at once, and routers are not asked for.
    pub fn dual_stack(name: impl Into<String>) -> Result<Self> {
        let settings = [
            ("disable_ipv6", "0"),
            ("accept_dad", "0"),
            ("dad_transmits", "0"),
            ("accept_ra", "0"),
            ("router_solicitations", "0"),
        ];
        Self::create(name.into(), &settings)
    }

    fn create(name: String, ipv6: &[(&str, &str)]) -> Result<Self> {
        command::run(Command::new("ip").args(["netns", "add", &name]))?;
        let netns = Self { name, keep: false };
        netns.run(|| {
            for scope in ["all", "default"] {
                for (knob, value) in ipv6 {
                    let knob = PathBuf::from(format!("/proc/sys/net/ipv6/conf/{scope}/{knob}"));
                    if knob.exists() {
                        std::fs::write(&knob, value).with_context(|| knob.display().to_string())?;
                    }
                }
            }
            Ok(())
        })?;
        netns.ip(&["link set lo up"])?;
        Ok(netns)
    }

    /// The name under which `ip netns` knows it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file that stands for the namespace.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        Path::new(FOLDER).join(&self.name)
    }

    /// Leaves the namespace standing when this value is dropped.
    pub fn keep(&mut self) {
        self.keep = true;
    }

    /// A command that will run inside; add its arguments to it.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path().display())).arg(program);
        command
    }

    /// Runs `ip` commands inside, all in one process.
    pub fn ip(&self, lines: &[impl AsRef<str>]) -> Result<String> {
        let mut script = String::new();
        for line in lines {
            script.push_str(line.as_ref());
            script.push('\n');
        }
        command::run_with_input(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), &script)
            .with_context(|| format!("in namespace {}: {}", self.name, script.trim_end()))
    }

    /// Sets one of the namespace's own network settings, such as `ipv4/ip_forward`.
    pub fn set(&self, knob: &str, value: &str) -> Result<()> {
        let path = format!("/proc/sys/net/{knob}");
        self.run(|| std::fs::write(&path, value).with_context(|| format!("writing {path}")))
    }

    /// Runs a closure inside and waits for its result.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        let namespace = self.open()?;
        thread::scope(|scope| {
            scope
                .spawn(move || {
                    enter(&namespace)?;
                    work()
                })
                .join()
        })
        .map_err(|_| anyhow!("a thread in namespace {} panicked", self.name))?
    }

    /// Runs a future inside, on a runtime of its own, and waits for its result.
    ///
    /// The closure makes the future inside the namespace, so that it may open sockets at once.
    pub fn block_on<T: Send, F: Future<Output = Result<T>>>(
        &self,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T> {
        self.run(|| runtime()?.block_on(async { work().await }))
    }

    /// Starts a thread inside and returns without waiting for it.
    pub fn spawn<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<JoinHandle<Result<T>>> {
        let namespace = self.open()?;
        Ok(thread::Builder::new().name(self.name.clone()).spawn(move || {
            enter(&namespace)?;
            work()
        })?)
    }

    fn open(&self) -> Result<File> {
        File::open(self.path()).with_context(|| format!("namespace {}", self.name))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if !self.keep {
            delete(&self.name);
        }
    }
}

/// The names of all namespaces of this machine.
#[must_use]
pub fn names() -> Vec<String> {
    let Ok(folder) = std::fs::read_dir(FOLDER) else { return Vec::new() };
    folder.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
}

/// Deletes a namespace by name, for what an earlier process left behind. One that is not there,
/// or that another sweep deletes in the same moment, is as good as deleted.
pub fn delete(name: &str) {
    command::run(Command::new("ip").args(["netns", "delete", name])).ok();
}

/// What the TCP of a namespace has counted, over IPv4 and IPv6.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Segments {
    /// Segments that came, bad ones included.
    pub received: u64,
    /// Segments that were sent, those that were sent again not included.
    pub sent: u64,
    /// Segments whose checksum was wrong.
    pub bad_checksums: u64,
}

/// Reads the counts of a namespace's TCP.
pub fn tcp_segments(netns: &Netns) -> Result<Segments> {
    // `/proc/net` is the namespace of the process, this that of the thread.
    let text = netns.run(|| Ok(std::fs::read_to_string("/proc/thread-self/net/snmp")?))?;
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = lines.next().zip(lines.next()).context("no counts of TCP")?;
    let count = |name: &str| {
        let place = names.split(' ').position(|other| other == name);
        let value = values.split(' ').nth(place?)?;
        value.parse().ok()
    };
    let segments = || {
        Some(Segments {
            received: count("InSegs")?,
            sent: count("OutSegs")?,
            bad_checksums: count("InCsumErrors")?,
        })
    };
    segments().with_context(|| format!("counts of TCP are missing in {names}"))
}

/// A runtime for one thread: its sockets belong to the namespace that the thread is in.
pub fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("the tokio runtime did not start")
}

fn enter(namespace: &File) -> Result<()> {
    nix::sched::setns(namespace, CloneFlags::CLONE_NEWNET)
        .context("entering the network namespace failed")
}
