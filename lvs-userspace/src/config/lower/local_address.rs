//! `local_address_group` blocks: where full NAT lets connections to the servers come from.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use super::{
    super::{
        addresses::AddressRange,
        code::Code,
        diag::{Diagnostic, Sink},
        lex::Word,
        model::Family,
        schema::Place,
        source::Span,
        tree::Directive,
    },
    keyword,
    named::{Groups, Named},
    range, value,
};

/// As many local addresses as the data path takes for one service.
const ADDRESSES: usize = 256;

/// The addresses of a group in the order of the file, each once, with the line that it comes from.
pub(super) type Addresses = Vec<(IpAddr, Span)>;

/// The addresses for a service; none if something is wrong, which is reported.
pub(super) fn of_service(
    groups: &Groups<Addresses>,
    named: &Named,
    service: Option<(&str, Family)>,
    sink: &mut Sink,
) -> Vec<IpAddr> {
    let Some(group) = groups.get(named, sink) else { return Vec::new() };
    let wrong = service.and_then(|(name, family)| {
        let mut addresses = group.iter();
        let (address, line) = addresses.find(|(address, _)| Family::of(*address) != family)?;
        let what = format!("the local address {address}");
        let report = value::wrong_family(named.span, &what, Family::of(*address), name, family);
        Some(report.also(*line, "the address"))
    });
    if let Some(report) = wrong {
        sink.push(report);
        return Vec::new();
    }
    group.iter().map(|(address, _)| *address).collect()
}

/// What stands in the block.
pub(super) fn read(directive: &Directive<'_>, sink: &mut Sink) -> Addresses {
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
        for address in range.iter() {
            match lines.entry(address) {
                Entry::Occupied(first) => {
                    twice = twice.or(Some((address, *first.get())));
                }
                Entry::Vacant(_) if all.len() == ADDRESSES => {
                    if !full {
                        sink.push(too_many(head));
                    }
                    full = true;
                    break;
                }
                Entry::Vacant(free) => {
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
fn entry(child: &Directive<'_>, sink: &mut Sink) -> Option<AddressRange> {
    if !keyword::allow_value(child, Place::LocalAddressGroup, sink) {
        return None;
    }
    keyword::refuse_block(child, sink);
    if let Some(first) = child.args.first() {
        sink.push(behind(first, child));
        return None;
    }
    range::by_last_part(&child.keyword, sink)
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
    let end = Span::new(child.head().end(), child.head().end());
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
