//! What a line's first word is allowed to be, and what to say if it is not.

use super::super::{
    code::{Code, Severity},
    diag::{Diagnostic, Sink, quoted},
    lex::Word,
    schema::{self, Keyword, Meaning, Place},
    suggest,
    tree::Directive,
};

/// The keyword of a directive in a block of this kind, if this version acts on it; otherwise the reason is reported.
pub(super) fn visit(directive: &Directive<'_>, place: Place, sink: &mut Sink) -> Option<Keyword> {
    let word = &directive.keyword;
    let diagnostic = match schema::meaning(place, &word.text) {
        Meaning::Keyword(keyword) => return Some(keyword),
        Meaning::NotYet => {
            Diagnostic::new(Code::KeywordNotYet, word.span, not_yet(&quoted(&word.text)))
                .help("give xlvs a file of its own without it, and without its block if it has one")
        }
        Meaning::Elsewhere(home) => Diagnostic::new(
            Code::MisplacedKeyword,
            word.span,
            format!("{} does not belong in {}", quoted(&word.text), place.name()),
        )
        .help(match home {
            Place::GlobalDefs | Place::Checker => format!("it belongs in {}", home.name()),
            _ => format!("it belongs in {}; is a brace misplaced above?", home.name()),
        }),
        Meaning::Unknown => unknown(word, place, sink),
    };
    sink.push(diagnostic);
    None
}

/// Whether a line may begin with a value; if it is a keyword of another block, that is reported.
pub(super) fn allow_value(directive: &Directive<'_>, place: Place, sink: &mut Sink) -> bool {
    let word = &directive.keyword;
    if schema::meaning(place, &word.text) == Meaning::Unknown {
        return true;
    }
    visit(directive, place, sink);
    false
}

fn unknown(word: &Word<'_>, place: Place, sink: &Sink) -> Diagnostic {
    let report = Diagnostic::new(
        Code::UnknownKeyword,
        word.span,
        format!("unknown keyword {} in {}", quoted(&word.text), place.name()),
    );
    if sink.is_full(Severity::Error) {
        return report;
    }
    report.help(match suggest::nearest(&word.text, schema::candidates(place)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("this version knows `{}` here", schema::understood(place).join("`, `")),
    })
}

/// Says that keepalived has more.
pub(super) fn not_yet(form: &str) -> String {
    format!("keepalived knows {form}, this version of xlvs does not yet")
}

/// Reports a block on a keyword that takes none.
pub(super) fn refuse_block(directive: &Directive<'_>, sink: &mut Sink) {
    if let Some(block) = &directive.block {
        let word = quoted(&directive.keyword.text);
        sink.push(
            Diagnostic::new(Code::UnexpectedOpen, block.open, format!("{word} takes no block"))
                .help("delete the `{` and its `}`"),
        );
    }
}
