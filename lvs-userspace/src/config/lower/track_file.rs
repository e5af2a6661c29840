//! `track_file` and `SSL` blocks.

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        model::{InitialValue, SslFiles, TrackFile},
        schema::{Keyword as K, Place},
        source::Span,
        tree::Directive,
    },
    Context, checker, keyword, value,
    values::{self, Values},
};

/// Reads the lines of a small block; nothing if it is none, which is reported.
fn lines(directive: &Directive<'_>, place: Place, sink: &mut Sink) -> Option<Values> {
    let Some(block) = &directive.block else {
        sink.push(values::missing_open(directive));
        return None;
    };
    let mut values = Values::default();
    for child in &block.children {
        match keyword::visit_or_guess(child, place, sink) {
            Ok(entry) => values.read(entry, child, sink),
            Err(guess) => values.guess(guess),
        }
    }
    Some(values)
}

/// The track files of a file.
#[derive(Default)]
pub(super) struct TrackFiles {
    pub(super) all: Vec<TrackFile>,
    heads: Vec<Span>,
}

impl TrackFiles {
    /// Reads a `track_file`.
    pub(super) fn read(&mut self, directive: &Directive<'_>, context: &mut Context<'_>) {
        let line = context.line(directive.keyword.span);
        let sink = &mut *context.sink;
        let args = value::args(directive, 1..=1, "track_file NAME {", sink);
        let Some(values) = lines(directive, Place::TrackFile, sink) else { return };
        let Some(name) = args.and_then(|args| args.first()) else { return };
        let (weight, reverse) = match values.head(K::FileWeight) {
            Some(_) => checker::weight(directive, sink).unwrap_or((1, false)),
            None => (1, false),
        };
        let initial = values.words(K::InitFile).and_then(|words| initial(words, &values, sink));
        let head = directive.head();
        let Some(path) = values.text(K::TrackedPath) else {
            if !values.is_meant(K::TrackedPath) {
                let message = format!(
                    "the track file {} has no `file`, so it is left out",
                    quoted(&name.text)
                );
                sink.push(
                    Diagnostic::new(Code::CheckIncomplete, head, message)
                        .help("add `file \"/path/of/it\"`"),
                );
            }
            return;
        };
        let first = self.all.iter().zip(&self.heads).find(|(known, _)| known.name == name.text);
        if let Some((_, first)) = first {
            let message = format!(
                "the track file {} is there already; this one is left out",
                quoted(&name.text)
            );
            sink.push(
                Diagnostic::new(Code::DuplicateTrackFile, head, message)
                    .also(*first, "first here")
                    .help("give this one another name, or delete it"),
            );
            return;
        }
        let name = name.text.clone().into_owned();
        self.all.push(TrackFile { name, path: path.into(), weight, reverse, initial, line });
        self.heads.push(head);
    }
}

/// `init_file [NUMBER] [overwrite]`.
fn initial(words: &[String], values: &Values, sink: &mut Sink) -> Option<InitialValue> {
    let number = |text: &String| text.parse::<i32>().ok();
    let initial = match words {
        [] => Some((0, false)),
        [word] if word == "overwrite" => Some((0, true)),
        [value] => number(value).map(|value| (value, false)),
        [value, word] if word == "overwrite" => number(value).map(|value| (value, true)),
        _ => None,
    };
    if initial.is_none()
        && let Some(head) = values.head(K::InitFile)
    {
        let message = "this is no value for a file to begin with";
        sink.push(Diagnostic::new(Code::BadText, head, message).help(
            "write `init_file`, `init_file NUMBER`, or one of them with `overwrite` behind it",
        ));
    }
    initial.map(|(value, overwrite)| InitialValue { value, overwrite })
}

/// Reads an `SSL` block.
pub(super) fn ssl(directive: &Directive<'_>, sink: &mut Sink) -> Option<SslFiles> {
    value::args(directive, 0..=0, "SSL {", sink);
    let values = lines(directive, Place::Ssl, sink)?;
    Some(SslFiles {
        password: values.text(K::SslPassword),
        ca: values.text(K::SslCa).map(Into::into),
        certificate: values.text(K::SslCertificate).map(Into::into),
        key: values.text(K::SslKey).map(Into::into),
    })
}
