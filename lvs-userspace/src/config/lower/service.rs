//! A `virtual_server` block.

use std::{net::IpAddr, rc::Rc, time::Duration};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        model::{Family, Forwarding, Protocol, Quorum, Target, VirtualServer},
        schema::{Keyword, Place},
        source::Span,
        tree::Directive,
    },
    Context,
    family::{Decided, FAMILY},
    keyword,
    local_address::{self, Addresses},
    named::{Groups, Named},
    persistence, real_server, schedule,
    setting::Setting,
    target::{self, Subject, Targets},
    value::{self, Choice},
};

/// keepalived's `KEEPALIVED_DEFAULT_DELAY`.
const DELAY_LOOP: Duration = Duration::from_secs(60);

static FORWARDING: Choice<Forwarding> = Choice {
    what: "forwarding method",
    understood: &[("NAT", Forwarding::Nat), ("FNAT", Forwarding::FullNat)],
    not_yet: &["DR", "TUN"],
    any_case: false,
};

pub(super) static PROTOCOL: Choice<Protocol> = Choice {
    what: "protocol",
    understood: &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)],
    not_yet: &["SCTP"],
    any_case: true,
};

/// The blocks that services name.
pub(super) struct Blocks {
    pub(super) locals: Groups<Addresses>,
    pub(super) targets: Groups<Rc<Targets>>,
}

/// What could be read of a service.
pub(super) struct Read {
    /// With family and protocol known even if the rest is wrong, so that duplicates are found.
    pub(super) subject: Option<Subject>,
    pub(super) family: Option<Family>,
    /// Of those targets that have one.
    pub(super) protocol: Option<Protocol>,
    /// How many real servers were written down.
    pub(super) written: usize,
    /// As it is for the first of the targets.
    pub(super) service: Option<VirtualServer>,
}

/// The block's content as far as it has been read.
#[derive(Default)]
struct Draft {
    family: Setting<Family>,
    schedule: schedule::Draft,
    forwarding: Setting<Forwarding>,
    local_addresses: Setting<Named>,
    persistence: persistence::Draft,
    protocol: Setting<Protocol>,
    one_packet: Setting<()>,
    delay_loop: Setting<Duration>,
    real_servers: real_server::List,
}

/// Reads a service; the whole block, even if its head is wrong.
pub(super) fn lower(directive: &Directive<'_>, blocks: &Blocks, context: &mut Context<'_>) -> Read {
    let subject = Subject::read(directive, &blocks.targets, context.sink);
    let port = subject.as_ref().and_then(|subject| subject.address).map_or(0, |(_, port)| port);
    let mut draft = Draft::default();
    for child in directive.block.iter().flat_map(|block| &block.children) {
        draft.read(child, port, context);
    }
    let decided = draft.family(subject.as_ref(), directive.head());
    let (written, protocol) = (draft.real_servers.written(), draft.protocol.or(Protocol::Udp));
    // Without a block, that is the error, and it has been reported.
    let service = directive
        .block
        .as_ref()
        .and_then(|_| draft.finish(directive, subject.as_ref(), decided, &blocks.locals, context))
        .filter(|_| written > 0);
    Read { subject, family: decided.map(|decided| decided.family), protocol, written, service }
}

impl Draft {
    fn read(&mut self, child: &Directive<'_>, port: u16, context: &mut Context<'_>) {
        let Some(keyword) = keyword::visit(child, Place::VirtualServer, context.sink) else {
            return;
        };
        if keyword == Keyword::RealServer {
            self.real_servers.read(child, port, context);
            return;
        }
        let sink = &mut *context.sink;
        keyword::refuse_block(child, sink);
        match keyword {
            Keyword::Family => {
                let word = value::args(child, 1..=1, "ip_family inet|inet6", sink);
                let value = word.and_then(|args| FAMILY.pick(args.first()?, sink));
                self.family.set(child, value, sink);
            }
            Keyword::DelayLoop => {
                let word = value::args(child, 1..=1, "delay_loop SECONDS", sink);
                let value = word.and_then(|args| value::timer(child, args.first()?, sink));
                if value.is_some() {
                    sink.push(no_health_checks(child));
                }
                self.delay_loop.set(child, value, sink);
            }
            Keyword::Scheduler => self.schedule.scheduler(child, sink),
            Keyword::Flag(flag) => self.schedule.flag(flag, child, sink),
            Keyword::Hashed => schedule::hashed(child, sink),
            Keyword::Forwarding => {
                self.forwarding.set(child, forwarding(child, sink), sink);
            }
            Keyword::LocalAddresses => {
                let args = value::args(child, 1..=1, "laddr_group_name NAME", sink);
                let name = args.and_then(|args| args.first()).map(Named::new);
                self.local_addresses.set(child, name, sink);
            }
            Keyword::Protocol => {
                let word = value::args(child, 1..=1, "protocol TCP|UDP", sink);
                let value = word.and_then(|args| PROTOCOL.pick(args.first()?, sink));
                self.protocol.set(child, value, sink);
            }
            Keyword::OnePacket => {
                let flag = value::args(child, 0..=0, "ops", sink).map(|_| ());
                self.one_packet.set(child, flag, sink);
            }
            Keyword::Persistence => self.persistence.timeout(child, sink),
            Keyword::PersistenceAlias => self.persistence.timeout_by_alias(child, sink),
            Keyword::Granularity => self.persistence.granularity(child, sink),
            // These belong in other blocks, which `visit` has checked.
            Keyword::Fwmark
            | Keyword::FwmarkMatch
            | Keyword::GlobalDefs
            | Keyword::LocalAddressGroup
            | Keyword::LowerThreshold
            | Keyword::RealServer
            | Keyword::Timeouts
            | Keyword::UpperThreshold
            | Keyword::VirtualServer
            | Keyword::VirtualServerGroup
            | Keyword::Weight => {}
        }
    }

    /// The family: of the address, or what keepalived takes without one.
    fn family(&self, subject: Option<&Subject>, head: Span) -> Option<Decided> {
        let address = subject?.address.map(|(address, _)| (Family::of(address), head));
        let set = self.family.get().copied().zip(self.family.head());
        Decided::first([
            (address, "the service"),
            (set, "its family"),
            (self.real_servers.family(), "its first real server"),
            (self.persistence.family(), "its granularity"),
        ])
    }

    /// Fills in keepalived's defaults and checks what only the whole block shows.
    fn finish(
        self,
        directive: &Directive<'_>,
        subject: Option<&Subject>,
        decided: Option<Decided>,
        locals: &Groups<Addresses>,
        context: &mut Context<'_>,
    ) -> Option<VirtualServer> {
        let head = directive.head();
        let line = context.line(directive.keyword.span);
        let sink = &mut *context.sink;
        let marks_only = subject.map_or_else(|| target::is_mark(directive), Subject::is_mark);
        self.check_presence(head, marks_only, sink);
        let protocol = self.protocol.or(Protocol::Udp);
        let one_packet = self.one_packet(marks_only, sink);
        if let Some((subject, decided)) = subject.zip(decided) {
            self.check_families(subject, decided, head, sink);
        }
        let local_addresses = self.local_addresses(locals, subject.zip(decided), sink);
        let forwarding = self.forwarding.or(Forwarding::Nat);
        let schedule = self.schedule.finish(head, sink);
        let all_ports = subject.and_then(|subject| subject.targets.all_ports());
        let (subject, decided) = subject.zip(decided)?;
        let persistence = self.persistence.finish(decided.family, all_ports, sink);
        let mut real_servers = self.real_servers.finish(decided.family, |address, span| {
            let what = format!("the real server {address}");
            sink.push(decided.refuse(subject, span, &what));
        });
        let (target, _) = subject.targets.iter().next()?;
        let (scheduler, flags) = schedule?;
        for server in &mut real_servers {
            server.forwarding = forwarding?;
        }
        Some(VirtualServer {
            target,
            family: decided.family,
            protocol: match target {
                Target::Address { .. } => Some(protocol?),
                Target::Mark(_) => None,
            },
            scheduler,
            flags,
            forwarding: forwarding?,
            local_addresses,
            one_packet,
            persistence,
            quorum: Quorum::default(),
            omega: false,
            sorry_server: None,
            ha_suspend: false,
            smtp_alert: false,
            persistence_engine: None,
            snmp_name: None,
            group: None,
            real_servers,
            line,
        })
    }

    /// Whether each packet is scheduled by itself. A mark may be on packets of UDP.
    fn one_packet(&self, marks_only: bool, sink: &mut Sink) -> bool {
        let Some(flag) = self.one_packet.head() else { return false };
        let tcp = !marks_only && self.protocol.or(Protocol::Udp) == Some(Protocol::Tcp);
        if tcp {
            sink.push(
                Diagnostic::new(
                    Code::OpsNeedsUdp,
                    flag,
                    "`ops` is for UDP; on this TCP service it is ignored, as in keepalived",
                )
                .help("delete it"),
            );
        }
        !tcp
    }

    /// What else is of one family must be of that one.
    fn check_families(&self, subject: &Subject, decided: Decided, head: Span, sink: &mut Sink) {
        if let Some((family, span)) = self.family.get().copied().zip(self.family.head())
            && family != decided.family
        {
            sink.push(decided.refuse(subject, span, "its `ip_family`"));
        }
        if let Some((what, line)) = subject.targets.first_of(decided.family.other()) {
            sink.push(decided.refuse(subject, head, &what).also(line, "in its group"));
        }
    }

    fn local_addresses(
        &self,
        groups: &Groups<Addresses>,
        service: Option<(&Subject, Decided)>,
        sink: &mut Sink,
    ) -> Vec<IpAddr> {
        match (self.forwarding.or(Forwarding::Nat), self.local_addresses.head()) {
            (Some(Forwarding::FullNat), _) => {
                let service = service.map(|(subject, decided)| (&*subject.name, decided.family));
                let named = self.local_addresses.get();
                named
                    .map(|named| local_address::of_service(groups, named, service, sink))
                    .unwrap_or_default()
            }
            (Some(Forwarding::Nat), Some(head)) => {
                sink.push(
                    Diagnostic::new(
                        Code::LocalAddressesNeedFullNat,
                        head,
                        "`laddr_group_name` is for full NAT; on this NAT service it is ignored",
                    )
                    .help("write `lb_kind FNAT`, or delete it"),
                );
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn check_presence(&self, head: Span, marks_only: bool, sink: &mut Sink) {
        match (self.protocol.head(), marks_only) {
            (Some(line), true) => sink.push(
                Diagnostic::new(
                    Code::ProtocolOfMark,
                    line,
                    "a firewall mark stands for all protocols; `protocol` is ignored, as in keepalived",
                )
                .help("delete it"),
            ),
            (None, false) => sink.push(
                Diagnostic::new(
                    Code::NoProtocol,
                    head,
                    "no `protocol` here, so it is UDP, as in keepalived",
                )
                .help("write `protocol TCP` if that is not meant, `protocol UDP` if it is"),
            ),
            _ => {}
        }
        if self.real_servers.written() == 0 {
            sink.push(
                Diagnostic::new(
                    Code::NoRealServers,
                    head,
                    "no `real_server` in this virtual server, which is ignored, as in keepalived",
                )
                .help("add `real_server ADDRESS PORT { weight 1 }`, or delete it"),
            );
        }
        if self.real_servers.all_weights_are_zero() {
            sink.push(
                Diagnostic::new(
                    Code::AllWeightsZero,
                    head,
                    "all real servers of this service have weight 0",
                )
                .help("every new connection will be dropped; give one of them a weight"),
            );
        }
        if !self.forwarding.is_set() {
            sink.push(
                Diagnostic::new(
                    Code::DefaultForwarding,
                    head,
                    "no `lb_kind` here, so it is NAT, as in keepalived",
                )
                .help("write `lb_kind NAT` to say so"),
            );
        }
    }
}

fn no_health_checks(child: &Directive<'_>) -> Diagnostic {
    Diagnostic::new(
        Code::NoHealthChecks,
        child.head(),
        format!(
            "{} has no effect yet: this version of xlvs runs no health checks",
            quoted(&child.keyword.text)
        ),
    )
    .help("all real servers count as alive")
}

/// `lb_kind` may have arguments of its own behind a tunnel, about which nobody needs to hear twice.
fn forwarding(child: &Directive<'_>, sink: &mut Sink) -> Option<Forwarding> {
    let most = match child.args.first() {
        Some(word) if word.text == "TUN" => usize::MAX,
        _ => 1,
    };
    let args = value::args(child, 1..=most, "lb_kind NAT|FNAT", sink)?;
    FORWARDING.pick(args.first()?, sink)
}
