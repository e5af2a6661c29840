//! `cargo xtask fuzz`: libFuzzer on the engine as it runs on the host, or on the configuration front end, with debug
//! assertions and overflow checks.
//!
//! It starts from the corpus that is committed and keeps what it finds under the target folder. An input that makes the
//! target fail is left there too; the last lines say how to run it again.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packages::{self, Package};
use crate::shell::{self, say};
use crate::workspace::Workspace;

/// What has the compiler count which edges are taken and what is compared with what, as `cargo fuzz` does it. All of
/// this is stable; the sanitizers would not be, and safe code has little to gain from them.
const FLAGS: [&str; 9] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cllvm-args=-simplifycfg-branch-fold-threshold=0",
    "-Ccodegen-units=1",
    "--cfg",
    "fuzzing",
];

/// libFuzzer itself is C++.
const PACKAGES: [Package; 1] = [Package::command("g++", "c++")];

/// What is fuzzed.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(crate) enum Target {
    /// Packets and events, in the engine.
    Engine,
    /// Configurations, in the front end.
    Config,
}

impl Target {
    /// The name of the program, and of the folders of its inputs.
    const fn name(self) -> &'static str {
        match self {
            Self::Engine => "engine",
            Self::Config => "config",
        }
    }

    /// The longest input. For the engine these are 64 steps of eight bytes, and some raw frames.
    const fn longest(self) -> u32 {
        match self {
            Self::Engine => 1024,
            Self::Config => 4096,
        }
    }
}

/// The whole task: fuzzes for so many seconds, or runs one input again.
pub(crate) fn run(target: Target, seconds: u32, input: Option<&Path>) -> Result<()> {
    let name = target.name();
    let workspace = Workspace::find()?;
    packages::install(&workspace, &packages::missing(&PACKAGES))?;
    let triple = host_triple()?;
    let folder = workspace.target("fuzz");
    build(&workspace, &triple, name, &folder)?;

    let program = folder.join(triple).join("release").join(name);
    let mut fuzzer = workspace.command(&program);
    if let Some(input) = input {
        let input = env::current_dir()?.join(input);
        return shell::run(fuzzer.env("XLVS_FUZZ_SHOW", "1").arg(input));
    }
    let (found, failed) = (folder.join("found").join(name), folder.join("failed").join(name));
    for folder in [&found, &failed] {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    }
    fuzzer
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={}", target.longest()))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", failed.display()))
        .arg(found)
        .arg(format!("tests/corpus/{name}"));
    if shell::run(&mut fuzzer).is_err() {
        bail!(
            "the {name} failed on an input in {}; run `cargo xtask fuzz --target {name} --input FILE` to see it, and keep \
             it in tests/corpus/{name} under a name that says what it shows",
            failed.display()
        );
    }
    say(format_args!("nothing found in {seconds} s"));
    Ok(())
}

/// Builds the fuzzer, which is a workspace of its own. A target that is named keeps the flags away from build scripts.
fn build(workspace: &Workspace, triple: &str, name: &str, folder: &Path) -> Result<()> {
    let mut cargo = workspace.cargo();
    cargo
        .env("RUSTFLAGS", FLAGS.join(" "))
        .args(["build", "--locked", "--release", "--manifest-path=tests/fuzz/Cargo.toml"])
        .args(["--bin", name, "--target", triple, "--target-dir"])
        .arg(folder);
    shell::run(&mut cargo)
}

/// What the compiler builds for by itself.
fn host_triple() -> Result<String> {
    let answer = shell::ask(Command::new("rustc").arg("-vV"))?;
    let host = answer.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("`rustc -vV` names no host")
}
