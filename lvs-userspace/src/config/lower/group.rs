//! `virtual_server_group` blocks: addresses and marks that share one `virtual_server`.

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        lex::Word,
        schema::Place,
        source::Span,
        tree::Directive,
    },
    family::FAMILY,
    keyword, number, range,
    target::{self, Member, Targets},
    value,
};

/// Reads what stands in the block.
pub(super) fn read(directive: &Directive<'_>, sink: &mut Sink) -> Targets {
    let mut targets = Targets::default();
    // Without a block, that is the error, and it has been reported.
    let Some(block) = &directive.block else { return targets };
    if block.children.is_empty() {
        sink.push(
            Diagnostic::new(
                Code::EmptyGroup,
                directive.head(),
                "no addresses in this virtual server group",
            )
            .help("write `ADDRESS PORT` or `fwmark NUMBER` on a line of its own for each"),
        );
    }
    for child in &block.children {
        if let Some(member) = member(child, sink) {
            targets.push(member, child.head());
        }
    }
    targets
}

fn member(child: &Directive<'_>, sink: &mut Sink) -> Option<Member> {
    if child.keyword.text == "fwmark" {
        keyword::refuse_block(child, sink);
        let args = value::args(child, 1..=2, "fwmark NUMBER [inet|inet6]", sink)?;
        let mark = target::mark(args.first()?, sink);
        let family = match args.get(1) {
            Some(word) => Some(FAMILY.pick(word, sink)?),
            None => None,
        };
        return Some(Member::Mark(mark?, family));
    }
    if !keyword::allow_value(child, Place::VirtualServerGroup, sink) {
        return None;
    }
    let args = words_behind(child, 1, "ADDRESSES PORT", sink)?;
    let range = range::any(&child.keyword, sink);
    let port = args.first().map_or(Some(0), |word| number::port(word, sink));
    Some(Member::Addresses(range?, port?))
}

/// The words behind a value that a line begins with, if they are not too many.
pub(super) fn words_behind<'d, 's>(
    child: &'d Directive<'s>,
    most: usize,
    usage: &str,
    sink: &mut Sink,
) -> Option<&'d [Word<'s>]> {
    keyword::refuse_block(child, sink);
    if let Some(first) = child.args.get(most) {
        let end = child.head().end();
        let span = first.span.to(Span::new(end, end));
        sink.push(
            Diagnostic::new(Code::ExtraArgument, span, "more on this line than belongs there")
                .help(format!("write `{usage}`, each on a line of its own")),
        );
        return None;
    }
    Some(&child.args)
}
