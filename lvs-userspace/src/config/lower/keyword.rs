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
    if let Some(feature) = preprocessor(&word.text) {
        sink.push(preprocessor_not_yet(word, feature));
        return None;
    }
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

/// Whether a line may begin with a value; if it is a keyword of another block or the preprocessor's, that is reported.
pub(super) fn allow_value(directive: &Directive<'_>, place: Place, sink: &mut Sink) -> bool {
    let word = &directive.keyword;
    if preprocessor(&word.text).is_none() && schema::meaning(place, &word.text) == Meaning::Unknown
    {
        return !refuse_preprocessor(word, sink);
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

/// Reports a use of keepalived's preprocessor in an argument.
pub(super) fn refuse_preprocessor(word: &Word<'_>, sink: &mut Sink) -> bool {
    let variable = word.text.match_indices('$').any(|(at, _)| {
        let next = word.text.as_bytes().get(at + 1);
        next.is_some_and(|c| *c == b'{' || *c == b'_' || c.is_ascii_alphabetic())
    });
    if variable {
        sink.push(preprocessor_not_yet(word, "variables (`$NAME`)"));
    }
    variable
}

fn preprocessor(word: &str) -> Option<&'static str> {
    match word {
        "include" | "includer" | "includem" | "includew" | "includeb" | "includea" => {
            Some("included files")
        }
        _ if word.starts_with('$') => Some("variables (`$NAME`)"),
        _ if word.starts_with('@') => Some("conditional lines (`@ID`)"),
        _ if word.starts_with("~SEQ") || word.starts_with("~LST") => {
            Some("line sequences (`~SEQ`, `~LST`)")
        }
        _ => None,
    }
}

fn preprocessor_not_yet(word: &Word<'_>, feature: &str) -> Diagnostic {
    Diagnostic::new(Code::PreprocessorNotYet, word.span, not_yet(feature))
        .help("write the text out in this file")
}
