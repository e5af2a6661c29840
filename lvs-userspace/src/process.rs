//! What the kernel tells of other processes: whether one is on its way out, or stands still.

use std::fs;

/// `PF_EXITING` in `linux/sched.h`.
const EXITING: u64 = 0x4;

/// Whether a process has been told to end by a signal that nothing helps against, or has ended already. It may still have
/// files open, and locks.
pub(crate) fn is_ending(process: i32) -> bool {
    let Some((state, flags)) = state(process) else { return true };
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    matches!(state, 'Z' | 'X') || flags & EXITING != 0 || is_killed(&status)
}

/// Whether a process stands still because of SIGSTOP or SIGTSTP: then it acts on no other signal but SIGKILL.
pub(crate) fn is_stopped(process: i32) -> bool {
    state(process).is_some_and(|(state, _)| state == 'T')
}

/// A process's state and flags (`proc_pid_stat(5)`); `None` if there is no such process.
fn state(process: i32) -> Option<(char, u64)> {
    parse(&fs::read_to_string(format!("/proc/{process}/stat")).ok()?)
}

fn parse(stat: &str) -> Option<(char, u64)> {
    // Its name, in parentheses, may be anything.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    // Behind the parent, the group, the session, the terminal and its group.
    Some((state, fields.nth(5)?.parse().ok()?))
}

/// Whether SIGKILL is among the signals that wait for a process (`proc_pid_status(5)`).
fn is_killed(status: &str) -> bool {
    status.lines().any(|line| {
        let mask = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"));
        let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
        mask.is_some_and(|mask| mask & (1 << (libc::SIGKILL - 1)) != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_look_like_the_rest() {
        let stat = "7 (a) R 1 2) T 1 7 7 0 -1 4194564 100 0";
        assert_eq!(parse(stat), Some(('T', 4_194_564)));
        assert!(is_killed("Name:\tx\nSigPnd:\t0000000000000000\nShdPnd:\t0000000000000100\n"));
        assert!(!is_killed("SigPnd:\t0000000000004000\nSigIgn:\t0000000000000100\n"));
    }

    #[test]
    fn this_process_goes_on_and_one_that_has_ended_does_not() {
        let own = i32::try_from(std::process::id()).unwrap();
        assert!(!is_ending(own) && !is_stopped(own));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let process = i32::try_from(child.id()).unwrap();
        assert!(!is_ending(process));
        child.kill().unwrap();
        // Not waited for yet.
        assert!(is_ending(process));
        child.wait().unwrap();
    }
}
