//! The address family of a service, and what is not of it.

use super::{
    super::{diag::Diagnostic, model::Family, source::Span},
    target::Subject,
    value::{self, Choice},
};

pub(super) static FAMILY: Choice<Family> = Choice {
    what: "address family",
    understood: &[("inet", Family::Ipv4), ("inet6", Family::Ipv6)],
    any_case: false,
};

/// A family, and what decided it.
#[derive(Clone, Copy)]
pub(super) struct Decided {
    pub(super) family: Family,
    span: Span,
    why: &'static str,
}

impl Decided {
    /// The first of several that is known.
    pub(super) fn first(
        candidates: impl IntoIterator<Item = (Option<(Family, Span)>, &'static str)>,
    ) -> Option<Self> {
        candidates
            .into_iter()
            .find_map(|(found, why)| found.map(|(family, span)| Self { family, span, why }))
    }

    /// Says that something is of the other family.
    pub(super) fn refuse(self, subject: &Subject, span: Span, what: &str) -> Diagnostic {
        let other = self.family.other();
        value::wrong_family(span, what, other, &subject.name, self.family).also(self.span, self.why)
    }
}
