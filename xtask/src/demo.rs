//! `cargo xtask demo`: builds everything, then becomes the demo.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;

use anyhow::{Context as _, Result, bail};

use crate::build_ebpf;
use crate::packages::Package;
use crate::shell;
use crate::workspace::Workspace;

const PACKAGES: [Package; 5] = [
    Package::command("iproute2", "ip"),
    Package::command("util-linux", "nsenter"),
    Package::command("bpftool", "bpftool"),
    Package::command("ethtool", "ethtool"),
    Package::command("curl", "curl"),
];

/// The whole task. It returns only if something fails: the demo takes the place of this process, so
/// its exit code is ours, and a Ctrl-C is its own to answer by cleaning up.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    if !shell::is_root() {
        let words = arguments.iter().map(|word| format!(" {}", word.to_string_lossy()));
        let task = format!("demo{}", words.collect::<String>());
        bail!(
            "the demo makes network namespaces, which takes root; run\n    {}",
            shell::as_root(&task)
        );
    }
    let workspace = Workspace::find()?;
    let tools = build_ebpf::prepare(&workspace, &PACKAGES)?;
    build_ebpf::build(&workspace, &tools, build_ebpf::Object::ENGINE)?;
    // In one go: built for itself each would have features of its own, and the library be compiled twice.
    let build =
        ["build", "--locked", "--release", "--package=lvs-userspace", "--package=lvs-tests"];
    shell::run(workspace.cargo().args(build).args(["--bin=xlvs", "--bin=xlvs-demo"]))?;
    let mut demo = workspace.command(workspace.target("release/xlvs-demo"));
    demo.arg("--xlvs").arg(workspace.target("release/xlvs")).args(arguments);
    shell::say(format_args!("  $ {}", shell::show(&demo)));
    Err(demo.exec()).with_context(|| format!("cannot start `{}`", shell::words(&demo)))
}
