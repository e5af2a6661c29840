//! The services of a file: groups taken apart, duplicates refused, limits watched.

use std::collections::{HashMap, hash_map::Entry};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        model::{Family, Protocol, Target, VirtualServer},
        source::Span,
        tree::Directive,
    },
    Context,
    service::Read,
};

/// As many services as the data path's tables hold.
const SERVICES: usize = 4_000;

/// As many real servers as they hold for all services together, beside those that have left the file and keep their places
/// for a while.
const REAL_SERVERS: usize = lvs_common::abi::MAX_SERVERS as usize / 2;

/// What no two services may have in common.
type Key = (Target, Family, Option<Protocol>);

/// Where a service stands: the head of its block, and the line of its group; the head again without a group.
#[derive(Clone, Copy)]
struct Place {
    head: Span,
    line: Span,
}

/// All services that have been read.
#[derive(Default)]
pub(super) struct Services {
    list: Vec<VirtualServer>,
    places: HashMap<Key, Place>,
    count: usize,
    real_servers: usize,
}

impl Services {
    /// Takes what a `virtual_server` has made, once for each of its targets.
    pub(super) fn add(
        &mut self,
        directive: &Directive<'_>,
        read: &Read,
        context: &mut Context<'_>,
    ) {
        let targets = read.subject.as_ref().map(|subject| &subject.targets);
        let count = targets.map_or(1, |targets| targets.count());
        if !self.fits(directive, count, read.written, context.sink) {
            return;
        }
        let mut twice = None;
        for (target, line) in targets.iter().flat_map(|targets| targets.iter()) {
            let (family, protocol) = match target {
                Target::Address { address, .. } => (Some(Family::of(address)), read.protocol),
                Target::Mark(_) => (read.family, None),
            };
            // Of a wrong protocol nobody knows which one is meant.
            let whole = protocol.is_some() || matches!(target, Target::Mark(_));
            let Some(family) = family.filter(|_| whole) else { continue };
            let place = Place { head: directive.head(), line };
            match self.places.entry((target, family, protocol)) {
                Entry::Vacant(free) => {
                    free.insert(place);
                }
                Entry::Occupied(first) => {
                    twice = twice.or(Some((target, protocol, place, *first.get())));
                    continue;
                }
            }
            if let Some(service) = &read.service {
                self.list.push(VirtualServer { target, protocol, ..service.clone() });
            }
        }
        if let Some((target, protocol, place, first)) = twice {
            let report = duplicate(target, protocol, place, first, context);
            context.sink.push(report);
        }
    }

    /// Watches the limits, and says it once when one is passed.
    fn fits(
        &mut self,
        directive: &Directive<'_>,
        count: usize,
        real_servers: usize,
        sink: &mut Sink,
    ) -> bool {
        let before = (self.count, self.real_servers);
        self.count = self.count.saturating_add(count);
        self.real_servers = self.real_servers.saturating_add(count.saturating_mul(real_servers));
        if before.0 <= SERVICES && self.count > SERVICES {
            sink.push(too_many(directive, format!("more than {SERVICES} virtual servers")));
        } else if before.1 <= REAL_SERVERS && self.real_servers > REAL_SERVERS {
            sink.push(too_many(
                directive,
                format!("more than {REAL_SERVERS} real servers altogether"),
            ));
        }
        self.count <= SERVICES && self.real_servers <= REAL_SERVERS
    }

    /// Each service with its line, in the order of the file.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&VirtualServer, Span)> {
        self.list.iter().filter_map(|service| {
            let key = (service.target, service.family, service.protocol);
            Some((service, self.places.get(&key)?.line))
        })
    }

    pub(super) fn finish(self) -> Vec<VirtualServer> {
        self.list
    }
}

fn duplicate(
    target: Target,
    protocol: Option<Protocol>,
    place: Place,
    first: Place,
    context: &Context<'_>,
) -> Diagnostic {
    let protocol = protocol.map(|protocol| format!(" {protocol}")).unwrap_or_default();
    let message = format!("the virtual server {target}{protocol} is there already");
    let report = Diagnostic::new(Code::DuplicateService, place.head, message);
    let other = if first.head == place.head { first.line } else { first.head };
    let number = context.source.line_name(other.start());
    let report = report.also(other, "first here");
    if place.line == place.head {
        let help = format!("delete one of the two, or move its real servers to line {number}");
        return report.help(help);
    }
    report
        .also(place.line, "by this line of its group")
        .help(format!("take it out of the group, or delete what line {number} says"))
}

fn too_many(directive: &Directive<'_>, message: String) -> Diagnostic {
    Diagnostic::new(Code::TooMany, directive.head(), message)
        .label("the first one too many")
        .help("spread the services over several load balancers; a group counts once for each of its addresses")
}
