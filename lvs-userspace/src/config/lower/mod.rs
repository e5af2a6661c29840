//! The tree to the typed model: the top level of the file.
//!
//! A directive that is wrong is reported and left out, its neighbours and its block are still read, so that one run
//! shows everything. Whoever calls this must not use the result if there were errors.

mod advice;
mod checker;
mod family;
mod forwarding;
mod global_defs;
mod group;
mod http;
mod keyword;
mod local_address;
mod machine;
mod mark;
mod named;
mod number;
mod persistence;
mod range;
mod real_server;
mod schedule;
mod service;
mod services;
mod setting;
mod shell;
mod target;
mod track_file;
mod value;
mod values;

#[cfg(test)]
mod tests;

use std::rc::Rc;

use self::setting::Setting;
use super::{
    code::Code,
    diag::{Diagnostic, Sink},
    model::{Config, SslFiles},
    schema::{Keyword, Place},
    source::{Source, Span},
    surroundings::Surroundings,
    tree::Directive,
};

/// What lowering needs everywhere.
struct Context<'a> {
    source: &'a Source,
    sink: &'a mut Sink,
}

impl Context<'_> {
    fn line(&self, span: Span) -> usize {
        self.source.line_of(span.start())
    }
}

/// Makes the model, and reports what does not fit.
pub(crate) fn lower(
    source: &Source,
    root: &[Directive<'_>],
    surroundings: &dyn Surroundings,
    sink: &mut Sink,
) -> Config {
    let mut context = Context { source, sink };
    let mut global = global_defs::Draft::default();
    let mut blocks = service::Blocks {
        locals: named::Groups::new("local address group", "local_address_group"),
        targets: named::Groups::new("virtual server group", "virtual_server_group"),
    };
    let mut marks = mark::Marks::default();
    let mut track_files = track_file::TrackFiles::default();
    let mut ssl: Setting<SslFiles> = Setting::default();
    let mut bfd = Vec::new();
    let mut heads = Vec::new();
    for directive in root {
        if let ("bfd_instance", [name]) = (&*directive.keyword.text, directive.args.as_slice()) {
            bfd.push(name.text.clone().into_owned());
        }
        let Some(entry) = keyword::visit(directive, Place::Top, context.sink) else { continue };
        match entry.keyword {
            Keyword::VirtualServer => heads.push(directive),
            Keyword::GlobalDefs => global.read(directive, context.sink),
            Keyword::LocalAddressGroup => {
                let addresses = local_address::read(directive, context.sink);
                blocks.locals.add(directive, addresses, context.sink);
            }
            Keyword::VirtualServerGroup => {
                let targets = group::read(directive, context.sink);
                blocks.targets.add(directive, Rc::new(targets), context.sink);
            }
            Keyword::FwmarkMatch => marks.read(directive, &mut context),
            Keyword::TrackFile => track_files.read(directive, &mut context),
            Keyword::Ssl => {
                let files = track_file::ssl(directive, context.sink);
                ssl.set(directive, files, context.sink);
            }
            _ => {}
        }
    }
    let shared = global_defs::Shared { track_files: track_files.all, bfd, ..global.shared() };
    // After all groups: they may stand behind the services that use them.
    let mut services = services::Services::default();
    for directive in &heads {
        let read = service::lower(directive, &blocks, &shared, &mut context);
        services.add(directive, &read, &mut context);
    }
    // What an error has left out would seem to be missing.
    if !context.sink.is_broken() {
        marks.check(&services, context.sink);
        advice::on_persistence(&services, &marks, context.sink);
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
    machine::check(root, surroundings, context.sink);
    let (timeouts, global) = global.finish();
    Config {
        services: services.finish(),
        marks: marks.finish(),
        timeouts,
        global,
        ssl: ssl.value(),
        track_files: shared.track_files,
    }
}
