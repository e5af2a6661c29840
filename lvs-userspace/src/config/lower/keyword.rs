//! What a line's first word is allowed to be, and what to say if it is not.

use super::super::{
    code::Code,
    diag::{Diagnostic, Sink, quoted},
    lex::Word,
    schema::{self, Effect, Entry, Keyword, Meaning, Place},
    suggest,
    tree::Directive,
};

/// What is known about the keyword of a directive in a block of this kind; nothing if it does not belong there, which is
/// reported.
pub(super) fn visit(
    directive: &Directive<'_>,
    place: Place,
    sink: &mut Sink,
) -> Option<&'static Entry> {
    visit_or_guess(directive, place, sink).ok()
}

/// The same, and else the keyword that was probably meant: of that nobody need hear that it is missing.
pub(super) fn visit_or_guess(
    directive: &Directive<'_>,
    place: Place,
    sink: &mut Sink,
) -> Result<&'static Entry, Option<Keyword>> {
    let mut guess = None;
    let word = &directive.keyword;
    let diagnostic = match schema::meaning(place, &word.text) {
        Meaning::Here(entry) => {
            // What stands in a checker's block goes without saying.
            let outer = matches!(
                place,
                Place::Top | Place::VirtualServer | Place::RealServer | Place::GlobalDefs
            );
            if outer && entry.effect != Effect::Acted && entry.keyword != Keyword::Hashed {
                sink.list(Code::NotActedOn, entry.name, word.span);
            }
            if let Some(new) = schema::newer_spelling(entry.name) {
                sink.push(
                    Diagnostic::new(
                        Code::OldSpelling,
                        word.span,
                        format!("{} is an old spelling of `{new}`", quoted(entry.name)),
                    )
                    .help(format!("write `{new}`; both work")),
                );
            }
            return Ok(entry);
        }
        Meaning::Foreign => {
            sink.list(Code::Foreign, &word.text, word.span);
            return Err(None);
        }
        Meaning::Dpvs => Diagnostic::new(
            Code::DpvsKeyword,
            word.span,
            format!("{} is DPVS's, and xlvs has nothing like it; it is skipped", quoted(&word.text)),
        )
        .help("of DPVS's dialect xlvs has `lb_kind FNAT`, `laddr_group_name` and `local_address_group`"),
        Meaning::Elsewhere(home) => Diagnostic::new(
            Code::MisplacedKeyword,
            word.span,
            format!("{} does not belong in {}, and is skipped", quoted(&word.text), place.name()),
        )
        .help(match home {
            Place::Top | Place::VirtualServer | Place::RealServer => {
                format!("it belongs in {}; is a brace misplaced above?", home.name())
            }
            _ => format!("it belongs in {}", home.name()),
        }),
        Meaning::Unknown if sink.only_counts(Code::UnknownKeyword) => {
            sink.count(Code::UnknownKeyword);
            return Err(None);
        }
        Meaning::Unknown => {
            let near = near(word, place);
            guess = near.and_then(|near| schema::find(place, near)).map(|entry| entry.keyword);
            unknown(word, place, near)
        }
    };
    sink.push(diagnostic);
    Err(guess)
}

/// Whether a line may begin with a value; if it is a keyword of another block, that is reported.
pub(super) fn allow_value(directive: &Directive<'_>, place: Place, sink: &mut Sink) -> bool {
    let word = &directive.keyword;
    if matches!(schema::meaning(place, &word.text), Meaning::Unknown) {
        return true;
    }
    visit(directive, place, sink);
    false
}

/// The keyword of a block that is nearest to a word.
fn near(word: &Word<'_>, place: Place) -> Option<&'static str> {
    let known = schema::entries(place).map(|entry| entry.name);
    // keepalived's own blocks are no error at the top level, so they may be meant.
    let foreign = if matches!(place, Place::Top) { schema::foreign() } else { &[] };
    suggest::nearest(&word.text, known.chain(foreign.iter().copied()))
}

fn unknown(word: &Word<'_>, place: Place, near: Option<&str>) -> Diagnostic {
    let message = format!("unknown keyword {} in {}, skipped", quoted(&word.text), place.name());
    let report = Diagnostic::new(Code::UnknownKeyword, word.span, message);
    let known = || schema::entries(place).map(|entry| entry.name);
    report.help(match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => match known().count() {
            0..=8 => format!("known here: `{}`", known().collect::<Vec<_>>().join("`, `")),
            _ => "`xlvs config explain KEYWORD` and docs/keywords.md list what there is".to_owned(),
        },
    })
}

/// Reports a block on a keyword that takes none.
pub(super) fn refuse_block(directive: &Directive<'_>, sink: &mut Sink) {
    if let Some(block) = &directive.block {
        let word = quoted(&directive.keyword.text);
        let named = |word: &&Word<'_>| word.text.starts_with(char::is_alphabetic);
        let help = match directive.args.get(1..).and_then(|more| more.last()).filter(named) {
            Some(last) => {
                format!("begin a line of its own with {}, if that is its block", quoted(&last.text))
            }
            None => "delete the `{` and its `}`".to_owned(),
        };
        sink.push(
            Diagnostic::new(Code::UnexpectedOpen, block.open, format!("{word} takes no block"))
                .help(help),
        );
    }
}
