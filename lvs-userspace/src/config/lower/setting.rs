//! A value that a block sets at most once.

use super::super::{
    code::Code,
    diag::{Diagnostic, Sink, quoted},
    source::Span,
    tree::Directive,
};

/// What was set, and where; a wrong value counts as set, so that nobody is told twice.
pub(super) struct Setting<T> {
    value: Option<T>,
    head: Option<Span>,
}

impl<T> Default for Setting<T> {
    fn default() -> Self {
        Self { value: None, head: None }
    }
}

impl<T> Setting<T> {
    /// Takes a value. As in keepalived, the last one of several stays.
    pub(super) fn set(&mut self, directive: &Directive<'_>, value: Option<T>, sink: &mut Sink) {
        self.set_as(&directive.keyword.text, directive.head(), value, sink);
    }

    /// The same for a value that is not all of a line.
    pub(super) fn set_as(&mut self, name: &str, head: Span, value: Option<T>, sink: &mut Sink) {
        if let Some(first) = self.head {
            let word = quoted(name);
            sink.push(
                Diagnostic::new(Code::Repeated, head, format!("{word} is set a second time"))
                    .label("this one counts")
                    .also(first, "set here before")
                    .help("delete one of the two"),
            );
        }
        self.head = Some(head);
        self.value = value;
    }

    pub(super) const fn is_set(&self) -> bool {
        self.head.is_some()
    }

    /// Where the last value was set.
    pub(super) const fn head(&self) -> Option<Span> {
        self.head
    }

    /// The value, the default if nothing was set, nothing if that was wrong.
    pub(super) fn or(&self, default: T) -> Option<T>
    where
        T: Copy,
    {
        if self.is_set() { self.value } else { Some(default) }
    }

    pub(super) const fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }

    pub(super) fn value(self) -> Option<T> {
        self.value
    }
}
