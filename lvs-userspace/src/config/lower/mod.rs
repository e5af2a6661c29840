//! The tree to the typed model: the top level of the file.
//!
//! A directive that is wrong is reported and left out, its neighbours and its block are still read, so that one run
//! shows everything. Whoever calls this must not use the result if there were errors.

mod global_defs;
mod keyword;
mod local_address;
mod range;
mod real_server;
mod service;
mod setting;
mod value;

#[cfg(test)]
mod tests;

use std::collections::{HashMap, hash_map::Entry};

use super::{
    code::Code,
    diag::{Diagnostic, Sink},
    model::Config,
    schema::{Keyword, Place},
    source::{Source, Span},
    tree::Directive,
};

/// As many services as the data path's tables hold.
const SERVICES: usize = 4_000;

/// As many real servers as they hold for all services together.
const REAL_SERVERS: usize = 60_000;

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
    let mut config = Config::default();
    let mut heads = HashMap::new();
    let mut count = Count::default();
    let mut global = global_defs::Draft::default();
    let mut groups = local_address::Groups::default();
    let mut services = Vec::new();
    for directive in root {
        match keyword::visit(directive, Place::Top, context.sink) {
            Some(Keyword::VirtualServer) => services.push(directive),
            Some(Keyword::GlobalDefs) => global.read(directive, context.sink),
            Some(Keyword::LocalAddressGroup) => groups.read(directive, context.sink),
            _ => {}
        }
    }
    // After all groups: they may stand behind the services that use them.
    for directive in services {
        let read = service::lower(directive, &groups, &mut context);
        count.add(directive, read.real_servers, context.sink);
        if let Some(key) = read.key {
            let (address, port, protocol) = key;
            match heads.entry(key) {
                Entry::Vacant(free) => {
                    free.insert(directive.head());
                }
                Entry::Occupied(first) => {
                    let line = context.line(*first.get());
                    context.sink.push(
                        Diagnostic::new(
                            Code::DuplicateService,
                            directive.head(),
                            format!("the virtual server {address} port {port} {protocol} is there already"),
                        )
                        .also(*first.get(), "first here")
                        .help(format!(
                            "delete one of the two, or move its real servers to line {line}"
                        )),
                    );
                    continue;
                }
            }
        }
        config.services.extend(read.service);
    }
    config.timeouts = global.finish();
    if count.services == 0 && context.sink.errors() == 0 {
        context.sink.push(
            Diagnostic::new(Code::NoServices, Span::new(0, 0), "no `virtual_server` in this file")
                .help("nothing will be balanced; is this the right file?"),
        );
    }
    config
}

/// Watches the limits, and says it once when one is passed.
#[derive(Default)]
struct Count {
    services: usize,
    real_servers: usize,
}

impl Count {
    fn add(&mut self, directive: &Directive<'_>, real_servers: usize, sink: &mut Sink) {
        let before = self.real_servers;
        self.services += 1;
        self.real_servers += real_servers;
        if self.services == SERVICES + 1 {
            sink.push(too_many(directive, format!("more than {SERVICES} virtual servers")));
        }
        if before <= REAL_SERVERS && self.real_servers > REAL_SERVERS {
            sink.push(too_many(
                directive,
                format!("more than {REAL_SERVERS} real servers altogether"),
            ));
        }
    }
}

fn too_many(directive: &Directive<'_>, message: String) -> Diagnostic {
    Diagnostic::new(Code::TooMany, directive.head(), message)
        .label("the first one too many")
        .help("spread the services over several load balancers")
}
