//! `local_address_group` blocks: where full NAT lets connections to the servers come from.

use std::{
    collections::{BTreeMap, HashMap, btree_map, hash_map},
    net::IpAddr,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        schema::Place,
        source::Span,
        suggest,
        tree::Directive,
    },
    keyword,
    range::Range,
    value,
};

/// As many local addresses as the data path takes for one service.
const ADDRESSES: usize = 256;

/// The name of a group, where a service uses it.
#[derive(Clone)]
pub(super) struct Named {
    name: String,
    span: Span,
}

impl Named {
    pub(super) fn new(word: &Word<'_>) -> Self {
        Self { name: word.text.clone().into_owned(), span: word.span }
    }
}

/// The groups of a file.
#[derive(Default)]
pub(super) struct Groups {
    groups: BTreeMap<String, Group>,
    /// The name of one could not be read; it may be any that is used.
    nameless: bool,
}

/// One group, its addresses in the order of the file, each once, with the line that it comes from.
struct Group {
    head: Span,
    addresses: Vec<(IpAddr, Span)>,
}

impl Groups {
    /// Reads a group.
    pub(super) fn read(&mut self, directive: &Directive<'_>, sink: &mut Sink) {
        let usage = "local_address_group NAME {";
        let name = value::args(directive, 1..=1, usage, sink).and_then(|args| args.first());
        let group = Group { head: directive.head(), addresses: addresses(directive, sink) };
        let Some(name) = name else {
            self.nameless = true;
            return;
        };
        match self.groups.entry(name.text.clone().into_owned()) {
            btree_map::Entry::Vacant(free) => {
                free.insert(group);
            }
            btree_map::Entry::Occupied(first) => {
                let message = format!("the group {} is there already", quoted(&name.text));
                sink.push(
                    Diagnostic::new(Code::DuplicateGroup, group.head, message)
                        .also(first.get().head, "first here")
                        .help(
                            "put all addresses into one of the two, or give this one another name",
                        ),
                );
            }
        }
    }

    /// The addresses for a service; none if something is wrong, which is reported.
    pub(super) fn of(
        &self,
        named: &Named,
        service: Option<(IpAddr, Span)>,
        sink: &mut Sink,
    ) -> Vec<IpAddr> {
        let Some(group) = self.groups.get(&named.name) else {
            if !self.nameless {
                sink.push(self.unknown(named));
            }
            return Vec::new();
        };
        let wrong = service.and_then(|(service, _)| {
            let mut addresses = group.addresses.iter();
            Some((service, addresses.find(|(address, _)| address.is_ipv4() != service.is_ipv4())?))
        });
        if let Some((service, (address, line))) = wrong {
            let what = format!("the local address {address}");
            let report = value::wrong_family(named.span, &what, *address, service);
            sink.push(report.also(*line, "the address"));
            return Vec::new();
        }
        group.addresses.iter().map(|(address, _)| *address).collect()
    }

    fn unknown(&self, used: &Named) -> Diagnostic {
        let name = quoted(&used.name);
        let names = self.groups.keys().map(String::as_str);
        let help = match suggest::nearest(&used.name, names) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("add {}", quoted(&format!("local_address_group {} {{", used.name))),
        };
        Diagnostic::new(
            Code::UnknownGroup,
            used.span,
            format!("there is no local address group {name}"),
        )
        .help(help)
    }
}

/// What stands in the block.
fn addresses(directive: &Directive<'_>, sink: &mut Sink) -> Vec<(IpAddr, Span)> {
    // Without a block, that is the error, and it has been reported.
    let Some(block) = &directive.block else { return Vec::new() };
    if block.children.is_empty() {
        sink.push(
            Diagnostic::new(
                Code::EmptyGroup,
                directive.head(),
                "no addresses in this local address group",
            )
            .help("write each address on a line of its own, or delete the group and its uses: full NAT then takes the address of the interface towards the server"),
        );
    }
    let mut all = Vec::new();
    let mut lines: HashMap<IpAddr, Span> = HashMap::new();
    let mut full = false;
    for child in &block.children {
        let Some(range) = entry(child, sink) else { continue };
        let head = child.head();
        let mut twice = None;
        for address in range {
            match lines.entry(address) {
                hash_map::Entry::Occupied(first) => {
                    twice = twice.or(Some((address, *first.get())));
                }
                hash_map::Entry::Vacant(_) if all.len() == ADDRESSES => {
                    if !full {
                        sink.push(too_many(head));
                    }
                    full = true;
                    break;
                }
                hash_map::Entry::Vacant(free) => {
                    free.insert(head);
                    all.push((address, head));
                }
            }
        }
        if let Some((address, first)) = twice {
            let message = format!("the local address {address} is in this group already");
            sink.push(
                Diagnostic::new(Code::DuplicateLocalAddress, head, message)
                    .also(first, "first here")
                    .help("it is used once; take it out of one of the two"),
            );
        }
    }
    all
}

/// One line: an address or a range.
fn entry(child: &Directive<'_>, sink: &mut Sink) -> Option<Range> {
    if !keyword::allow_value(child, Place::LocalAddressGroup, sink) {
        return None;
    }
    keyword::refuse_block(child, sink);
    let mut clean = true;
    for word in &child.args {
        clean &= !keyword::refuse_preprocessor(word, sink);
    }
    if let (true, Some(first)) = (clean, child.args.first()) {
        sink.push(behind(first, child));
        clean = false;
    }
    clean.then(|| Range::read(&child.keyword, sink)).flatten()
}

/// Says what is wrong with words behind an address.
fn behind(first: &Word<'_>, child: &Directive<'_>) -> Diagnostic {
    let address = first.text.split('-').any(|part| part.parse::<IpAddr>().is_ok());
    if child.args.len() == 1 && !address {
        let message =
            "DPVS knows an interface behind a local address, this version of xlvs does not";
        return Diagnostic::new(Code::ValueNotYet, first.span, message)
            .help("leave it out: the route to the server decides");
    }
    let end = Span::new(child.head().end, child.head().end);
    Diagnostic::new(
        Code::ExtraArgument,
        first.span.to(end),
        "more than one address or range on this line",
    )
    .help("write each on a line of its own")
}

fn too_many(head: Span) -> Diagnostic {
    let message = format!("more than {ADDRESSES} addresses in one local address group");
    Diagnostic::new(Code::TooManyLocalAddresses, head, message)
        .label("the first one too many")
        .help("delete some; each is good for tens of thousands of connections to each server")
}
