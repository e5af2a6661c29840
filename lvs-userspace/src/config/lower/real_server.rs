//! The `real_server` blocks of a service.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        model::{Checker, Family, Forwarding, Line, RealServer},
        schema::{Keyword, Place},
        source::Span,
        tree::Directive,
    },
    Context,
    checker::{self, Inherited},
    forwarding,
    global_defs::Shared,
    keyword, value,
    values::Values,
};

/// As many real servers as one service's table holds.
const REAL_SERVERS: usize = 1_000;

/// What real servers have from their service.
#[expect(clippy::struct_excessive_bools, reason = "lines of a configuration that are there or not")]
pub(super) struct Defaults<'a> {
    /// That of the service's address; 0 without one.
    pub(super) port: u16,
    /// Whether the service has one address.
    pub(super) addressed: bool,
    /// Whether it is of one mark.
    pub(super) marked: bool,
    pub(super) forwarding: Forwarding,
    pub(super) weight: u32,
    pub(super) inhibit: bool,
    pub(super) delay_loop: Duration,
    pub(super) connect_timeout: Duration,
    pub(super) retry: Option<u32>,
    pub(super) delay_before_retry: Option<Duration>,
    pub(super) warmup: Option<Duration>,
    pub(super) alpha: bool,
    pub(super) virtualhost: Option<String>,
    pub(super) shared: &'a Shared,
}

impl Defaults<'_> {
    /// The port that a server gets: what it says, that of the service, and without NAT no other one, because only NAT
    /// changes ports. That keepalived corrects such a port is not said: without NAT the server is left out.
    pub(super) fn port_for(&self, port: u16, forwarding: Forwarding) -> u16 {
        let rewrites = matches!(forwarding, Forwarding::Nat | Forwarding::FullNat);
        let right = match (self.addressed, self.marked) {
            (true, _) => self.port,
            // That of the client, for a mark has none.
            (_, true) => 0,
            _ => return port,
        };
        if rewrites && port != 0 { port } else { right }
    }
}

/// The real servers of a service.
#[derive(Default)]
pub(super) struct List {
    /// With where each stands.
    servers: Vec<(RealServer, Span)>,
    heads: HashMap<(IpAddr, u16), Span>,
    written: usize,
}

impl List {
    /// Reads a block.
    pub(super) fn read(
        &mut self,
        child: &Directive<'_>,
        defaults: &Defaults<'_>,
        context: &mut Context<'_>,
    ) {
        self.written += 1;
        if self.written == REAL_SERVERS + 1 {
            let message = format!("more than {REAL_SERVERS} real servers in one service");
            context.sink.push(
                Diagnostic::new(Code::TooMany, child.head(), message)
                    .label("the first one too many")
                    .help("spread them over several services"),
            );
        }
        let Some(server) = lower(child, defaults, context) else { return };
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
            // A tunnel may be of the other family.
            let tunnel = matches!(server.forwarding, Forwarding::Tunnel(_));
            if tunnel || Family::of(server.address) == family {
                fit.push(server);
            } else {
                report(server.address, head);
            }
        }
        fit
    }
}

/// Reads a real server; the whole block, even if its address is wrong.
fn lower(
    directive: &Directive<'_>,
    defaults: &Defaults<'_>,
    context: &mut Context<'_>,
) -> Option<RealServer> {
    let sink = &mut *context.sink;
    let endpoint = value::endpoint(directive, sink);
    let mut values = Values::default();
    let mut method = None;
    let mut checks = Vec::new();
    for child in directive.block.iter().flat_map(|block| &block.children) {
        let Some(entry) = keyword::visit(child, Place::RealServer, sink) else { continue };
        match entry.keyword {
            Keyword::Checker => {
                checks.push(child);
                continue;
            }
            Keyword::Forwarding => method = forwarding::read(child, sink),
            _ => {}
        }
        values.read(entry, child, sink);
    }
    check_thresholds(&values, sink);
    let forwarding = method.unwrap_or(defaults.forwarding);
    let (address, port) = endpoint.unwrap_or((IpAddr::from([0, 0, 0, 0]), 0));
    let port = defaults.port_for(port, forwarding);
    let inherited = inherited((address, port), &values, defaults);
    // The checkers too are read even if the address is wrong, but then nothing is said that may follow from it.
    let checkers: Vec<Arc<Checker>> = if endpoint.is_some() {
        let checkers = checks.iter().filter_map(|check| checker::lower(check, &inherited, context));
        checkers.map(Arc::new).collect()
    } else {
        Vec::new()
    };
    endpoint?;
    Some(RealServer {
        address,
        port,
        weight: values.number(Keyword::Weight).unwrap_or(defaults.weight),
        forwarding,
        upper_threshold: values.number(Keyword::UpperThreshold).unwrap_or(0),
        lower_threshold: values.number(Keyword::LowerThreshold).unwrap_or(0),
        inhibit_on_failure: values.truth(Keyword::Inhibit).unwrap_or(defaults.inhibit),
        notify_up: values.script(Keyword::NotifyUp).map(Arc::new),
        notify_down: values.script(Keyword::NotifyDown).map(Arc::new),
        // Unlike the service's, on by default: keepalived keeps an old inconsistency.
        smtp_alert: values.truth(Keyword::SmtpAlert).or(defaults.shared.smtp_alert).unwrap_or(true),
        snmp_name: values.text(Keyword::SnmpName),
        checkers,
        line: Line(context.line(directive.keyword.span)),
    })
}

fn inherited<'a>(
    (address, port): (IpAddr, u16),
    values: &Values,
    defaults: &Defaults<'a>,
) -> Inherited<'a> {
    Inherited {
        address,
        port,
        delay_loop: values.time(Keyword::DelayLoop).unwrap_or(defaults.delay_loop),
        service_delay_loop: defaults.delay_loop,
        connect_timeout: values.time(Keyword::ConnectTimeout).unwrap_or(defaults.connect_timeout),
        retry: values.number(Keyword::Retry).or(defaults.retry),
        delay_before_retry: values.time(Keyword::DelayBeforeRetry).or(defaults.delay_before_retry),
        warmup: values.time(Keyword::Warmup).or(defaults.warmup),
        alpha: values.truth(Keyword::Alpha).unwrap_or(defaults.alpha),
        log_all_failures: defaults.shared.log_all_failures,
        virtualhost: values.text(Keyword::Virtualhost).or_else(|| defaults.virtualhost.clone()),
        track_files: &defaults.shared.track_files,
        bfd: &defaults.shared.bfd,
    }
}

/// keepalived hands them on as they are, and IPVS then refuses the server.
fn check_thresholds(values: &Values, sink: &mut Sink) {
    let given = |keyword| match values.head(keyword) {
        Some(_) => values.number::<u32>(keyword),
        None => Some(0),
    };
    let Some((upper, lower)) = given(Keyword::UpperThreshold).zip(given(Keyword::LowerThreshold))
    else {
        return;
    };
    let Some(line) = values.head(Keyword::LowerThreshold) else { return };
    if lower <= upper {
        return;
    }
    let report = match (upper, values.head(Keyword::UpperThreshold)) {
        (1.., Some(other)) => {
            let message = format!("the lower threshold {lower} is above the upper one, {upper}");
            Diagnostic::new(Code::Thresholds, line, message)
                .also(other, "the upper one")
                .help("IPVS refuses such a server; exchange the two")
        }
        _ => Diagnostic::new(Code::Thresholds, line, "a lower threshold without an upper one")
            .help("IPVS refuses such a server; add `uthreshold`, or delete it"),
    };
    sink.push(report);
}
