//! What the user makes of warnings.

use std::collections::BTreeSet;

use thiserror::Error;

use super::code::{Code, Severity};

/// Which diagnostics are kept, and how bad they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    strict: bool,
    allowed: BTreeSet<Code>,
}

/// Why a code cannot be allowed.
#[derive(Debug, Clone, Error, PartialEq, Eq)]
pub enum NotAllowed {
    /// There is no such code.
    #[error("there is no diagnostic {0}; write a code as it is shown, such as XLVS072")]
    Unknown(String),
    /// It cannot be worked with.
    #[error("{0} is an error: the file cannot be used as it is")]
    Error(&'static str),
}

impl Policy {
    /// Makes warnings errors.
    #[must_use]
    pub const fn strict(mut self, strict: bool) -> Self {
        self.strict = strict;
        self
    }

    /// Silences a warning or notice, by its code in any case.
    pub fn allow(mut self, code: &str) -> Result<Self, NotAllowed> {
        let found = Code::ALL.iter().find(|known| known.id().eq_ignore_ascii_case(code));
        let known = *found.ok_or_else(|| NotAllowed::Unknown(code.to_owned()))?;
        if known.severity() == Severity::Error {
            return Err(NotAllowed::Error(known.id()));
        }
        self.allowed.insert(known);
        Ok(self)
    }

    /// How bad a diagnostic is; nothing if it is not to be shown.
    pub(crate) fn severity(&self, code: Code) -> Option<Severity> {
        match code.severity() {
            Severity::Error => Some(Severity::Error),
            _ if self.allowed.contains(&code) => None,
            Severity::Warning if self.strict => Some(Severity::Error),
            severity => Some(severity),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_can_be_silenced_and_errors_cannot() {
        let policy = Policy::default().strict(true).allow("xlvs051").unwrap();
        assert_eq!(policy.severity(Code::NoProtocol), None);
        assert_eq!(policy.severity(Code::Repeated), Some(Severity::Error));
        assert_eq!(policy.severity(Code::AliasSpelling), Some(Severity::Notice));
        assert_eq!(policy.allow("XLVS044"), Err(NotAllowed::Error("XLVS044")));
        let unknown = Policy::default().allow("XLVS999").unwrap_err();
        assert!(unknown.to_string().contains("XLVS999"), "{unknown}");
    }
}
