//! `cargo xtask oracle`: compares `xlvs` with what real IPVS was recorded to do, or records that anew.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};

use crate::build_ebpf::{self, Object};
use crate::nextest;
use crate::shell;
use crate::test;
use crate::workspace::Workspace;

/// What talks to real IPVS; relative to the workspace's root, where commands are started.
const RECORDER: &str = "tests/oracle/record.py";

/// Runs the one test that compares.
pub(crate) fn compare() -> Result<()> {
    if !shell::is_root() {
        let again = shell::as_root("oracle");
        bail!("the comparison makes network namespaces, which takes root; run\n    {again}");
    }
    let workspace = Workspace::find()?;
    let tools = build_ebpf::prepare(&workspace, &test::PACKAGES)?;
    let nextest = nextest::ready(&workspace)?;
    build_ebpf::build(&workspace, &tools, Object::ENGINE)?;
    let build = ["build", "--locked", "--release", "--package=lvs-userspace"];
    shell::run(workspace.cargo().args(build))?;
    let mut tests = nextest::command(&workspace, &nextest, "kernel");
    tests.env("XLVS_BIN", workspace.target("release/xlvs"));
    shell::run_last(tests.args(["--filterset", "test(/^oracle::/)"]))
}

/// Records anew. The command prefix is what brings the recorder to a kernel with IPVS; without one it runs here.
pub(crate) fn record(prefix: &[OsString]) -> Result<()> {
    let workspace = Workspace::find()?;
    let words = prefix.iter().map(OsString::as_os_str);
    let mut words = words.chain(["python3", RECORDER].map(AsRef::as_ref));
    let mut command = workspace.command(Path::new(words.next().unwrap_or_default()));
    shell::run(command.args(words))
}
