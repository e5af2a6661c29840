//! The regular expressions of pages: PCRE2 itself, with those of keepalived's options that it lets one set by name, or that
//! a pattern can say itself. They are made once when a configuration is read, so that a wrong one is found there, and again
//! by the check.

use pcre2::bytes::{Regex, RegexBuilder};
use thiserror::Error;

use super::model::UrlRegex;

/// A search may have so many KiB, where there can be no machine code (`MemoryDenyWriteExecute`), instead of PCRE2's 20 GB.
/// Machine code makes do with `regex_stack`, or 32 KiB.
const MEMORY: u64 = 16 << 10;

/// Why an expression cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RegexError {
    /// One of `regex_options` that nothing here can set.
    #[error("regex_options {0} cannot be had")]
    Option(&'static str),
    /// It is none.
    #[error("the regex cannot be used: {reason}")]
    Pattern {
        /// What PCRE2 says.
        reason: String,
        /// Where, in bytes of the pattern; at its end if something is missing.
        offset: usize,
    },
}

impl UrlRegex {
    /// Compiles the expression; to machine code too if it is to be used, and where that can be done.
    pub fn compile(&self, to_use: bool) -> Result<Regex, RegexError> {
        let mut builder = RegexBuilder::new();
        builder.jit_if_available(to_use);
        if let Some((_, most)) = self.stack {
            builder.max_jit_stack_size(Some(usize::try_from(most).unwrap_or(usize::MAX)));
        }
        let memory = self.stack.map_or(MEMORY, |(_, most)| MEMORY.max(most >> 10));
        let mut verbs = format!("(*LIMIT_HEAP={})", memory.min(u32::MAX.into()));
        let mut flags = String::new();
        for option in &self.options {
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
                // These change nothing that can be seen from outside: the offsets are compared by the check.
                "auto_callout" | "use_offset_limit" => {}
                other => return Err(RegexError::Option(other)),
            }
        }
        if !flags.is_empty() {
            flags = format!("(?{flags})");
        }
        let before = verbs.len() + flags.len();
        builder.build(&format!("{verbs}{flags}{}", self.pattern)).map_err(|error| {
            let whole = error.to_string();
            let offset = error.offset().unwrap_or(0).saturating_sub(before);
            let reason = whole.rsplit_once(": ").map_or(&*whole, |(_, reason)| reason).to_owned();
            RegexError::Pattern { reason, offset: offset.min(self.pattern.len()) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_without_machine_code_has_limited_memory() {
        let mut url = UrlRegex {
            pattern: "(?:.|\\n)*ok".to_owned(),
            no_match: false,
            options: Vec::new(),
            min_offset: None,
            max_offset: None,
            stack: None,
        };
        let page = "-".repeat(256 << 10) + "ok";
        let error = url.compile(false).unwrap().is_match(page.as_bytes()).unwrap_err();
        assert!(error.to_string().contains("heap limit exceeded"), "{error}");
        url.stack = Some((1 << 10, 256 << 20));
        assert!(url.compile(false).unwrap().is_match(page.as_bytes()).unwrap());
    }
}
