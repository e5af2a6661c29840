//! What a file names of the machine that it is read on: programs, users, interfaces, keys and certificates. keepalived looks
//! at most of them when it starts; without this they would be found missing when they are needed.

use std::collections::HashSet;

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        needed::Needed,
        schema::{self, Effect, Form, Keyword, Place},
        source::Span,
        surroundings::Surroundings,
        tree::Directive,
    },
    shell,
};

/// Says what is not there, once for each thing.
pub(super) fn check(root: &[Directive<'_>], surroundings: &dyn Surroundings, sink: &mut Sink) {
    let mut looker = Looker { surroundings, sink, seen: HashSet::new() };
    looker.block(root, Place::Top);
}

struct Looker<'a> {
    surroundings: &'a dyn Surroundings,
    sink: &'a mut Sink,
    seen: HashSet<Needed>,
}

impl Looker<'_> {
    fn block(&mut self, directives: &[Directive<'_>], place: Place) {
        for directive in directives {
            let Some(entry) = schema::find(place, &directive.keyword.text) else { continue };
            match entry.form {
                Form::Block(_, inner) => {
                    let children = directive.block.as_ref().map(|block| &*block.children);
                    self.block(children.unwrap_or_default(), inner);
                }
                _ if entry.effect != Effect::Acted => {}
                Form::Script | Form::Command => self.script(directive),
                _ => self.words(entry.keyword, directive),
            }
        }
    }

    /// A program with its arguments, and perhaps as whom it runs. What cannot be read has been reported.
    fn script(&mut self, directive: &Directive<'_>) {
        let Some(place) = directive.argument() else { return };
        let line = shell::words(directive.raw).unwrap_or_default();
        let [command, owner @ ..] = line.as_slice() else { return };
        let words = shell::words(command).unwrap_or_default();
        if let Some(program) = words.into_iter().next().filter(|program| !program.is_empty()) {
            self.need(Needed::Program(program), place);
        }
        self.owner(owner.iter().map(|word| (word.as_str(), place)));
    }

    fn words(&mut self, keyword: Keyword, directive: &Directive<'_>) {
        let mut words = directive.args.iter().map(|word| (&*word.text, word.span));
        let needed = match keyword {
            Keyword::User | Keyword::ScriptUser => return self.owner(words),
            Keyword::LvsNotifyFifo | Keyword::NotifyFifo => return self.owner(words.skip(1)),
            Keyword::BindIf => Needed::Interface,
            Keyword::SslCa | Keyword::SslCertificate => Needed::Certificates,
            Keyword::SslKey => Needed::Key,
            _ => return,
        };
        if let Some((word, place)) = words.next() {
            self.need(needed(word.to_owned()), place);
        }
    }

    /// A user, and perhaps a group.
    fn owner(&mut self, mut words: impl Iterator<Item = (impl AsRef<str>, Span)>) {
        if let Some((user, place)) = words.next() {
            self.need(Needed::User(user.as_ref().to_owned()), place);
        }
        if let Some((group, place)) = words.next() {
            self.need(Needed::Group(group.as_ref().trim_start_matches(':').to_owned()), place);
        }
    }

    fn need(&mut self, needed: Needed, place: Span) {
        // Nor are a million names looked up that nobody would read.
        if self.sink.only_counts(Code::NotOnThisMachine) || self.seen.contains(&needed) {
            return;
        }
        if let Some(fault) = self.surroundings.fault(&needed) {
            let report = Diagnostic::new(Code::NotOnThisMachine, place, fault.message);
            self.sink.push(report.help(fault.help));
        }
        self.seen.insert(needed);
    }
}
