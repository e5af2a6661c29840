//! The address family of a service, and what is not of it.

use std::net::IpAddr;

use super::{
    super::{code::Code, diag::Diagnostic, model::Family, source::Span},
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

    /// Says that a real server is of the other family. keepalived goes on without it.
    pub(super) fn leave_out(self, subject: &Subject, span: Span, server: IpAddr) -> Diagnostic {
        let (service, its) = (&subject.name, self.family);
        let message = format!(
            "the real server {server} is {}, but the service {service} is {its}; it is left out, as in keepalived",
            self.family.other(),
        );
        Diagnostic::new(Code::ServerOfOtherFamily, span, message)
            .also(self.span, self.why)
            .help("delete it, for neither NAT nor FNAT translates between the two")
    }
}
