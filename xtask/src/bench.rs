//! `cargo xtask bench`: builds both objects and the bench, then becomes the bench.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, bail};

use crate::build_ebpf::{self, Object};
use crate::packages::Package;
use crate::shell;
use crate::workspace::Workspace;

const PACKAGES: [Package; 2] =
    [Package::command("iproute2", "ip"), Package::command("util-linux", "nsenter")];

/// The whole task. As with the demo, it returns only if something fails.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    if !shell::is_root() {
        bail!("the bench loads programs, which takes root; run\n    {}", shell::as_root("bench"));
    }
    let workspace = Workspace::find()?;
    let tools = build_ebpf::prepare(&workspace, &PACKAGES)?;
    build_ebpf::build(&workspace, &tools, Object::ENGINE)?;
    build_ebpf::build(&workspace, &tools, Object::BENCH)?;
    let build = ["build", "--locked", "--release", "--package=lvs-tests", "--bin=xlvs-bench"];
    shell::run(workspace.cargo().args(build))?;
    let mut bench = workspace.command(workspace.target("release/xlvs-bench"));
    bench.arg("--object").arg(Object::BENCH.place(&workspace)).args(arguments);
    shell::say(format_args!("  $ {}", shell::show(&bench)));
    Err(bench.exec()).with_context(|| format!("cannot start `{}`", shell::words(&bench)))
}
