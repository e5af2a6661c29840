//! What the preprocessor has to say, each thing once for each place.

use std::{io, path::Path};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, quoted},
        lex::LINE_LIMIT,
        read,
        source::{Place, WayId, Why},
        suggest,
    },
    Evaluator,
    include::Checks,
    line::Line,
    variables::{Reference, loose},
};

/// What there can be too much of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    Bytes,
    Steps,
    Files,
    Depth,
}

impl Evaluator<'_> {
    /// Takes a diagnostic about a place in the files, and says how what stands there has come into its line.
    fn report(&mut self, mut diagnostic: Diagnostic, place: Place, way: Option<WayId>) {
        if !self.reported.insert(place) {
            return;
        }
        for way in self.source.ways(way).filter(|way| way.why != Why::Included) {
            diagnostic = diagnostic.also(way.place.span(), way.why.to_string());
        }
        self.sink.push(diagnostic);
    }

    /// Stops it all.
    pub(super) fn too_much(&mut self, place: Place, bound: Bound) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let message = match bound {
            Bound::Bytes => {
                format!(
                    "the configuration becomes larger than {} MiB here",
                    self.bounds.bytes >> 20
                )
            }
            Bound::Steps => format!(
                "the configuration takes more than {} steps to expand; this is where it stops",
                self.bounds.steps
            ),
            Bound::Files => format!("more than {} files are included", self.bounds.files),
            Bound::Depth => format!(
                "more than {} files, definitions and sequences inside each other",
                self.bounds.depth
            ),
        };
        let report = Diagnostic::new(Code::TooMuch, place.span(), message)
            .help("nothing after this is read; does it include or repeat more than you meant?");
        self.report(report, place, None);
    }

    pub(super) fn empty_condition(&mut self, line: &Line) {
        let place = line.place(0, line.len());
        let message = format!("nothing follows the condition {}", quoted(line.text()));
        let report = Diagnostic::new(Code::EmptyCondition, place.span(), message)
            .help("it holds for the rest of its own line only, and a blank must follow the ID");
        self.report(report, place, line.way(0));
    }

    pub(super) fn bad_definition(&mut self, line: &Line, help: &str) {
        let place = line.place(0, line.text().find('=').map_or(line.len(), |at| at + 1));
        let message = "this is not how a variable is defined";
        let report = Diagnostic::new(Code::BadDefinition, place.span(), message)
            .help(format!("{help}: `$NAME=VALUE`"));
        self.report(report, place, line.way(0));
    }

    pub(super) fn bad_sequence(&mut self, line: &Line, reason: &str) {
        let end = line.text().find(')').map_or(line.len(), |at| at + 1);
        let place = line.place(0, end);
        let form = if line.text().starts_with("~S") {
            "`~SEQ(NAME, FIRST, STEP, LAST) LINE`, FIRST and STEP may be left out"
        } else {
            "`~LST(NAME, VALUE, VALUE) LINE`, or `~LST({NAME, NAME}, {VALUE, VALUE}) LINE`"
        };
        let message = format!("not a sequence: {reason}");
        let report =
            Diagnostic::new(Code::BadSequence, place.span(), message).help(format!("write {form}"));
        self.report(report, place, line.way(0));
    }

    pub(super) fn bad_parameters(&mut self, place: Place, name: &str, help: &str) {
        let message = format!("`${{{name}}}` cannot be used like this");
        let report =
            Diagnostic::new(Code::BadParameters, place.span(), message).help(help.to_owned());
        self.report(report, place, None);
    }

    pub(super) fn not_in_environment(&mut self, place: Place, name: &str) {
        let message = format!(
            "the environment has no variable {}, so that nothing stands here",
            quoted(name)
        );
        let report = Diagnostic::new(Code::NotInEnvironment, place.span(), message)
            .help("a service has an environment of its own; with systemd, see `Environment=`");
        self.report(report, place, None);
    }

    pub(super) fn inside_itself(&mut self, place: Place, line: &Line, at: usize, name: &str) {
        let message = format!("the value of `${name}` holds `${name}` again, and so without end");
        let report = Diagnostic::new(Code::VariableInItself, place.span(), message).help(
            "values are put in when a name is used, not when it is defined; use a further name",
        );
        self.report(report, place, line.way(at));
    }

    pub(super) fn expanded_too_long(&mut self, place: Place, line: &Line, at: usize) {
        let message = format!("with this value the line is longer than {LINE_LIMIT} bytes");
        let report = Diagnostic::new(Code::ExpandedTooLong, place.span(), message).help(
            "keepalived leaves such lines as they are; a definition can have several lines, each ending with `\\`",
        );
        self.report(report, place, line.way(at));
    }

    pub(super) fn comment_from_variable(&mut self, place: Place, line: &Line) {
        let message = "a comment begins here, once variables are replaced";
        let report = Diagnostic::new(Code::CommentFromVariable, place.span(), message)
            .help("to have the character itself, put it between quotes");
        self.report(report, place, line.way(line.len()));
    }

    pub(super) fn include_refused(&mut self, line: &Line) {
        let place = line.place(0, line.len());
        let message = "an `include` cannot depend on anything, nor stand behind anything";
        let report = Diagnostic::new(Code::IncludeRefused, place.span(), message).help(
            "keepalived would read the file twice; give it a line of its own, and put conditions into the file",
        );
        self.report(report, place, line.way(0));
    }

    /// Reports an `include` that names nothing; whether it was one.
    pub(super) fn include_without_pattern(&mut self, line: &Line) -> bool {
        let bare = matches!(
            line.text(),
            "include" | "includer" | "includem" | "includew" | "includeb" | "includea"
        );
        if bare {
            let place = line.place(0, line.len());
            let message = format!("{} needs a path", quoted(line.text()));
            let report = Diagnostic::new(Code::MissingArgument, place.span(), message)
                .help("write `include FILE`; FILE may have `*`, `?`, `[…]` and `{…,…}`");
            self.report(report, place, line.way(0));
        }
        bare
    }

    /// Something that an `include` names is not there. Without wildcards that is worth a warning at least.
    pub(super) fn not_there(
        &mut self,
        place: Place,
        path: &Path,
        pattern: &str,
        check: Checks,
        checks: Checks,
    ) {
        let asked = checks.has(check);
        if check == Checks::WILDCARD && !asked {
            return;
        }
        let path = path.display().to_string();
        let message = match check {
            Checks::WILDCARD => format!("no file matches {}", quoted(&path)),
            _ => format!("there is no {}", quoted(&path)),
        };
        let help = if pattern.contains('"') {
            "write the path without quotes"
        } else if pattern.trim().contains(char::is_whitespace) {
            "one path stands on a line; `{…,…}` names several files"
        } else {
            "paths are relative to the folder of the file that includes"
        };
        let report = Diagnostic::new(include_code(asked), place.span(), message).help(help);
        self.report(report, place, None);
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(&mut self, place: Place, path: &Path, error: &io::Error, asked: bool) {
        let path = quoted(&path.display().to_string());
        let message = format!("{path} is not included: {}", read::advice(error));
        let report = Diagnostic::new(include_code(asked), place.span(), message);
        let help = "it is left out, as in keepalived; `includer` makes this an error";
        let report = report.maybe_help((!asked).then(|| help.to_owned()));
        self.report(report, place, None);
    }

    pub(super) fn includes_itself(&mut self, place: Place, path: &Path) {
        let message = format!("{} includes itself", quoted(&path.display().to_string()));
        let report = Diagnostic::new(Code::IncludesItself, place.span(), message)
            .help("delete this line; keepalived would go on until it has no more files to open");
        self.report(report, place, None);
    }

    /// Looks for variables that are left in text for the parser.
    pub(super) fn check_variables(&mut self, line: &Line) {
        let text = line.text();
        let mut quotes = false;
        for (at, c) in text.bytes().enumerate() {
            quotes ^= c == b'"';
            if c == b'$' {
                self.check_variable(line, at, quotes);
            }
        }
    }

    fn check_variable(&mut self, line: &Line, at: usize, quotes: bool) {
        let text = line.text();
        let braces = text.get(at + 1..).is_some_and(|rest| rest.starts_with('{'));
        let (name, end) = match (Reference::read(text, at), loose(text, at)) {
            (Some(reference), _) => (reference.name, reference.end),
            (None, Some(name)) => (name, at + 1 + name.len()),
            // A `$` that is no more than that.
            (None, None) if !braces || quotes => return,
            (None, None) => {
                let rest = text.get(at..).unwrap_or_default();
                ("", at + rest.find('}').map_or(rest.len(), |end| end + 1))
            }
        };
        let place = line.place(at, end);
        let known = self.variables.get(name).is_some();
        // keepalived leaves alone what it does not know, and scripts may want that.
        if !known && quotes {
            return;
        }
        let shown = text.get(at..end).unwrap_or_default();
        let near = suggest::nearest(name, self.variables.names())
            .map(|near| format!("did you mean `${{{near}}}`?"));
        let (code, message) = match (known, braces) {
            (true, _) => (Code::NotReplaced, format!("{} stays as it is here", quoted(shown))),
            (false, true) => {
                (Code::UndefinedVariable, format!("the variable {} is not defined", quoted(shown)))
            }
            (false, false) => (
                Code::NotReplaced,
                format!("the variable {} is not defined, and stays as it is", quoted(shown)),
            ),
        };
        let help = match (known, near) {
            (true, _) if end < text.len() && Reference::read(text, at).is_some() => {
                "a definition of several lines must stand at the end of the line".to_owned()
            }
            (true, _) => format!("without braces a blank must follow; write `${{{name}}}`"),
            (false, Some(near)) => near,
            (false, None) => {
                format!("define it above, `${}=VALUE`", if name.is_empty() { "NAME" } else { name })
            }
        };
        let report = Diagnostic::new(code, place.span(), message).help(help);
        self.report(report, place, line.way(at));
    }
}

const fn include_code(asked: bool) -> Code {
    if asked { Code::IncludeFailed } else { Code::IncludeSkipped }
}
