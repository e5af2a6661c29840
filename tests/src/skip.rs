//! Saying that a test did not run. A skipped test looks like a passed one, so each leaves a line:
//! on the terminal, and in the file that `XLVS_SKIP_LOG` names, from which the runner of the whole
//! suite counts them.

use std::io::Write as _;

use crate::command;

/// The commands that the tests in namespaces need.
pub const COMMANDS: [&str; 8] =
    ["ip", "nsenter", "setpriv", "ethtool", "bpftool", "iperf3", "ping", "tracepath"];

/// Why tests in namespaces cannot run here, if they cannot.
#[must_use]
pub fn reason(commands: &[&str]) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root".to_owned());
    }
    let missing = commands.iter().find(|name| command::find(name).is_none())?;
    Some(format!("the command `{missing}` is not installed"))
}

/// Leaves the line `SKIP <test>: <reason>`.
pub fn announce(test: &str, reason: &str) {
    let line = format!("SKIP {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).ok();
    if let Some(path) = std::env::var_os("XLVS_SKIP_LOG") {
        // Opened to append, and written in one go: tests run at the same time.
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        log.and_then(|mut log| log.write_all(line.as_bytes())).ok();
    }
}

/// Returns `Ok(())` from the test, with a line that says so, unless this machine can run it. Commands that others do not
/// need are named.
#[macro_export]
macro_rules! skip_unless_possible {
    ($($command:literal),*) => {{
        fn here() {}
        let commands = [$crate::skip::COMMANDS.as_slice(), &[$($command),*]].concat();
        if let Some(reason) = $crate::skip::reason(&commands) {
            let test = std::any::type_name_of_val(&here).trim_end_matches("::here");
            $crate::skip::announce(test, &reason);
            return Ok(());
        }
    }};
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_command_is_named() {
        if nix::unistd::geteuid().is_root() {
            assert!(reason(&["sh", "no-such-command"]).unwrap().contains("`no-such-command`"));
            assert_eq!(reason(&["sh"]), None);
        } else {
            assert_eq!(reason(&["sh"]).unwrap(), "needs root");
        }
    }
}
