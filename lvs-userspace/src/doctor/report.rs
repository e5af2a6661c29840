//! Findings for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::finding::{Command, Finding, Purpose, Severity};

/// The width that names are filled up to, so that findings begin in one column.
const NAMES: usize = 16;

/// The width that sentences are broken at, without what stands before them. Commands are not.
const SENTENCES: usize = 90;

/// All that was found, the worst last: that is where a terminal ends.
#[derive(Debug)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    pub(super) fn new(mut findings: Vec<Finding>) -> Self {
        findings.sort_by_key(|finding| finding.severity);
        Self { findings }
    }

    /// Whether something keeps packets from being balanced.
    pub(crate) fn is_problem(&self) -> bool {
        self.count(Severity::Problem) > 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.findings.iter().filter(|finding| finding.severity == severity).count()
    }

    /// For people: what is fine in a line each, everything else with reason and commands.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for finding in &self.findings {
            write_finding(&mut text, finding);
        }
        text + &self.summary() + "\n"
    }

    fn summary(&self) -> String {
        let counts: Vec<String> = [
            (Severity::Problem, "problem"),
            (Severity::Warning, "warning"),
            (Severity::Notice, "notice"),
        ]
        .into_iter()
        .filter_map(|(severity, name)| match self.count(severity) {
            0 => None,
            1 => Some(format!("1 {name}")),
            count => Some(format!("{count} {name}s")),
        })
        .collect();
        if counts.is_empty() { "nothing to mend".to_owned() } else { counts.join(", ") }
    }

    /// For programs.
    pub(crate) fn json(&self) -> Value {
        json!({
            "findings": self.findings,
            "problems": self.count(Severity::Problem),
            "warnings": self.count(Severity::Warning),
            "notices": self.count(Severity::Notice),
        })
    }
}

fn write_finding(text: &mut String, finding: &Finding) {
    let Finding { name, severity, about, found, why, commands } = finding;
    let severity = match severity {
        Severity::Ok => "ok",
        Severity::Notice => "notice",
        Severity::Warning => "WARNING",
        Severity::Problem => "PROBLEM",
    };
    let about = about.as_ref().map(|about| format!("{about}: ")).unwrap_or_default();
    let mut line = |first: &str, second: &str, rest: &str| {
        // Writing to a string does not fail.
        let _infallible = writeln!(text, "{first:<8} {second:<NAMES$} {rest}");
    };
    let found = wrapped(&format!("{about}{found}"));
    for (number, part) in found.iter().enumerate() {
        let (severity, name) = if number == 0 { (severity, *name) } else { ("", "") };
        line(severity, name, part);
    }
    if finding.severity == Severity::Ok {
        return;
    }
    for part in wrapped(why) {
        line("", "", &part);
    }
    for Command { purpose, on, command } in commands {
        let what = match purpose {
            Purpose::Mend => "mend",
            Purpose::Look => "look",
        };
        let on = on.as_ref().map(|on| format!(" on {on}")).unwrap_or_default();
        line("", "", &format!("{what}{on}: {command}"));
    }
}

/// A text in lines.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= SENTENCES => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report::new(vec![
            Finding::problem("ip-forward", "net.ipv4.ip_forward is 0")
                .why("Packets are dropped.")
                .mend("sysctl -w net.ipv4.ip_forward=1"),
            Finding::warning("return-route", "no answer")
                .mend_on("192.168.1.100", "ip route replace default via 192.168.1.1"),
            Finding::ok("interface", "up").about("eth0"),
        ])
    }

    #[test]
    fn the_worst_comes_last() {
        assert_eq!(
            report().text(),
            "ok       interface        eth0: up\n\
             WARNING  return-route     no answer\n                          \
             mend on 192.168.1.100: ip route replace default via 192.168.1.1\n\
             PROBLEM  ip-forward       net.ipv4.ip_forward is 0\n                          \
             Packets are dropped.\n                          \
             mend: sysctl -w net.ipv4.ip_forward=1\n\
             1 problem, 1 warning\n"
        );
        assert!(report().is_problem());
        assert_eq!(Report::new(Vec::new()).text(), "nothing to mend\n");
    }

    #[test]
    fn sentences_are_broken_and_words_are_not() {
        assert_eq!(wrapped(""), Vec::<String>::new());
        let long = "x".repeat(SENTENCES + 1);
        assert_eq!(wrapped(&format!("a b {long} c")), ["a b", &long, "c"]);
    }

    #[test]
    fn programs_find_the_commands() {
        let json = report().json();
        assert_eq!((&json["problems"], &json["warnings"]), (&json!(1), &json!(1)));
        assert_eq!(
            json["findings"][2],
            json!({
                "name": "ip-forward",
                "severity": "problem",
                "found": "net.ipv4.ip_forward is 0",
                "why": "Packets are dropped.",
                "commands": [{"purpose": "mend", "command": "sysctl -w net.ipv4.ip_forward=1"}],
            })
        );
        assert_eq!(json["findings"][1]["commands"][0]["on"], "192.168.1.100");
        assert_eq!(json["findings"][0]["about"], "eth0");
    }
}
