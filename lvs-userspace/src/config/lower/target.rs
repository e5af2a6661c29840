//! What a `virtual_server` is for: an address, a firewall mark, or a group of these.

use std::{net::IpAddr, rc::Rc};

use super::{
    super::{
        addresses::AddressRange,
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{Family, Target},
        source::Span,
        tree::Directive,
    },
    named::{Groups, Named},
    number, value,
};

/// What stands in the head of a `virtual_server`.
pub(super) struct Subject {
    /// As in "the service {}".
    pub(super) name: String,
    pub(super) targets: Rc<Targets>,
    /// The address and port, if it is one address.
    pub(super) address: Option<(IpAddr, u16)>,
    /// The group's name, if it is one.
    pub(super) group: Option<String>,
}

impl Subject {
    /// Whether there is nothing but marks.
    pub(super) fn is_mark(&self) -> bool {
        self.targets.count > 0 && !self.targets.addresses
    }

    /// Reads the head.
    pub(super) fn read(
        directive: &Directive<'_>,
        groups: &Groups<Rc<Targets>>,
        sink: &mut Sink,
    ) -> Option<Self> {
        let head = directive.head();
        match directive.args.first().map(|word| &*word.text) {
            Some("fwmark") => {
                let args = value::args(directive, 2..=2, "virtual_server fwmark NUMBER {", sink)?;
                let number = mark(args.last()?, sink)?;
                let mut targets = Targets::default();
                targets.push(Member::Mark(number, None), head);
                let name = Target::Mark(number).to_string();
                Some(Self { name, targets: Rc::new(targets), address: None, group: None })
            }
            Some("group") => {
                let args = value::args(directive, 2..=2, "virtual_server group NAME {", sink)?;
                let named = Named::new(args.last()?);
                let targets = Rc::clone(groups.get(&named, sink)?);
                let name = format!("group {}", quoted(&named.name));
                Some(Self { name, targets, address: None, group: Some(named.name) })
            }
            _ => {
                let (address, port) = value::endpoint(directive, sink)?;
                let mut targets = Targets::default();
                targets.push(Member::Addresses(AddressRange::one(address), port), head);
                let name = address.to_string();
                Some(Self {
                    name,
                    targets: Rc::new(targets),
                    address: Some((address, port)),
                    group: None,
                })
            }
        }
    }
}

/// Whether a head names a mark, right or wrong.
pub(super) fn is_mark(directive: &Directive<'_>) -> bool {
    directive.args.first().is_some_and(|word| word.text == "fwmark")
}

/// A firewall mark. 0 is that of packets without one.
pub(super) fn mark(word: &Word<'_>, sink: &mut Sink) -> Option<u32> {
    let number = number::digits(&word.text).and_then(|mark| u32::try_from(mark).ok());
    let mark = number.filter(|mark| *mark > 0);
    if mark.is_none() {
        let message = format!("{} is not a firewall mark", quoted(&word.text));
        sink.push(
            Diagnostic::new(Code::BadMark, word.span, message)
                .help(format!("a mark is a decimal number from 1 to {}", u32::MAX)),
        );
    }
    mark
}

/// One line of a group, or the head of a service without one.
#[derive(Clone, Copy)]
pub(super) enum Member {
    /// Each of the addresses with the port; 0 stands for all ports.
    Addresses(AddressRange, u16),
    /// A mark, of one family if one is named.
    Mark(u32, Option<Family>),
}

impl Member {
    const fn family(&self) -> Option<Family> {
        match self {
            Self::Addresses(range, _) => Some(range.family()),
            Self::Mark(_, family) => *family,
        }
    }
}

/// All that one service is for, with the lines that it comes from.
#[derive(Default)]
pub(super) struct Targets {
    members: Vec<(Member, Span)>,
    count: usize,
    addresses: bool,
    all_ports: Option<Span>,
    ipv4: Option<usize>,
    ipv6: Option<usize>,
}

impl Targets {
    pub(super) fn push(&mut self, member: Member, line: Span) {
        let count = match member {
            Member::Addresses(range, port) => {
                self.addresses = true;
                if port == 0 {
                    self.all_ports = self.all_ports.or(Some(line));
                }
                range.count()
            }
            Member::Mark(..) => 1,
        };
        self.count = self.count.saturating_add(count);
        let first = match member.family() {
            Some(Family::Ipv4) => &mut self.ipv4,
            Some(Family::Ipv6) => &mut self.ipv6,
            None => &mut None,
        };
        *first = first.or(Some(self.members.len()));
        self.members.push((member, line));
    }

    /// How many services they make.
    pub(super) const fn count(&self) -> usize {
        self.count
    }

    /// Whether there are firewall marks among them.
    pub(super) fn has_marks(&self) -> bool {
        self.members.iter().any(|(member, _)| matches!(member, Member::Mark(..)))
    }

    /// The first line that stands for all ports of its addresses.
    pub(super) const fn all_ports(&self) -> Option<Span> {
        self.all_ports
    }

    /// The first line of a family, as in "{} is IPv6".
    pub(super) fn first_of(&self, family: Family) -> Option<(String, Span)> {
        let first = match family {
            Family::Ipv4 => self.ipv4,
            Family::Ipv6 => self.ipv6,
        };
        let (member, line) = self.members.get(first?)?;
        let what = match member {
            Member::Addresses(range, _) => format!("the address {} of its group", range.first()),
            Member::Mark(mark, _) => format!("fwmark {mark} of its group"),
        };
        Some((what, *line))
    }

    /// One after the other; check the number first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Target, Span)> {
        self.members.iter().flat_map(|(member, line)| {
            let (range, port, mark) = match *member {
                Member::Addresses(range, port) => (Some(range), port, None),
                Member::Mark(mark, _) => (None, 0, Some(Target::Mark(mark))),
            };
            let addresses = range.into_iter().flat_map(|range| range.iter());
            let targets = addresses.map(move |address| Target::Address { address, port });
            targets.chain(mark).map(|target| (target, *line))
        })
    }
}
