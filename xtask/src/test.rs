//! `cargo xtask test`: what CI runs, and a person before a commit. The cheap steps come first, and
//! nothing is printed after the last runner's own summary when all is well.

use std::fs;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::build_ebpf;
use crate::nextest;
use crate::packages::Package;
use crate::samples;
use crate::shell::{self, Seconds, run, run_last, say};
use crate::workspace::Workspace;

/// What the tests in namespaces call.
pub(crate) const PACKAGES: [Package; 10] = [
    Package::command("bpftool", "bpftool"),
    Package::command("iptables", "ebtables"),
    Package::command("ethtool", "ethtool"),
    Package::command("iproute2", "ip"),
    Package::command("util-linux", "nsenter"),
    Package::command("procps", "sysctl"),
    Package::command("curl", "curl"),
    Package::command("iperf3", "iperf3"),
    Package::command("iputils-ping", "ping"),
    Package::command("iputils-tracepath", "tracepath"),
];

/// The whole task.
pub(crate) fn run_all(no_kernel: bool) -> Result<()> {
    let workspace = Workspace::find()?;
    check_components(&workspace)?;
    let with_kernel = !no_kernel && shell::is_root();
    let total = if with_kernel { 8 } else { 7 };
    let mut steps = Steps { start: Instant::now(), number: 0, total };

    steps.next("format");
    run(workspace.cargo().args(["fmt", "--all", "--check"]))
        .context("`cargo fmt --all` puts the format right")?;

    steps.next("packages and tools");
    let tools = build_ebpf::prepare(&workspace, if with_kernel { &PACKAGES } else { &[] })?;
    let nextest = nextest::ready(&workspace)?;
    samples::ready(&workspace)?;

    steps.next("BPF object");
    build_ebpf::build(&workspace, &tools, build_ebpf::Object::ENGINE)?;

    steps.next("lints");
    let lint = ["clippy", "--locked", "--workspace", "--all-targets", "--", "-Dwarnings"];
    run(workspace.cargo().args(lint))?;

    steps.next("lints of the BPF crate");
    lint_ebpf(&workspace)?;

    steps.next("examples in the documentation");
    run(workspace.cargo().args(["test", "--locked", "--workspace", "--doc"]))?;

    let skipped = !no_kernel && !with_kernel;
    if skipped {
        let again = shell::as_root("test");
        say(format_args!("\nSKIP kernel tests: they take root (run: {again})"));
    }
    steps.next("host tests");
    let host_tests = &mut nextest::command(&workspace, &nextest, "default");
    if with_kernel {
        run(host_tests)?;
        steps.next("kernel tests");
        return kernel_tests(&workspace, &nextest);
    }
    run_last(host_tests)?;
    if skipped && in_ci() {
        bail!("the kernel tests were skipped, which CI does not accept");
    }
    Ok(())
}

/// Announces steps: number, name, time since the start.
struct Steps {
    start: Instant,
    number: u32,
    total: u32,
}

impl Steps {
    fn next(&mut self, name: &str) {
        self.number += 1;
        let (number, total, time) = (self.number, self.total, Seconds(self.start.elapsed()));
        say(format_args!("\n=== {number}/{total} {name} (after {time})"));
    }
}

/// Before anything slow: rustup's minimal profile lacks both.
fn check_components(workspace: &Workspace) -> Result<()> {
    for tool in ["fmt", "clippy"] {
        shell::ask(workspace.cargo().args([tool, "--version"])).with_context(|| {
            format!("`cargo {tool}` is missing; run `rustup component add rustfmt clippy`")
        })?;
    }
    Ok(())
}

/// The crate is checked for the host, whose toolchain has clippy. It gets a target folder of its
/// own, because `RUSTC_BOOTSTRAP` would have the dependencies of host builds compiled anew.
fn lint_ebpf(workspace: &Workspace) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo
        .env("RUSTC_BOOTSTRAP", "1")
        // Its panic handler takes the place of unwinding.
        .env("CARGO_PROFILE_DEV_PANIC", "abort")
        .args(["clippy", "--locked", "--package=lvs-ebpf", "--features=bpf", "--target-dir"])
        .arg(workspace.target("bpf-lints"))
        .args(["--", "-Dwarnings"]);
    run(&mut cargo)
}

/// With the command that the host tests were built with, which checks more of itself; a release build takes as long as
/// all of the others together.
fn kernel_tests(workspace: &Workspace, nextest: &Path) -> Result<()> {
    let xlvs = workspace.target("debug/xlvs");
    ensure!(xlvs.is_file(), "the host tests have left no {}", xlvs.display());
    let log = workspace.target("skipped-kernel-tests.log");
    fs::write(&log, "").with_context(|| format!("writing {}", log.display()))?;
    let mut tests = nextest::command(workspace, nextest, "kernel");
    tests.env("XLVS_BIN", xlvs).env("XLVS_SKIP_LOG", &log);
    let result = run_last(&mut tests);
    let skips = fs::read_to_string(&log).with_context(|| format!("reading {}", log.display()))?;
    for skip in skips.lines() {
        say(skip);
    }
    result?;
    match skips.lines().count() {
        count @ 1.. if in_ci() => bail!("{count} kernel tests skipped, which CI does not accept"),
        _ => Ok(()),
    }
}

fn in_ci() -> bool {
    shell::is_set("CI")
}
