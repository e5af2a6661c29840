//! The regular expressions of pages, ready to look at one.

use pcre2::bytes::Regex;

use crate::config::{RegexError, UrlRegex};

/// An expression that is ready.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    no_match: bool,
    first: usize,
    last: usize,
}

impl Pattern {
    /// Compiles it. One of a configuration that could be read can be compiled.
    pub(super) fn new(config: &UrlRegex) -> Result<Self, RegexError> {
        let offset = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Self {
            regex: config.compile(true)?,
            no_match: config.no_match,
            first: offset(config.min_offset.unwrap_or(0)),
            last: config.max_offset.map_or(usize::MAX, offset),
        })
    }

    /// Whether a page is as it should be. Takes as long as the expression needs: not for the event loop.
    pub(super) fn check(&self, page: &[u8]) -> Result<(), String> {
        let found = if self.first > page.len() {
            None
        } else {
            let found = self.regex.find_at(page, self.first);
            found.map_err(|error| format!("the regex gave up: {error}"))?
        };
        let matches = found.is_some_and(|found| found.start() <= self.last);
        match (matches, self.no_match) {
            (true, true) => Err("the page matches the regex".to_owned()),
            (false, false) => Err("the page does not match the regex".to_owned()),
            _ => Ok(()),
        }
    }
}
