//! Blocks with a name that services use: `local_address_group` and `virtual_server_group`.

use std::collections::{BTreeMap, btree_map::Entry};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        source::Span,
        suggest,
        tree::Directive,
    },
    value,
};

/// The name of a group, where a service uses it.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) span: Span,
}

impl Named {
    pub(super) fn new(word: &Word<'_>) -> Self {
        Self { name: word.text.clone().into_owned(), span: word.span }
    }
}

/// The groups of one kind in a file.
pub(super) struct Groups<T> {
    /// As in "there is no {} `x`".
    what: &'static str,
    keyword: &'static str,
    by_name: BTreeMap<String, (Span, T)>,
    /// The name of one could not be read; it may be any that is used.
    nameless: bool,
}

impl<T> Groups<T> {
    pub(super) const fn new(what: &'static str, keyword: &'static str) -> Self {
        Self { what, keyword, by_name: BTreeMap::new(), nameless: false }
    }

    /// Takes a group under the name that its head gives it.
    pub(super) fn add(&mut self, directive: &Directive<'_>, group: T, sink: &mut Sink) {
        let usage = format!("{} NAME {{", self.keyword);
        let name = value::args(directive, 1..=1, usage, sink).and_then(|args| args.first());
        let Some(name) = name else {
            self.nameless = true;
            return;
        };
        match self.by_name.entry(name.text.clone().into_owned()) {
            Entry::Vacant(free) => {
                free.insert((directive.head(), group));
            }
            Entry::Occupied(first) => {
                let message = format!("the group {} is there already", quoted(&name.text));
                sink.push(
                    Diagnostic::new(Code::DuplicateGroup, directive.head(), message)
                        .also(first.get().0, "first here")
                        .help(
                            "put all addresses into one of the two, or give this one another name",
                        ),
                );
            }
        }
    }

    /// The group that a service uses; if there is none, that is reported.
    pub(super) fn get(&self, used: &Named, sink: &mut Sink) -> Option<&T> {
        let group = self.by_name.get(&used.name).map(|(_, group)| group);
        if group.is_none() && !self.nameless {
            sink.push(self.unknown(used));
        }
        group
    }

    fn unknown(&self, used: &Named) -> Diagnostic {
        let names = self.by_name.keys().map(String::as_str);
        let help = match suggest::nearest(&used.name, names) {
            Some(near) => format!("did you mean {}?", quoted(near)),
            None => format!("add {}", quoted(&format!("{} {} {{", self.keyword, used.name))),
        };
        let message = format!("there is no {} {}", self.what, quoted(&used.name));
        Diagnostic::new(Code::UnknownGroup, used.span, message).help(help)
    }
}
