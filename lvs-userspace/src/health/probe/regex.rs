//! The regular expressions of pages, ready to look at one. Some take days for some pages, and nothing can end that: each page
//! is looked at in a thread of its own, which nobody waits for longer than the check may take.

use std::{sync::Arc, thread};

use pcre2::bytes::Regex;
use tokio::{
    sync::{Semaphore, oneshot},
    time::{Instant, timeout_at},
};

use super::Fault;
use crate::{
    bpf::stand_back,
    config::{RegexError, UrlRegex},
};

/// An expression that is ready.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    no_match: bool,
    first: usize,
    last: usize,
    /// One page at a time.
    idle: Arc<Semaphore>,
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
            idle: Arc::new(Semaphore::new(1)),
        })
    }

    /// Whether a page is as it should be; nothing if that is not clear in time, or as long as an earlier page is still
    /// looked at.
    pub(super) async fn check(
        &self,
        page: Vec<u8>,
        deadline: Instant,
    ) -> Option<Result<(), Fault>> {
        let permit = Arc::clone(&self.idle).try_acquire_owned().ok()?;
        let (teller, told) = oneshot::channel();
        let pattern = self.clone();
        // Not one of the runtime's: those are few, and it would wait for it in the end.
        let started = thread::Builder::new().name("regex".to_owned()).spawn(move || {
            stand_back();
            let found = pattern.find(&page);
            drop(permit);
            let _nobody_waits = teller.send(found);
        });
        if let Err(error) = started {
            return Some(Err(Fault::unable(format!("cannot start a thread: {error}"))));
        }
        let found = timeout_at(deadline, told).await.ok()?;
        Some(found.map_err(Fault::unable).and_then(|found| found.map_err(Fault::Failed)))
    }

    fn find(&self, page: &[u8]) -> Result<(), String> {
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_one_that_takes_for_ever() {
        let config = UrlRegex {
            pattern: "[a-z]+-?[a-z]*: (ok|up)".to_owned(),
            no_match: false,
            options: Vec::new(),
            min_offset: None,
            max_offset: None,
            stack: None,
        };
        let pattern = Pattern::new(&config).unwrap();
        let soon = Instant::now() + Duration::from_secs(60);
        assert!(matches!(pattern.check(b"all: ok".to_vec(), soon).await, Some(Ok(()))));
        let page = format!("{}: no", "a".repeat(4 << 20)).into_bytes();
        let now = Instant::now() + Duration::from_millis(50);
        assert!(pattern.check(page, now).await.is_none());
        // As long as it goes on there is not a second one, be it as short as it may.
        assert!(pattern.check(b"all: ok".to_vec(), soon).await.is_none());
        assert!(Instant::now() < soon);
    }
}
