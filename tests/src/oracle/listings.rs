//! What real ipvsadm printed, as data: `tests/oracle/listings.json`, whose steps `tests/oracle/sequences.py` explains; and
//! whether something else printed the same.

use std::fs;
use std::net::SocketAddrV4;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde::Deserialize;

/// How far the times of connections may be apart, in seconds: real IPVS was recorded on a slow machine.
const TOLERANCE: i64 = 30;

/// Commands and traffic that belong together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    /// What it is about.
    pub name: String,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// A step.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub enum Step {
    /// A command.
    Run(Run),
    /// A connection that stays open, with a byte each way.
    Open {
        /// From here.
        open: SocketAddrV4,
        /// To this service.
        to: SocketAddrV4,
    },
    /// Datagrams of 100 bytes, each of which is answered by one of 50.
    Ask {
        /// From here.
        ask: SocketAddrV4,
        /// To this service.
        to: SocketAddrV4,
        /// So many.
        count: usize,
    },
    /// Ends so many connections in order, the oldest first.
    Close {
        /// How many.
        close: usize,
    },
    /// Resets them.
    Reset {
        /// How many.
        reset: usize,
    },
}

/// A command with what it came to.
#[derive(Clone, Debug, Deserialize)]
pub struct Run {
    /// The arguments of ipvsadm.
    pub ipvsadm: String,
    /// Its standard input.
    pub restore: Option<String>,
    /// Its exit code.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
}

#[derive(Deserialize)]
struct File {
    sequences: Vec<Sequence>,
}

/// All sequences.
pub fn read() -> Result<Vec<Sequence>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("oracle/listings.json");
    let text = fs::read(&path).with_context(|| path.display().to_string())?;
    let File { sequences } =
        serde_json::from_slice(&text).with_context(|| path.display().to_string())?;
    Ok(sequences)
}

impl Run {
    /// Whether names of ports and hosts are in what is printed, which the machine has to know.
    #[must_use]
    pub fn shows_names(&self) -> bool {
        let listing = self.stdout.contains("->") || self.stdout.contains("-A ");
        listing && [":http", ":domain"].iter().any(|name| self.stdout.contains(name))
    }

    /// How another run of the same command differs; `None` if it does not, but for times and for the order in which
    /// connections lie in their tables.
    #[must_use]
    pub fn difference(&self, code: i32, stdout: &str, stderr: &str) -> Option<String> {
        let same = self.code == code
            && self.stderr == stderr
            && if self.stdout.starts_with("IPVS connection entries\n") {
                same_connections(&self.stdout, stdout)
            } else {
                self.stdout == stdout
            };
        (!same).then(|| {
            format!(
                "`ipvsadm {}`{}\nipvsadm, exit code {}:\n{}{}xlvs, exit code {code}:\n{stdout}{stderr}",
                self.ipvsadm,
                self.restore.as_ref().map(|text| format!(" < {text:?}")).unwrap_or_default(),
                self.code,
                self.stdout,
                self.stderr
            )
        })
    }
}

/// Whether the lines below the headings are the same, in any order.
fn same_connections(one: &str, other: &str) -> bool {
    let heading = |text: &str| text.lines().take(2).map(str::to_owned).collect::<Vec<_>>();
    let (one_lines, other_lines) = (entries(one), entries(other));
    heading(one) == heading(other)
        && one_lines.len() == other_lines.len()
        && one_lines.iter().zip(&other_lines).all(|((one, time), (other, at))| {
            one == other && time.abs_diff(*at) <= TOLERANCE.unsigned_abs()
        })
}

/// The lines without their times, sorted, and the times in seconds.
fn entries(text: &str) -> Vec<(String, i64)> {
    let mut entries: Vec<_> = text
        .lines()
        .skip(2)
        .map(|line| {
            let time = line.split_whitespace().nth(1).unwrap_or_default();
            let seconds = time.split_once(':').and_then(|(minutes, seconds)| {
                Some(minutes.parse::<i64>().ok()? * 60 + seconds.parse::<i64>().ok()?)
            });
            (line.replacen(time, "mm:ss", 1), seconds.unwrap_or(i64::MIN))
        })
        .collect();
    entries.sort();
    entries
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifteen_sequences_and_each_lists_something() {
        let sequences = read().unwrap();
        assert!(sequences.len() >= 15);
        for sequence in sequences {
            let prints = |step: &Step| matches!(step, Step::Run(run) if !run.stdout.is_empty());
            assert!(sequence.steps.iter().any(prints), "{}", sequence.name);
        }
    }

    #[test]
    fn times_and_order_of_connections_may_differ_and_nothing_else() {
        let text = |lines: &str| format!("IPVS connection entries\npro expire\n{lines}");
        let one = text("TCP 01:58  TIME_WAIT   a\nTCP 14:58  ESTABLISHED b\n");
        assert!(same_connections(
            &one,
            &text("TCP 15:00  ESTABLISHED b\nTCP 02:00  TIME_WAIT   a\n")
        ));
        for other in [
            text("TCP 15:00  ESTABLISHED b\n"),
            text("TCP 15:00  ESTABLISHED b\nTCP 02:00  TIME_WAIT   c\n"),
            text("TCP 15:00  ESTABLISHED b\nTCP 01:00  TIME_WAIT   a\n"),
            text("TCP 15:00  ESTABLISHED b\nTCP 02:00   TIME_WAIT   a\n"),
        ] {
            assert!(!same_connections(&one, &other), "{other}");
        }
    }
}
