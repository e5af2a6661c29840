//! The tree to the typed model: the top level of the file.
//!
//! A directive that is wrong is reported and left out, its neighbours and its block are still read, so that one run
//! shows everything. Whoever calls this must not use the result if there were errors.

mod family;
mod global_defs;
mod group;
mod keyword;
mod local_address;
mod mark;
mod named;
mod persistence;
mod range;
mod real_server;
mod schedule;
mod service;
mod services;
mod setting;
mod target;
mod value;

#[cfg(test)]
mod tests;

use std::rc::Rc;

use super::{
    code::Code,
    diag::{Diagnostic, Sink},
    model::Config,
    schema::{Keyword, Place},
    source::{Source, Span},
    tree::Directive,
};

/// What lowering needs everywhere.
struct Context<'a> {
    source: &'a Source,
    sink: &'a mut Sink,
}

impl Context<'_> {
    fn line(&self, span: Span) -> usize {
        self.source.line_of(span.start)
    }
}

/// Makes the model, and reports what does not fit.
pub(crate) fn lower(source: &Source, root: &[Directive<'_>], sink: &mut Sink) -> Config {
    let mut context = Context { source, sink };
    let mut global = global_defs::Draft::default();
    let mut blocks = service::Blocks {
        locals: named::Groups::new("local address group", "local_address_group"),
        targets: named::Groups::new("virtual server group", "virtual_server_group"),
    };
    let mut marks = mark::Marks::default();
    let mut heads = Vec::new();
    for directive in root {
        match keyword::visit(directive, Place::Top, context.sink) {
            Some(Keyword::VirtualServer) => heads.push(directive),
            Some(Keyword::GlobalDefs) => global.read(directive, context.sink),
            Some(Keyword::LocalAddressGroup) => {
                let addresses = local_address::read(directive, context.sink);
                blocks.locals.add(directive, addresses, context.sink);
            }
            Some(Keyword::VirtualServerGroup) => {
                let targets = group::read(directive, context.sink);
                blocks.targets.add(directive, Rc::new(targets), context.sink);
            }
            Some(Keyword::FwmarkMatch) => marks.read(directive, &mut context),
            _ => {}
        }
    }
    // After all groups: they may stand behind the services that use them.
    let mut services = services::Services::default();
    for directive in &heads {
        let read = service::lower(directive, &blocks, &mut context);
        services.add(directive, &read, &mut context);
    }
    // What an error has left out would seem to be missing.
    if context.sink.errors() == 0 {
        marks.check(&services, context.sink);
        if heads.is_empty() {
            context.sink.push(
                Diagnostic::new(
                    Code::NoServices,
                    Span::new(0, 0),
                    "no `virtual_server` in this file",
                )
                .help("nothing will be balanced; is this the right file?"),
            );
        }
    }
    Config {
        services: services.finish(),
        marks: marks.finish(),
        timeouts: global.finish(),
        ..Config::default()
    }
}
