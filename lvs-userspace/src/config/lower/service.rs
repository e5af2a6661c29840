//! A `virtual_server` block.

use std::sync::Arc;
use std::{net::IpAddr, rc::Rc};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink},
        model::{
            Connection, Family, Forwarding, Line, Protocol, Quorum, RealServer, Schedule,
            SorryServer, Target, VirtualServer,
        },
        schema::{Keyword, Place},
        source::Span,
        tree::Directive,
    },
    Context,
    family::{Decided, FAMILY},
    forwarding,
    global_defs::Shared,
    keyword,
    local_address::{self, Addresses},
    named::{Groups, Named},
    persistence,
    real_server::{self, Defaults},
    schedule,
    setting::Setting,
    target::{self, Subject, Targets},
    value::{self, Choice},
    values::Values,
};

pub(super) static PROTOCOL: Choice<Protocol> = Choice {
    what: "protocol",
    understood: &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp), ("SCTP", Protocol::Sctp)],
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
    /// What the tables say all about.
    values: Values,
    real_servers: real_server::List,
}

/// Reads a service; the whole block, even if its head is wrong.
pub(super) fn lower(
    directive: &Directive<'_>,
    blocks: &Blocks,
    shared: &Shared,
    context: &mut Context<'_>,
) -> Read {
    let subject = Subject::read(directive, &blocks.targets, context.sink);
    let mut draft = Draft::default();
    let mut servers = Vec::new();
    for child in directive.block.iter().flat_map(|block| &block.children) {
        draft.read(child, &mut servers, context);
    }
    // They have defaults from lines that may stand below them.
    let defaults = draft.defaults(subject.as_ref(), shared);
    for child in servers {
        draft.real_servers.read(child, &defaults, context);
    }
    let decided = draft.family(subject.as_ref(), directive.head());
    let (written, protocol) = (draft.real_servers.written(), draft.protocol.or(Protocol::Udp));
    // Without a block, that is the error, and it has been reported.
    let service = directive
        .block
        .as_ref()
        .and_then(|_| {
            let subject = subject.as_ref();
            draft.finish(directive, subject, decided, (&blocks.locals, &defaults), context)
        })
        // As in keepalived, a service without real servers is none.
        .filter(|service| !service.real_servers.is_empty());
    Read { subject, family: decided.map(|decided| decided.family), protocol, written, service }
}

impl Draft {
    fn read<'d, 's>(
        &mut self,
        child: &'d Directive<'s>,
        servers: &mut Vec<&'d Directive<'s>>,
        context: &mut Context<'_>,
    ) {
        let entry = match keyword::visit_or_guess(child, Place::VirtualServer, context.sink) {
            Ok(entry) => entry,
            Err(guess) => {
                self.values.guess(guess);
                return;
            }
        };
        if entry.keyword == Keyword::RealServer {
            servers.push(child);
            return;
        }
        let sink = &mut *context.sink;
        match entry.keyword {
            Keyword::Family => {
                let word = value::args(child, 1..=1, "ip_family inet|inet6", sink);
                let value = word.and_then(|args| FAMILY.pick(args.first()?, sink));
                self.family.set(child, value, sink);
            }
            Keyword::Scheduler => self.schedule.scheduler(child, sink),
            Keyword::Flag(flag) => self.schedule.flag(flag, child, sink),
            Keyword::Hashed => schedule::hashed(child, sink),
            Keyword::Forwarding => {
                self.forwarding.set(child, forwarding::read(child, sink), sink);
            }
            Keyword::LocalAddresses => {
                let args = value::args(child, 1..=1, "laddr_group_name NAME", sink);
                let name = args.and_then(|args| args.first()).map(Named::new);
                self.local_addresses.set(child, name, sink);
            }
            Keyword::Protocol => {
                let word = value::args(child, 1..=1, "protocol TCP|UDP|SCTP", sink);
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
            _ => {
                self.values.read(entry, child, sink);
                return;
            }
        }
        keyword::refuse_block(child, sink);
    }

    /// What real servers have from the service.
    fn defaults<'a>(&self, subject: Option<&Subject>, shared: &'a Shared) -> Defaults<'a> {
        let values = &self.values;
        let address = subject.and_then(|subject| subject.address);
        Defaults {
            port: address.map_or(0, |(_, port)| port),
            addressed: address.is_some(),
            marked: subject.is_some_and(|subject| subject.is_mark() && subject.group.is_none()),
            forwarding: self.forwarding.or(Forwarding::Nat).unwrap_or(Forwarding::Nat),
            weight: values.number(Keyword::Weight).unwrap_or(RealServer::WEIGHT),
            inhibit: values.is_on(Keyword::Inhibit),
            delay_loop: values.time(Keyword::DelayLoop).unwrap_or(Schedule::DELAY_LOOP),
            connect_timeout: values.time(Keyword::ConnectTimeout).unwrap_or(Connection::TIMEOUT),
            retry: values.number(Keyword::Retry),
            delay_before_retry: values.time(Keyword::DelayBeforeRetry),
            warmup: values.time(Keyword::Warmup),
            alpha: values.is_on(Keyword::Alpha),
            virtualhost: values.text(Keyword::Virtualhost),
            shared,
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
        (locals, defaults): (&Groups<Addresses>, &Defaults<'_>),
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
        let left_out = self.left_out(marks_only, head, sink);
        let meant = |keyword| self.values.is_meant(keyword);
        let schedule = self.schedule.finish((!meant(Keyword::Scheduler)).then_some(head), sink);
        let persistent = self.persistence.is_set();
        let all_ports = subject.and_then(|subject| subject.targets.all_ports());
        let persistence_meant = meant(Keyword::Persistence);
        let (subject, decided) = subject.zip(decided)?;
        let persistence =
            self.persistence.finish(decided.family, all_ports, persistence_meant, sink);
        let real_servers = self.real_servers.finish(decided.family, |address, span| {
            sink.push(decided.leave_out(subject, span, address));
        });
        let (target, _) = subject.targets.iter().next()?;
        let (scheduler, flags) = schedule?;
        let forwarding = forwarding?;
        let values = &self.values;
        let sorry_server = sorry_server(values, directive, defaults, &real_servers, context);
        let sink = &mut *context.sink;
        if let (Some(head), false) = (values.head(Keyword::PersistenceEngine), persistent) {
            let message = "`persistence_engine` is for services with `persistence_timeout`; it is ignored, as in keepalived";
            sink.push(
                Diagnostic::new(Code::EngineNeedsPersistence, head, message)
                    .help("add `persistence_timeout`, or delete it"),
            );
        }
        let service = VirtualServer {
            target,
            family: decided.family,
            protocol: match target {
                Target::Address { .. } => Some(protocol?),
                Target::Mark(_) => None,
            },
            scheduler,
            flags,
            forwarding,
            local_addresses,
            one_packet,
            persistence,
            quorum: quorum(values, &real_servers, sink),
            omega: values.is_on(Keyword::Omega),
            sorry_server,
            ha_suspend: ha_suspend(values, subject, sink),
            smtp_alert: values
                .truth(Keyword::SmtpAlert)
                .or(defaults.shared.smtp_alert)
                .unwrap_or(false),
            persistence_engine: values.text(Keyword::PersistenceEngine).filter(|_| persistent),
            snmp_name: values.text(Keyword::SnmpName),
            group: subject.group.clone(),
            real_servers: Arc::new(real_servers),
            line,
        };
        if !left_out {
            check_balanced(&service, head, sink);
        }
        Some(service)
    }

    /// Whether the data path cannot balance its method or its protocol yet. It says so, whatever else is wrong with it.
    fn left_out(&self, marks_only: bool, head: Span, sink: &mut Sink) -> bool {
        let (place, why) = match (self.forwarding.or(Forwarding::Nat), self.protocol.get()) {
            (Some(method @ (Forwarding::DirectRouting | Forwarding::Tunnel(_))), _) => (
                self.forwarding.head(),
                format!("{method} is not balanced by this version of xlvs"),
            ),
            (_, Some(Protocol::Sctp)) if !marks_only => {
                (self.protocol.head(), "SCTP is not balanced by this version of xlvs".to_owned())
            }
            _ => return false,
        };
        not_balanced(place.unwrap_or(head), &why, sink);
        true
    }

    /// Whether each packet is scheduled by itself. A mark may be on packets of UDP.
    fn one_packet(&self, marks_only: bool, sink: &mut Sink) -> bool {
        let Some(flag) = self.one_packet.head() else { return false };
        let protocol = self.protocol.or(Protocol::Udp);
        let other = !marks_only && matches!(protocol, Some(Protocol::Tcp | Protocol::Sctp));
        if other {
            sink.push(
                Diagnostic::new(
                    Code::OpsNeedsUdp,
                    flag,
                    "`ops` is for UDP; on this service it is ignored, as in keepalived",
                )
                .help("delete it"),
            );
        }
        !other
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
            (Some(_), Some(head)) => {
                sink.push(
                    Diagnostic::new(
                        Code::LocalAddressesNeedFullNat,
                        head,
                        "`laddr_group_name` is for full NAT; on this service it is ignored",
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
            (None, false) if !self.values.is_meant(Keyword::Protocol) => sink.push(
                Diagnostic::new(
                    Code::NoProtocol,
                    head,
                    "no `protocol` here, so it is UDP, as in keepalived",
                )
                .help("write `protocol TCP` if that is not meant, `protocol UDP` if it is"),
            ),
            _ => {}
        }
        if self.real_servers.written() == 0 && !self.values.is_meant(Keyword::RealServer) {
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
                .help("every new connection will be refused; give one of them a weight"),
            );
        }
        if !self.forwarding.is_set() && !self.values.is_meant(Keyword::Forwarding) {
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

/// The quorum, as keepalived corrects it.
fn quorum(values: &Values, servers: &[RealServer], sink: &mut Sink) -> Quorum {
    let mut quorum = Quorum {
        weight: values.number(Keyword::Quorum).unwrap_or(1),
        hysteresis: values.number(Keyword::Hysteresis).unwrap_or(0),
        up: values.script(Keyword::QuorumUp),
        down: values.script(Keyword::QuorumDown),
    };
    let sum: u64 = servers.iter().map(|server| u64::from(server.weight)).sum();
    let most = u32::try_from(sum).unwrap_or(u32::MAX);
    // With all weights 0 there is nothing to correct it to.
    if quorum.weight > most && most > 0 {
        if let Some(head) = values.head(Keyword::Quorum) {
            let message = format!(
                "all real servers together weigh {most}, so the quorum is {most}, not {}",
                quorum.weight
            );
            sink.push(
                Diagnostic::new(Code::QuorumTooHigh, head, message)
                    .help("as in keepalived; write less, or give the servers more weight"),
            );
        }
        quorum.weight = most;
    }
    if quorum.hysteresis >= quorum.weight {
        let less = quorum.weight.saturating_sub(1);
        if let Some(head) = values.head(Keyword::Hysteresis) {
            let message = format!("the hysteresis must be less than the quorum, so it is {less}");
            sink.push(
                Diagnostic::new(Code::HysteresisTooHigh, head, message)
                    .help("as in keepalived; write less, or a greater `quorum`"),
            );
        }
        quorum.hysteresis = less;
    }
    quorum
}

/// keepalived cannot tell which address a mark is for.
fn ha_suspend(values: &Values, subject: &Subject, sink: &mut Sink) -> bool {
    let Some(head) = values.head(Keyword::HaSuspend) else { return false };
    let mark = subject.targets.has_marks();
    if mark {
        let message = "`ha_suspend` is for services with an address; with a firewall mark it is ignored, as in keepalived";
        sink.push(Diagnostic::new(Code::HaSuspendOfMark, head, message).help("delete it"));
    }
    !mark
}

fn sorry_server(
    values: &Values,
    directive: &Directive<'_>,
    defaults: &Defaults<'_>,
    servers: &[RealServer],
    context: &mut Context<'_>,
) -> Option<SorryServer> {
    let head = values.head(Keyword::SorryServer);
    for (keyword, name) in [
        (Keyword::SorryServerInhibit, "sorry_server_inhibit"),
        (Keyword::SorryServerMethod, "sorry_server_lvs_method"),
    ] {
        let Some(line) = values.head(keyword) else { continue };
        if head.is_none_or(|head| line.start() < head.start()) {
            let message = format!(
                "`{name}` counts below `sorry_server` only; it is ignored, as in keepalived"
            );
            let help = if head.is_some() {
                "move it below that line"
            } else {
                "delete it, or add `sorry_server`"
            };
            context.sink.push(Diagnostic::new(Code::AboveSorryServer, line, message).help(help));
        }
    }
    let (address, port) = values.endpoint(Keyword::SorryServer)?;
    let head = head?;
    let below = |keyword| values.head(keyword).is_some_and(|line| line.start() > head.start());
    let method = directive
        .block
        .iter()
        .flat_map(|block| &block.children)
        .rfind(|child| child.keyword.text == "sorry_server_lvs_method")
        .and_then(|child| forwarding::read(child, context.sink))
        .filter(|_| below(Keyword::SorryServerMethod));
    let forwarding = method.unwrap_or(defaults.forwarding);
    let port = defaults.port_for(port, forwarding);
    let mut inhibit = below(Keyword::SorryServerInhibit);
    let twin = servers.iter().find(|server| (server.address, server.port) == (address, port));
    if let Some(twin) = twin {
        inhibit = twin.inhibit_on_failure;
        let message = format!("the sorry server {address} port {port} is one of the real servers");
        context.sink.push(
            Diagnostic::new(Code::SorryIsReal, head, message)
                .help("it is asked to help out when it is down itself; name another host, or delete one of the two"),
        );
    }
    Some(SorryServer { address, port, forwarding, inhibit, line: Line(context.line(head)) })
}

/// Says what of a service the data path cannot balance yet, if that is not its method or its protocol.
fn check_balanced(service: &VirtualServer, head: Span, sink: &mut Sink) {
    if !service.is_balanced() {
        not_balanced(head, "its real servers have different forwarding methods", sink);
    } else if let Some(sorry) = &service.sorry_server
        && sorry.forwarding != service.forwarding
    {
        let why = "its sorry server is left out: that has another forwarding method";
        sink.push(
            Diagnostic::new(Code::NotBalanced, head, why).help(
                "delete `sorry_server_lvs_method`, for xlvs knows one method for each service",
            ),
        );
    }
}

fn not_balanced(place: Span, why: &str, sink: &mut Sink) {
    sink.push(
        Diagnostic::new(Code::NotBalanced, place, format!("this service is left out: {why}"))
            .help("its packets go to the host itself, as if the service were not there"),
    );
}
