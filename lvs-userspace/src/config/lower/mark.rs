//! `fwmark_match` blocks: which packets carry a firewall mark. XDP sees no marks of nftables, so the file says it.

use std::{
    collections::{BTreeMap, HashMap, HashSet, hash_map::Entry},
    net::IpAddr,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{Family, MarkMatch, Protocol, Target},
        schema::Place,
        source::Span,
        tree::Directive,
    },
    Context, group, keyword, number, range,
    services::Services,
    target, value,
};

/// As many pairs of address and port, for each protocol, as the data path's table holds.
const KEYS: usize = 65_536;

static MARKED: value::Choice<Protocol> = value::Choice {
    what: "protocol",
    understood: &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)],
    any_case: true,
};

const USAGE: &str = "ADDRESSES PORTS [TCP|UDP]";

/// All that is marked, of all blocks of a file.
#[derive(Default)]
pub(super) struct Marks {
    matches: Vec<(MarkMatch, Span)>,
    /// The first line of each mark and family.
    lines: BTreeMap<(u32, Family), Span>,
    keys: HashMap<(IpAddr, u16, Protocol), (u32, Span)>,
    count: usize,
}

impl Marks {
    /// Reads a block. There may be several for a mark.
    pub(super) fn read(&mut self, directive: &Directive<'_>, context: &mut Context<'_>) {
        let args = value::args(directive, 1..=1, "fwmark_match NUMBER {", context.sink);
        let mark = args.and_then(|args| target::mark(args.first()?, context.sink));
        let Some(block) = &directive.block else { return };
        if block.children.is_empty() {
            context.sink.push(
                Diagnostic::new(
                    Code::EmptyGroup,
                    directive.head(),
                    "no addresses in this `fwmark_match`",
                )
                .help(format!("write `{USAGE}` on a line of its own for each, or delete it")),
            );
        }
        for child in &block.children {
            if let Some((mark, line)) = mark.zip(line(child, mark, context)) {
                self.add(MarkMatch { mark, ..line }, child.head(), context.sink);
            }
        }
    }

    fn add(&mut self, added: MarkMatch, line: Span, sink: &mut Sink) {
        let before = self.count;
        self.count = before.saturating_add(added.count());
        if self.count > KEYS {
            if before <= KEYS {
                let message = format!(
                    "more than {KEYS} addresses with their ports and protocols have firewall marks"
                );
                sink.push(
                    Diagnostic::new(Code::TooMany, line, message)
                        .label("the first one too many")
                        .help("name fewer ports, or one protocol; each address counts with each of them"),
                );
            }
            return;
        }
        self.lines.entry((added.mark, added.addresses.family())).or_insert(line);
        let mut twice = None;
        for key in added.keys() {
            match self.keys.entry(key) {
                Entry::Vacant(free) => {
                    free.insert((added.mark, line));
                }
                Entry::Occupied(first) => twice = twice.or(Some((key, *first.get()))),
            }
        }
        if let Some(((address, port, protocol), (mark, first))) = twice {
            let message = format!("{address} port {port} {protocol} has the mark {mark} already");
            sink.push(
                Diagnostic::new(Code::MarkedTwice, line, message)
                    .also(first, "first here")
                    .help("the first one counts; take it out of one of the two"),
            );
        }
        self.matches.push((added, line));
    }

    /// Says where marks and services do not fit together. IPVS looks for a service of the mark first.
    pub(super) fn check(&self, services: &Services, sink: &mut Sink) {
        let mut wanted = HashSet::new();
        for (service, line) in services.iter() {
            let Target::Mark(mark) = service.target else { continue };
            let family = service.family;
            wanted.insert((mark, family));
            if service.is_balanced() && !self.lines.contains_key(&(mark, family)) {
                let message =
                    format!("nothing in this file gives {family} packets the mark {mark}");
                sink.push(
                    Diagnostic::new(Code::MarkNeverSet, line, message).help(format!(
                        "add `fwmark_match {mark} {{`; without it the service is reached in tc mode only, by packets that were marked below the interface"
                    )),
                );
            }
        }
        for ((mark, family), line) in &self.lines {
            if !wanted.contains(&(*mark, *family)) {
                let message = format!("no {family} service is for the mark {mark}");
                sink.push(
                    Diagnostic::new(Code::MarkUnused, *line, message)
                        .help(format!("add `virtual_server fwmark {mark} {{`, or delete the line")),
                );
            }
        }
        self.check_hidden(services, &wanted, sink);
    }

    fn check_hidden(&self, services: &Services, wanted: &HashSet<(u32, Family)>, sink: &mut Sink) {
        let goes_first = |mark, family| wanted.contains(&(mark, family));
        let mut any_port = HashMap::new();
        for (marked, line) in &self.matches {
            if goes_first(marked.mark, marked.addresses.family()) {
                for (address, _, protocol) in marked.keys() {
                    any_port.entry((address, protocol)).or_insert((marked.mark, *line));
                }
            }
        }
        for (service, line) in services.iter() {
            let (Target::Address { address, port }, Some(protocol)) =
                (service.target, service.protocol)
            else {
                continue;
            };
            let found = match port {
                0 => any_port.get(&(address, protocol)),
                _ => self.keys.get(&(address, port, protocol)),
            };
            let Some((mark, marked)) = found else { continue };
            if !goes_first(*mark, Family::of(address)) {
                continue;
            }
            let what = if port == 0 { "some packets" } else { "all packets" };
            let message = format!("{what} to this service go to that of the mark {mark} instead");
            sink.push(
                Diagnostic::new(Code::MarkGoesFirst, line, message)
                    .also(*marked, "they are marked here")
                    .help("as in IPVS, a mark goes before address and port; delete one of the two"),
            );
        }
    }

    /// Those read so far.
    pub(super) fn iter(&self) -> impl Iterator<Item = &MarkMatch> {
        self.matches.iter().map(|(line, _)| line)
    }

    pub(super) fn finish(self) -> Vec<MarkMatch> {
        self.matches.into_iter().map(|(line, _)| line).collect()
    }
}

/// One line; the mark is that of its block, if it could be read.
fn line(child: &Directive<'_>, mark: Option<u32>, context: &mut Context<'_>) -> Option<MarkMatch> {
    let sink = &mut *context.sink;
    if !keyword::allow_value(child, Place::FwmarkMatch, sink) {
        return None;
    }
    let args = group::words_behind(child, 2, USAGE, sink)?;
    let addresses = range::any(&child.keyword, sink);
    let ports = args.first().map(|word| ports(word, sink));
    // With the address already refused this would be a second error for one slip.
    if ports.is_none() && addresses.is_some() {
        let end = child.head().end();
        sink.push(value::missing_argument(&child.keyword.text, end, USAGE));
    }
    let protocol = match args.get(1) {
        Some(word) => Some(MARKED.pick(word, sink)?),
        None => None,
    };
    let (first_port, last_port) = ports??;
    let line = context.line(child.keyword.span);
    Some(MarkMatch { mark: mark?, addresses: addresses?, first_port, last_port, protocol, line })
}

/// A port, or two with `-` between them.
fn ports(word: &Word<'_>, sink: &mut Sink) -> Option<(u16, u16)> {
    let (first, last) = word.text.split_once('-').unwrap_or((&word.text, &word.text));
    let number = |text| number::digits(text).and_then(|number| u16::try_from(number).ok());
    let ports = number(first).zip(number(last)).filter(|(first, last)| 0 < *first && first <= last);
    if ports.is_none() {
        let message = format!("{} is neither a port nor a range of ports", quoted(&word.text));
        sink.push(
            Diagnostic::new(Code::BadPort, word.span, message)
                .help("write a number from 1 to 65535, or two, such as `8000-8080`"),
        );
    }
    ports
}
