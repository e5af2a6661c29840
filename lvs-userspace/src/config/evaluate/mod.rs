//! keepalived's preprocessor: included files, variables, conditional lines and sequences, as its `read_line()` has them.
//!
//! Most lines need none of it and are taken over in one piece; a configuration without any is not touched at all. The
//! others become [`Line`]s, which know where each piece of them comes from. Where keepalived looks at a line again,
//! after each brace, so does this: what stands behind a `{` can be a condition, a definition or a sequence of its own.
//!
//! Lines come from a stack of [`Feed`]s: files, definitions of several lines, sequences. Whatever the text says, its
//! work and its result have [`Bounds`]; and nothing can include or contain itself.

mod feed;
mod include;
mod line;
mod problem;
mod sequence;
mod variables;

use std::{collections::HashSet, path::PathBuf, rc::Rc, sync::Arc};

use self::{
    feed::Feed,
    include::Checks,
    line::{BLANKS, Line},
    sequence::Sequence,
    variables::{Header, Predefined, Reference, Value, Variables},
};
use super::{
    diag::Sink,
    lex::LINE_LIMIT,
    source::{Part, Place, Source, WayId, Why},
    surroundings::{Bounds, Surroundings},
};

/// Variables in the values of variables; more than this is no configuration that a person could follow.
const NESTED: usize = 100;

/// Expands a single file.
pub(crate) fn evaluate(source: Source, surroundings: &dyn Surroundings, sink: &mut Sink) -> Source {
    if !has_something(source.raw()) {
        return source;
    }
    let path = PathBuf::from(source.name());
    let place = Place::new(0, source.raw().len());
    let mut evaluator = Evaluator {
        bounds: surroundings.bounds(),
        surroundings,
        source,
        sink,
        text: String::new(),
        parts: Vec::new(),
        feeds: Vec::new(),
        variables: Variables::new(),
        checks: Checks::default(),
        open: None,
        steps: 0,
        files: 0,
        stopped: false,
        reported: HashSet::new(),
    };
    evaluator.push_file(path, place, None);
    evaluator.run();
    evaluator.finish()
}

/// Whether there may be anything to do; this is fast and says yes too often.
fn has_something(text: &str) -> bool {
    text.contains('$') || text.contains('@') || text.contains('~') || text.contains("include")
}

/// Whether a line of a file is to be taken over as it is.
fn is_plain(line: &str) -> bool {
    let include = |rest: &str| rest.trim_start_matches(BLANKS).starts_with("include");
    !include(line)
        && line.bytes().enumerate().all(|(at, c)| match c {
            b'$' | b'@' | b'~' => false,
            b'{' | b'}' => !line.get(at + 1..).is_some_and(include),
            _ => true,
        })
}

/// A definition of several lines that is being read.
struct Open {
    name: String,
    lines: Vec<Line>,
}

/// What has become of a line, or of what is left of it.
enum Fate {
    /// It is text for the parser.
    Text,
    /// It has been dealt with.
    Done,
}

struct Evaluator<'e> {
    bounds: Bounds,
    surroundings: &'e dyn Surroundings,
    source: Source,
    sink: &'e mut Sink,
    text: String,
    parts: Vec<Part>,
    feeds: Vec<Feed>,
    variables: Variables,
    checks: Checks,
    open: Option<Open>,
    steps: usize,
    files: usize,
    /// A bound is reached, or the result would be of no use.
    stopped: bool,
    /// Where something has been said already: what is repeated is not wrong each time.
    reported: HashSet<Place>,
}

impl Evaluator<'_> {
    fn finish(mut self) -> Source {
        if self.parts.is_empty() {
            self.parts.push(Part { at: 0, start: 0, stands_for: None, way: None });
        }
        self.source.expand(self.text, self.parts);
        self.source
    }

    /// Takes over a line as it is, with the end of the line.
    fn copy(&mut self, place: Place, way: Option<WayId>) {
        // Lines behind each other are one part.
        let goes_on = self.parts.last().is_some_and(|last| {
            last.stands_for.is_none()
                && last.way == way
                && last.start as usize + self.text.len() == place.start + last.at as usize
        });
        if !goes_on {
            let at = self.text.len() as u32;
            self.parts.push(Part { at, start: place.start as u32, stands_for: None, way });
        }
        self.text.push_str(self.source.raw().get(place.start..place.end).unwrap_or_default());
        self.text.push('\n');
        self.check_size(place);
    }

    fn step(&mut self, place: Place) {
        self.steps += 1;
        if self.steps > self.bounds.steps {
            self.too_much(place, problem::Bound::Steps);
        }
    }

    fn check_size(&mut self, place: Place) {
        if self.text.len() > self.bounds.bytes || self.source.raw().len() > self.bounds.bytes {
            self.too_much(place, problem::Bound::Bytes);
        }
    }

    /// Works on a line, piece by piece.
    fn process(&mut self, mut line: Line, of_file: bool) {
        self.step(line.place(0, line.len()));
        let before = self.text.len();
        // Where keepalived's processes see the same, and once.
        let mut includes = of_file && line.text().starts_with("include");
        while !line.is_empty() && !self.stopped {
            match self.settle(&mut line) {
                Fate::Done => break,
                Fate::Text if self.include(&line, includes) => break,
                Fate::Text => {}
            }
            let cut = cut(line.text());
            if self.text.len() > before {
                self.text.push(' ');
            }
            let piece = line.slice(0, cut);
            if let Some(words) = piece.text().strip_prefix("include_check") {
                self.checks = self.checks.set(words);
            }
            self.emit(piece);
            line.remove(0, cut);
            line.trim_start();
            includes = false;
        }
        if self.text.len() > before {
            self.text.push('\n');
        }
    }

    /// Does all that keepalived does to a line before it looks for braces.
    fn settle(&mut self, line: &mut Line) -> Fate {
        loop {
            if line.text().starts_with('@') && !self.condition(line) {
                return Fate::Done;
            }
            match Header::read(line.text()) {
                Some(Header::Definition(name, value)) => {
                    self.define(name.to_owned(), line, value);
                    return Fate::Done;
                }
                Some(Header::Wrong(help)) => {
                    self.bad_definition(line, help);
                    return Fate::Done;
                }
                None => {}
            }
            if sequence::begins(line.text()) {
                self.sequence(line);
                return Fate::Done;
            }
            if !self.substitute(line, 0, None) {
                return Fate::Text;
            }
            if let Some(comment) = line.decomment() {
                self.comment_from_variable(comment, line);
            }
            let again = line.text().contains('$') || line.text().starts_with(['@', '~']);
            if !again || line.is_empty() || self.stopped {
                return if line.is_empty() { Fate::Done } else { Fate::Text };
            }
        }
    }

    /// Whether what stands behind an `@ID` is to be read.
    fn condition(&mut self, line: &mut Line) -> bool {
        let text = line.text();
        let (id, unless) = match text.strip_prefix("@^") {
            Some(rest) => (rest, true),
            None => (text.get(1..).unwrap_or_default(), false),
        };
        let Some(end) = id.find(BLANKS) else {
            self.empty_condition(line);
            return false;
        };
        let matches = id.get(..end) == Some(self.surroundings.config_id());
        let behind = text.len() - id.len() + end;
        line.remove(0, behind);
        line.trim_start();
        matches != unless
    }

    fn define(&mut self, name: String, line: &Line, value: usize) {
        let first = line.slice(value, line.len());
        if first.text().ends_with('\\') {
            self.open = Some(Open { name, lines: Vec::new() });
            self.line_of_definition(first);
            return;
        }
        let place = line.place(if first.is_empty() { 0 } else { value }, line.len());
        self.variables.define(&name, Value::Text(first.text().to_owned(), place));
    }

    fn line_of_definition(&mut self, mut line: Line) {
        // With nothing but a comment it neither goes on nor ends.
        let (Some(open), false) = (&mut self.open, line.is_empty()) else { return };
        let end = line.len();
        let continues = line.text().ends_with('\\');
        if continues {
            line.remove(end - 1, end);
            line.trim_end();
        }
        if !line.is_empty() {
            open.lines.push(line);
        }
        if !continues {
            self.close();
        }
    }

    /// Ends a definition of several lines.
    fn close(&mut self) {
        let Some(Open { name, lines }) = self.open.take() else { return };
        let value = if lines.is_empty() {
            Value::Text(String::new(), Place::default())
        } else {
            Value::Lines(lines)
        };
        self.variables.define(&name, value);
    }

    fn sequence(&mut self, line: &mut Line) {
        if let Some((start, end)) = sequence::numbers(line.text()) {
            self.substitute(line, start, Some(end));
        }
        match Sequence::read(line) {
            Ok(sequence) => {
                let place = line.place(0, line.len());
                self.push(Feed::Sequence(sequence), place);
            }
            Err(reason) => self.bad_sequence(line, reason),
        }
    }

    /// Puts values in the place of variables, from an offset on, also in what comes with the values. Whether there
    /// were any.
    fn substitute(&mut self, line: &mut Line, from: usize, to: Option<usize>) -> bool {
        let mut at = from;
        let mut any = false;
        // What is behind the end moves as text is replaced.
        let behind = to.map_or(0, |to| line.len() - to);
        while !self.stopped
            && let Some(found) =
                line.text().get(at..line.len() - behind).and_then(|text| text.find('$'))
        {
            at += found;
            match self.replace(line, at) {
                Some(is_sequence) => {
                    any = true;
                    if is_sequence {
                        break;
                    }
                }
                None => at += 1,
            }
        }
        any
    }

    /// Puts a value in the place of the variable at a `$`; nothing if there is none. Whether it begins with a `~`,
    /// behind which keepalived lets all wait.
    fn replace(&mut self, line: &mut Line, dollar: usize) -> Option<bool> {
        let reference = Reference::read(line.text(), dollar)?;
        let definition = Rc::clone(self.variables.get(reference.name)?);
        let end = reference.end;
        let used = line.place(dollar, end);
        let parent = line.way(dollar);
        let serial = definition.serial;
        let name = Arc::clone(&definition.name);
        self.step(used);
        let value = match &definition.value {
            Value::Predefined(predefined) => {
                if let Some(help) = predefined.objection(&reference.parameters) {
                    self.bad_parameters(used, &definition.name, help);
                    return None;
                }
                let text = self.predefined(*predefined, &reference.parameters, used);
                Line::instead_of(used, text, parent)
            }
            _ if !reference.parameters.is_empty() => return None,
            Value::Lines(_) if end < line.len() => return None,
            _ if self.is_inside(serial, parent) => {
                self.inside_itself(used, line, dollar, &name);
                return None;
            }
            Value::Text(text, place) => {
                let way = self.source.way(Why::Variable { name, serial }, *place, parent);
                Line::instead_of(used, text.clone(), Some(way))
            }
            Value::Lines(lines) => {
                let way = self.source.way(Why::Body { name, serial }, used, parent);
                let first = lines.first().cloned().unwrap_or_default().by(way);
                self.push(Feed::Body { definition: Rc::clone(&definition), next: 1, way }, used);
                first
            }
        };
        if line.len() - (end - dollar) + value.len() > LINE_LIMIT {
            self.expanded_too_long(used, line, dollar);
            return None;
        }
        line.replace(dollar, end, &value);
        Some(value.text().trim_start_matches(BLANKS).starts_with('~'))
    }

    /// Whether a variable is being replaced by itself, or in too many others.
    fn is_inside(&self, serial: u32, way: Option<WayId>) -> bool {
        let is = |why: &Why| match why {
            Why::Included => false,
            Why::Variable { serial: other, .. } | Why::Body { serial: other, .. } => {
                *other == serial
            }
        };
        let outer = self.source.ways(way).enumerate();
        outer.into_iter().any(|(depth, way)| depth >= NESTED || is(&way.why))
    }

    fn predefined(&mut self, predefined: Predefined, parameters: &[&str], used: Place) -> String {
        match predefined {
            Predefined::Folder => {
                self.surroundings.absolute(self.folder()).to_string_lossy().into_owned()
            }
            Predefined::Instance => self.surroundings.config_id().to_owned(),
            Predefined::Random => {
                let (low, high) = Predefined::range(parameters).unwrap_or_default();
                self.surroundings.random(low, high).to_string()
            }
            Predefined::Environment => {
                let name = parameters.first().copied().unwrap_or_default();
                let value = self.surroundings.environment(name);
                value.unwrap_or_else(|| {
                    self.not_in_environment(used, name);
                    String::new()
                })
            }
            Predefined::Hash => "#".to_owned(),
            Predefined::Bang => "!".to_owned(),
        }
    }

    /// Hands text to the parser.
    fn emit(&mut self, mut line: Line) {
        line.trim_end();
        self.check_variables(&line);
        // What is no comment by now must not become one.
        let mut from = 0;
        while let Some(at) = line.comment(from) {
            let here = line.place(at, at + 1);
            line.replace(at, at, &Line::instead_of(here, "\\".to_owned(), line.way(at)));
            from = at + 2;
        }
        let at = self.text.len() as u32;
        self.parts.extend(line.parts().iter().map(|part| Part { at: part.at + at, ..*part }));
        self.text.push_str(line.text());
        self.check_size(line.place(0, line.len()));
    }
}

/// Up to where keepalived reads before it looks at the rest anew: a brace in front, or what is before one.
fn cut(text: &str) -> usize {
    if text.starts_with(['{', '}']) {
        return 1;
    }
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(['{', '}', '"', '$'])) {
        at += found;
        let rest = text.get(at..).unwrap_or_default();
        let next = if rest.starts_with("${") {
            // Undefined, which has been said; its braces are none.
            rest.find('}')
        } else if rest.starts_with('$') {
            Some(0)
        } else if rest.starts_with('"') {
            rest.get(1..).and_then(|rest| rest.find('"')).map(|end| end + 1)
        } else {
            return at;
        };
        let Some(next) = next else { break };
        at += next + 1;
    }
    text.len()
}

#[cfg(test)]
mod tests;
