//! A configuration as text that means the same: with all defaults and corrections written out.

mod checker;
mod global;
mod service;

#[cfg(test)]
mod tests;

use std::{fmt::Write as _, time::Duration};

use super::{
    model::{Config, MarkMatch, Protocol, RealServer, VirtualServer},
    quote,
};

/// The configuration in keepalived's language. Parsed again it gives the same, but for the numbers of lines.
#[must_use]
pub fn show(config: &Config) -> String {
    let mut out = Text::default();
    global::write(config, &mut out);
    service::write(&config.services, &mut out);
    let mut marks = config.marks.as_slice();
    while let Some(first) = marks.first() {
        let same = marks.iter().take_while(|line| line.mark == first.mark).count();
        let (block, rest) = marks.split_at(same);
        out.block(&format!("fwmark_match {}", first.mark), |out| {
            for line in block {
                out.line(&marked(line));
            }
        });
        marks = rest;
    }
    out.text
}

/// The lines of a service alone: without its real servers, and without the name that [`show`] gives its local addresses.
pub(super) fn service_alone(service: &VirtualServer) -> String {
    let mut out = Text::default();
    service::alone(service, std::slice::from_ref(service), None, &mut out);
    out.text
}

/// The lines in the block of a real server.
pub(super) fn real_server_alone(server: &RealServer, service: &VirtualServer) -> String {
    let mut out = Text::default();
    service::real_server_alone(server, service, &mut out);
    out.text
}

fn marked(line: &MarkMatch) -> String {
    let ports = match (line.first_port, line.last_port) {
        (first, last) if first == last => first.to_string(),
        (first, last) => format!("{first}-{last}"),
    };
    let protocol = match line.protocol {
        Some(Protocol::Udp) => " UDP",
        Some(_) => " TCP",
        None => "",
    };
    format!("{} {ports}{protocol}", line.addresses)
}

/// Lines with their indentation.
#[derive(Debug, Default)]
struct Text {
    text: String,
    depth: usize,
}

impl Text {
    fn line(&mut self, line: &str) {
        let _always_fits = writeln!(self.text, "{:1$}{line}", "", self.depth * 4);
    }

    fn block(&mut self, head: &str, content: impl FnOnce(&mut Self)) {
        if self.depth == 0 && !self.text.is_empty() {
            self.text.push('\n');
        }
        self.line(&format!("{head} {{"));
        self.depth += 1;
        content(self);
        self.depth -= 1;
        self.line("}");
    }

    /// A keyword alone, if it is on.
    fn flag(&mut self, keyword: &str, on: bool) {
        if on {
            self.line(keyword);
        }
    }

    /// A keyword with a word behind it, if there is one.
    fn word(&mut self, keyword: &str, word: Option<&str>) {
        if let Some(word) = word {
            self.line(&format!("{keyword} {}", quote::plain(word)));
        }
    }

    fn truth(&mut self, keyword: &str, on: bool) {
        self.line(&format!("{keyword} {}", if on { "on" } else { "off" }));
    }

    fn time(&mut self, keyword: &str, time: Duration) {
        self.line(&format!("{keyword} {}", seconds(time)));
    }
}

/// To the microsecond.
fn seconds(time: Duration) -> String {
    let text = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
