//! The regular expressions of pages: PCRE2 itself, with those of keepalived's options that it lets one set by name, or that
//! a pattern can say itself.

use pcre2::bytes::{Regex, RegexBuilder};

use crate::config::UrlRegex;

/// An expression that is ready.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    regex: Regex,
    no_match: bool,
    first: usize,
    last: usize,
}

impl Pattern {
    /// Compiles it; the error says what is wrong.
    pub(super) fn new(config: &UrlRegex) -> Result<Self, String> {
        let mut builder = RegexBuilder::new();
        builder.jit_if_available(true);
        if let Some((_, most)) = config.stack {
            builder.max_jit_stack_size(Some(usize::try_from(most).unwrap_or(usize::MAX)));
        }
        let mut verbs = String::new();
        let mut flags = String::new();
        for option in &config.options {
            match *option {
                "caseless" => drop(builder.caseless(true)),
                "dotall" => drop(builder.dotall(true)),
                "extended" => drop(builder.extended(true)),
                "multiline" => drop(builder.multi_line(true)),
                "ucp" => drop(builder.ucp(true)),
                "utf" => drop(builder.utf(true)),
                "dupnames" => flags.push('J'),
                "ungreedy" => flags.push('U'),
                "no_auto_capture" => flags.push('n'),
                "no_auto_possess" => verbs.push_str("(*NO_AUTO_POSSESS)"),
                "no_dotstar_anchor" => verbs.push_str("(*NO_DOTSTAR_ANCHOR)"),
                "no_start_optimize" => verbs.push_str("(*NO_START_OPT)"),
                // These change nothing that can be seen from outside: the offsets are compared here.
                "auto_callout" | "use_offset_limit" => {}
                other => return Err(format!("regex_options {other} cannot be had")),
            }
        }
        if !flags.is_empty() {
            flags = format!("(?{flags})");
        }
        let regex = builder
            .build(&format!("{verbs}{flags}{}", config.pattern))
            .map_err(|error| format!("the regex cannot be used: {error}"))?;
        let offset = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(Self {
            regex,
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
