//! Running other programs: every command that does something is shown before it runs, in a form
//! that can be pasted into a shell, and one that fails is named with its exit code.

use std::env;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// One line to the person at the terminal. It goes where cargo's own progress goes, so that the
/// two keep their order.
#[expect(clippy::print_stderr, reason = "the one place where xtask speaks")]
pub(crate) fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Shows a command, runs it on this terminal and says how long it took.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let start = Instant::now();
    run_last(command)?;
    let time = start.elapsed();
    if time >= Duration::from_secs(2) {
        say(format_args!("    took {}", Seconds(time)));
    }
    Ok(())
}

/// As [`run`], but without a word after a success: the command's own last line is the last line.
pub(crate) fn run_last(command: &mut Command) -> Result<()> {
    say(format_args!("  $ {}", show(command)));
    let name = words(command);
    let status = command.status().with_context(|| format!("cannot start `{name}`"))?;
    check(&name, status)
}

/// The standard output of a command that only asks something; not shown.
pub(crate) fn ask(command: &mut Command) -> Result<String> {
    let name = words(command);
    let output = command.output().with_context(|| format!("cannot start `{name}`"))?;
    check(&name, output.status)
        .with_context(|| String::from_utf8_lossy(&output.stderr).trim().to_owned())?;
    String::from_utf8(output.stdout).with_context(|| format!("the output of `{name}`"))
}

fn check(name: &str, status: ExitStatus) -> Result<()> {
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => bail!("`{name}` failed with exit code {code}"),
        None => bail!("`{name}` was ended: {status}"),
    }
}

/// A command as one would type it, with the variables that were set for it.
pub(crate) fn show(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        let value = quote(&value?.to_string_lossy());
        Some(format!("{}={value}", name.to_string_lossy()))
    });
    variables.chain([words(command)]).collect::<Vec<_>>().join(" ")
}

/// A command by its name and arguments alone.
pub(crate) fn words(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| quote(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a POSIX shell wants it.
fn quote(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Where a program is. The folders of system tools count also when a user's PATH lacks them, as
/// Debian's does.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let folders = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| is_executable(path))
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    fs::read_to_string("/proc/self/status").is_ok_and(|status| effective_user(&status) == Some(0))
}

/// The effective user from `/proc/<pid>/status`: the second number of the line `Uid:`.
fn effective_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// How to run a task as root with the toolchain and the crates of the user who asks.
pub(crate) fn as_root(task: &str) -> String {
    format!(r#"sudo -E env "PATH=$PATH" "HOME=$HOME" cargo xtask {task}"#)
}

/// Whether an environment variable is set to something.
pub(crate) fn is_set(name: impl AsRef<OsStr>) -> bool {
    env::var_os(name).is_some_and(|value| !value.is_empty())
}

/// A duration as people read it: `0.4 s`, `42 s`, `3 min 20 s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.as_secs() {
            0..10 => write!(f, "{:.1} s", self.0.as_secs_f32()),
            seconds @ 10..60 => write!(f, "{seconds} s"),
            seconds => write!(f, "{} min {} s", seconds / 60, seconds % 60),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_command_can_be_pasted() {
        let mut command = Command::new("/opt/my tools/cargo");
        command
            .args(["build", "--cfg", "a=\"b\"", "it's", ""])
            .env("FLAGS", "-C x")
            .env_remove("X");
        assert_eq!(
            show(&command),
            r#"FLAGS='-C x' '/opt/my tools/cargo' build --cfg 'a="b"' 'it'\''s' ''"#
        );
    }

    #[test]
    fn a_failure_names_the_command_and_its_code() {
        let error = run(Command::new("sh").args(["-c", "exit 7"])).unwrap_err();
        assert_eq!(error.to_string(), "`sh -c 'exit 7'` failed with exit code 7");
        let error = ask(Command::new("sh").args(["-c", "echo why >&2; exit 1"])).unwrap_err();
        assert!(format!("{error:#}").starts_with("why: "), "{error:#}");
        let error = run(&mut Command::new("/no/such/program")).unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot start `/no/such/program`: "), "{error:#}");
    }

    #[test]
    fn the_effective_user_counts() {
        let status = "Name:\tcargo\nUid:\t1000\t0\t1000\t1000\nGid:\t1\t2\t3\t4\n";
        assert_eq!(effective_user(status), Some(0));
        assert_eq!(effective_user("Name:\tcargo\n"), None);
    }

    #[test]
    fn durations_read_well() {
        let shown = |millis| Seconds(Duration::from_millis(millis)).to_string();
        assert_eq!([shown(440), shown(59_999), shown(200_000)], ["0.4 s", "59 s", "3 min 20 s"]);
    }
}
