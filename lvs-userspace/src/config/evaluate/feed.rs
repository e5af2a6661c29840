//! Where lines come from: a stack of files, those that an `include` has found, definitions of several lines and sequences.

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use super::{
    super::{
        lex::LINE_LIMIT,
        read,
        source::{Place, Source, WayId, Why},
    },
    Evaluator,
    include::{self, Checks, Matches, Statement},
    is_plain,
    line::Line,
    problem,
    sequence::Sequence,
    variables::{Definition, Value},
};

/// Where lines come from.
pub(super) enum Feed {
    File {
        path: PathBuf,
        /// What is left of it.
        rest: Place,
        way: Option<WayId>,
        /// What held before it was included.
        checks: Checks,
    },
    Include {
        files: std::vec::IntoIter<PathBuf>,
        place: Place,
        way: WayId,
        checks: Checks,
    },
    Body {
        definition: Rc<Definition>,
        next: usize,
        way: WayId,
    },
    Sequence(Sequence),
}

impl Evaluator<'_> {
    pub(super) fn run(&mut self) {
        while !self.stopped
            && let Some(feed) = self.feeds.last_mut()
        {
            match feed {
                Feed::File { rest, way, .. } => {
                    let way = *way;
                    if let Some(line) = take_line(&self.source, rest) {
                        self.line_of_file(line, way);
                    } else {
                        self.pop_file();
                    }
                }
                Feed::Include { files, place, way, checks } => {
                    let (place, way, checks) = (*place, *way, *checks);
                    match files.next() {
                        Some(path) => self.open(path, place, way, checks),
                        None => {
                            self.feeds.pop();
                        }
                    }
                }
                Feed::Body { definition, next, way } => {
                    let Value::Lines(lines) = &definition.value else {
                        self.feeds.pop();
                        continue;
                    };
                    if let Some(line) = lines.get(*next) {
                        let line = line.clone().by(*way);
                        *next += 1;
                        self.process(line, false);
                    } else {
                        self.feeds.pop();
                    }
                }
                Feed::Sequence(sequence) => match sequence.next() {
                    Some(values) => {
                        let line = sequence.text.clone();
                        for (name, value) in values {
                            self.variables.define(&name, value);
                        }
                        self.process(line, false);
                    }
                    None => {
                        self.feeds.pop();
                    }
                },
            }
        }
    }

    pub(super) fn push_file(&mut self, path: PathBuf, place: Place, way: Option<WayId>) {
        self.feeds.push(Feed::File { path, rest: place, way, checks: self.checks });
    }

    fn pop_file(&mut self) {
        self.close();
        if let Some(Feed::File { checks, .. }) = self.feeds.pop() {
            self.checks = checks;
        }
    }

    /// The file that is read at the moment.
    fn path(&self) -> &Path {
        let files = self.feeds.iter().rev().filter_map(|feed| match feed {
            Feed::File { path, .. } => Some(path.as_path()),
            _ => None,
        });
        files.into_iter().next().unwrap_or(Path::new(""))
    }

    pub(super) fn folder(&self) -> &Path {
        self.path().parent().unwrap_or(Path::new(""))
    }

    fn line_of_file(&mut self, place: Place, way: Option<WayId>) {
        let raw = self.source.raw().get(place.start..place.end).unwrap_or_default();
        let too_long = raw.len() > LINE_LIMIT;
        if self.open.is_none() && (too_long || is_plain(raw)) {
            self.copy(place, way);
            return;
        }
        let empty = raw.is_empty();
        let mut line = Line::of_file(&self.source, place, way);
        if empty {
            self.close();
            return;
        }
        line.decomment();
        if self.open.is_some() {
            self.line_of_definition(line);
        } else {
            self.process(line, true);
        }
    }

    /// Puts a feed on the stack, unless there are too many.
    pub(super) fn push(&mut self, feed: Feed, place: Place) {
        let inside = |feed: &&Feed| !matches!(feed, Feed::Include { .. });
        if self.feeds.iter().filter(inside).count() >= self.bounds.depth {
            self.too_much(place, problem::Bound::Depth);
        } else {
            self.feeds.push(feed);
        }
    }

    /// Does what an `include` says; whether the line was one. Only some can be, or keepalived reads the file twice.
    pub(super) fn include(&mut self, line: &Line, may: bool) -> bool {
        let Some(Statement { checks, pattern, at }) = Statement::read(line.text()) else {
            return self.include_without_pattern(line);
        };
        if !may {
            self.include_refused(line);
            return true;
        }
        let place = line.place(at, line.len());
        let checks = self.checks.and(checks);
        let Matches { files, missing } = include::find(pattern, self.folder(), self.surroundings);
        if let Some((path, check)) = missing {
            self.not_there(place, &path, pattern, check, checks);
            if check == Checks::BRACES && checks.has(check) {
                return true;
            }
        }
        let way = self.source.way(Why::Included, place, line.way(0));
        self.feeds.push(Feed::Include { files: files.into_iter(), place, way, checks });
        true
    }

    /// Reads a file that is to be included, and has it go on there.
    fn open(&mut self, path: PathBuf, place: Place, way: WayId, checks: Checks) {
        self.files += 1;
        if self.files > self.bounds.files {
            self.too_much(place, problem::Bound::Files);
            return;
        }
        if self.is_open(&path) {
            self.includes_itself(place, &path);
            return;
        }
        let bytes = match self.surroundings.read(&path) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unreadable(place, &path, &error, checks.has(Checks::READABLE));
                return;
            }
        };
        let name = path.display().to_string();
        let (text, problem) = read::decode(bytes);
        let file = self.source.add(&name, &text, Some(way));
        self.check_size(place);
        match problem {
            Some(problem) => self.sink.push(problem(file.start)),
            None => self
                .push(Feed::File { path, rest: file, way: Some(way), checks: self.checks }, place),
        }
    }

    /// Whether a file is being read at the moment.
    fn is_open(&self, path: &Path) -> bool {
        let whole = |path: &Path| {
            let folder = path.parent().unwrap_or(Path::new(""));
            self.surroundings.absolute(folder).join(path.file_name().unwrap_or_default())
        };
        let path = whole(path);
        self.feeds.iter().any(|feed| match feed {
            Feed::File { path: open, .. } => whole(open) == path,
            _ => false,
        })
    }
}

/// The next line of a file, without its end.
fn take_line(source: &Source, rest: &mut Place) -> Option<Place> {
    let text = source.raw().get(rest.start..rest.end).filter(|text| !text.is_empty())?;
    let start = rest.start;
    let line = text.split('\n').next().unwrap_or_default();
    rest.start = (start + line.len() + 1).min(rest.end);
    Some(Place::new(start, start + line.trim_end_matches('\r').len()))
}
