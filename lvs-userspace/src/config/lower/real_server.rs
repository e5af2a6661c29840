//! The `real_server` blocks of a service.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        model::{Family, Forwarding, RealServer},
        schema::{Keyword, Place},
        source::Span,
        tree::Directive,
    },
    Context, keyword,
    setting::Setting,
    value,
};

/// As many real servers as one service's table holds.
const REAL_SERVERS: usize = 1_000;

/// IPVS keeps weights in an `int`.
const WEIGHT_LIMIT: u32 = i32::MAX.unsigned_abs();

/// The real servers of a service.
#[derive(Default)]
pub(super) struct List {
    /// With where each stands.
    servers: Vec<(RealServer, Span)>,
    heads: HashMap<(IpAddr, u16), Span>,
    written: usize,
}

impl List {
    /// Reads a block. A server without a port takes the one given, as in keepalived.
    pub(super) fn read(&mut self, child: &Directive<'_>, port: u16, context: &mut Context<'_>) {
        self.written += 1;
        if self.written == REAL_SERVERS + 1 {
            let message = format!("more than {REAL_SERVERS} real servers in one service");
            context.sink.push(
                Diagnostic::new(Code::TooMany, child.head(), message)
                    .label("the first one too many")
                    .help("spread them over several services"),
            );
        }
        let Some(mut server) = lower(child, context) else { return };
        if server.port == 0 {
            server.port = port;
        }
        match self.heads.entry((server.address, server.port)) {
            Entry::Vacant(free) => {
                free.insert(child.head());
                self.servers.push((server, child.head()));
            }
            Entry::Occupied(first) => {
                let which = match server.port {
                    0 => format!("{} without a port", server.address),
                    port => format!("{} port {port}", server.address),
                };
                let message =
                    format!("the real server {which} is there already; this one is left out");
                context.sink.push(
                    Diagnostic::new(Code::DuplicateRealServer, child.head(), message)
                        .also(*first.get(), "first here")
                        .help("delete one of the two; a larger share is what `weight` is for"),
                );
            }
        }
    }

    /// How many blocks there were, right or wrong.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    /// The family of the first one, and where it stands.
    pub(super) fn family(&self) -> Option<(Family, Span)> {
        let (server, head) = self.servers.first()?;
        Some((Family::of(server.address), *head))
    }

    pub(super) fn all_weights_are_zero(&self) -> bool {
        !self.servers.is_empty() && self.servers.iter().all(|(server, _)| server.weight == 0)
    }

    /// The servers of a family; those of the other one are what `report` is called for.
    pub(super) fn finish(
        self,
        family: Family,
        mut report: impl FnMut(IpAddr, Span),
    ) -> Vec<RealServer> {
        let mut fit = Vec::with_capacity(self.servers.len());
        for (server, head) in self.servers {
            if Family::of(server.address) == family {
                fit.push(server);
            } else {
                report(server.address, head);
            }
        }
        fit
    }
}

/// The block's content as far as it has been read.
#[derive(Default)]
struct Draft {
    weight: Setting<u32>,
    upper: Setting<u32>,
    lower: Setting<u32>,
}

/// Reads a real server; the whole block, even if its address is wrong. Without a port of its own it has 0.
fn lower(directive: &Directive<'_>, context: &mut Context<'_>) -> Option<RealServer> {
    let sink = &mut *context.sink;
    let endpoint = value::endpoint(directive, sink);
    let mut draft = Draft::default();
    for child in directive.block.iter().flat_map(|block| &block.children) {
        draft.read(child, sink);
    }
    draft.check_thresholds(sink);
    let (address, port) = endpoint?;
    Some(RealServer {
        address,
        port,
        weight: draft.weight.value().unwrap_or(RealServer::WEIGHT),
        forwarding: Forwarding::Nat,
        upper_threshold: draft.upper.value().unwrap_or(0),
        lower_threshold: draft.lower.value().unwrap_or(0),
        inhibit_on_failure: false,
        notify_up: None,
        notify_down: None,
        smtp_alert: false,
        snmp_name: None,
        checkers: Vec::new(),
        line: context.line(directive.keyword.span),
    })
}

impl Draft {
    fn read(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let (setting, range, usage) = match keyword::visit(child, Place::RealServer, sink) {
            Some(Keyword::Weight) => (&mut self.weight, 0..=WEIGHT_LIMIT, "weight NUMBER"),
            Some(Keyword::UpperThreshold) => (&mut self.upper, 0..=u32::MAX, "uthreshold NUMBER"),
            Some(Keyword::LowerThreshold) => (&mut self.lower, 0..=u32::MAX, "lthreshold NUMBER"),
            _ => return,
        };
        keyword::refuse_block(child, sink);
        let number = value::args(child, 1..=1, usage, sink)
            .and_then(|args| args.first())
            .and_then(|word| value::number(child, word, range, sink));
        setting.set(child, number, sink);
    }

    /// keepalived hands them on as they are, and IPVS then refuses the server.
    fn check_thresholds(&self, sink: &mut Sink) {
        let (Some(upper), Some(lower)) = (self.upper.or(0), self.lower.or(0)) else { return };
        let Some(line) = self.lower.head() else { return };
        if lower <= upper {
            return;
        }
        let report = match (upper, self.upper.head()) {
            (1.., Some(other)) => {
                let message =
                    format!("the lower threshold {lower} is above the upper one, {upper}");
                Diagnostic::new(Code::Thresholds, line, message)
                    .also(other, "the upper one")
                    .help("IPVS refuses such a server; exchange the two")
            }
            _ => Diagnostic::new(Code::Thresholds, line, "a lower threshold without an upper one")
                .help("IPVS refuses such a server; add `uthreshold`, or delete it"),
        };
        sink.push(report);
    }
}
