//! What was said of a configuration already. A reload looks at all of it again; who reads the log wants to hear each thing once
//! while it stays true.

use std::collections::HashMap;

use tracing::{error, info, warn};

use crate::config::{Report, Severity};

/// What lines are about. Those of one topic are always worked out together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Topic {
    /// What was noticed about the file.
    File,
    /// Interfaces that something is wrong with.
    Interfaces,
    /// Addresses that nobody answers for.
    Addresses,
    /// Ports that full NAT has.
    Ports,
    /// Edits that are kept.
    Edits,
}

/// The lines that are true now, by topic, and how often.
#[derive(Debug, Default)]
pub(super) struct Said {
    topics: HashMap<Topic, HashMap<String, usize>>,
}

impl Said {
    /// Takes the lines of a topic that are true now, and logs those that were not before.
    pub(super) fn tell(
        &mut self,
        topic: Topic,
        lines: impl IntoIterator<Item = (Severity, String)>,
    ) {
        for (severity, line) in self.news(topic, lines) {
            match severity {
                Severity::Notice => info!("{line}"),
                Severity::Warning => warn!("{line}"),
                Severity::Error => error!("{line}"),
            }
        }
    }

    /// The same for what was noticed about a file. Where in it that is may change.
    pub(super) fn tell_of_file(&mut self, notes: &Report) {
        self.tell(Topic::File, notes.lines());
    }

    /// Has all of a topic be said again.
    pub(super) fn forget(&mut self, topic: Topic) {
        self.topics.remove(&topic);
    }

    fn news(
        &mut self,
        topic: Topic,
        lines: impl IntoIterator<Item = (Severity, String)>,
    ) -> Vec<(Severity, String)> {
        let before = self.topics.remove(&topic).unwrap_or_default();
        let mut now: HashMap<String, usize> = HashMap::new();
        let mut news = Vec::new();
        for (severity, line) in lines {
            let key = match topic {
                // `FILE:LINE:COLUMN: `
                Topic::File => line.split_once(": ").map_or(line.as_str(), |(_, text)| text),
                _ => &line,
            };
            let count = now.entry(key.to_owned()).or_default();
            *count += 1;
            if *count > before.get(key).copied().unwrap_or_default() {
                news.push((severity, line));
            }
        }
        self.topics.insert(topic, now);
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_true_is_said_once() {
        let mut said = Said::default();
        let mut news = |topic, lines: &[&str]| {
            let lines = lines.iter().map(|line| (Severity::Notice, (*line).to_owned()));
            let news = said.news(topic, lines);
            news.into_iter().map(|(_, line)| line).collect::<Vec<_>>()
        };
        let file = ["a.conf:1:1: notice[XLVS076]: skipped", "a.conf:5:1: warning[XLVS001]: what"];
        assert_eq!(news(Topic::File, &file), file);
        // Further down, and once more.
        let moved = ["a.conf:2:1: notice[XLVS076]: skipped", "a.conf:6:1: warning[XLVS001]: what"];
        assert!(news(Topic::File, &moved).is_empty());
        let twice = [moved[0], "a.conf:3:1: notice[XLVS076]: skipped", moved[1]];
        assert_eq!(news(Topic::File, &twice), [twice[1]]);
        // Another topic is another thing; what was mended is worth a line when it comes again.
        assert_eq!(news(Topic::Interfaces, &["eth0 is down"]), ["eth0 is down"]);
        assert!(news(Topic::File, &[]).is_empty());
        assert!(news(Topic::Interfaces, &["eth0 is down"]).is_empty());
        assert_eq!(news(Topic::File, &file[..1]), file[..1]);
    }
}
