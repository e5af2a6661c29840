//! A `virtual_server` block.

use std::{
    collections::{HashMap, hash_map::Entry},
    net::IpAddr,
    time::Duration,
};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        model::{
            Family, Forwarding, Granularity, Persistence, Protocol, RealServer, Scheduler,
            SchedulerFlags, Target, VirtualServer,
        },
        schema::{Keyword, Place},
        source::Span,
        tree::Directive,
    },
    Context, keyword,
    local_address::{Groups, Named},
    real_server,
    setting::Setting,
    value::{self, Choice},
};

/// As many real servers as one service's table holds.
const REAL_SERVERS: usize = 1_000;

/// keepalived's `KEEPALIVED_DEFAULT_DELAY`.
const DELAY_LOOP: Duration = Duration::from_secs(60);

/// The kernel's `IPVS_SVC_PERSISTENT_TIMEOUT`, for the keyword without a number.
const PERSISTENCE: u32 = 360;

static SCHEDULER: Choice<Scheduler> = Choice {
    what: "scheduler",
    understood: &[("rr", Scheduler::RoundRobin)],
    not_yet: &[
        "wrr", "lc", "wlc", "lblc", "sh", "mh", "dh", "fo", "ovf", "lblcr", "sed", "nq", "twos",
    ],
    any_case: false,
};

static FORWARDING: Choice<Forwarding> = Choice {
    what: "forwarding method",
    understood: &[("NAT", Forwarding::Nat), ("FNAT", Forwarding::FullNat)],
    not_yet: &["DR", "TUN"],
    any_case: false,
};

static PROTOCOL: Choice<Protocol> = Choice {
    what: "protocol",
    understood: &[("TCP", Protocol::Tcp), ("UDP", Protocol::Udp)],
    not_yet: &["SCTP"],
    any_case: true,
};

/// What could be read of a service.
pub(super) struct Read {
    /// Address, port and protocol, known even if the rest is wrong, so that duplicates are found.
    pub(super) key: Option<(IpAddr, u16, Protocol)>,
    /// How many real servers were written down.
    pub(super) real_servers: usize,
    pub(super) service: Option<VirtualServer>,
}

/// The block's content as far as it has been read.
#[derive(Default)]
struct Draft {
    /// The service's own, if it could be read, and where it stands.
    address: Option<(IpAddr, Span)>,
    scheduler: Setting<Scheduler>,
    forwarding: Setting<Forwarding>,
    local_addresses: Setting<Named>,
    persistence: Setting<Duration>,
    protocol: Setting<Protocol>,
    one_packet: Setting<()>,
    delay_loop: Setting<Duration>,
    real_servers: Vec<RealServer>,
    heads: HashMap<(IpAddr, u16), Span>,
    written: usize,
}

/// Reads a service; the whole block, even if its address is wrong.
pub(super) fn lower(directive: &Directive<'_>, groups: &Groups, context: &mut Context<'_>) -> Read {
    let endpoint = value::endpoint(directive, context.sink);
    let mut draft = Draft {
        address: endpoint.map(|(address, _)| (address, directive.head())),
        ..Draft::default()
    };
    for child in directive.block.iter().flat_map(|block| &block.children) {
        draft.read(child, context);
    }
    let real_servers = draft.written;
    let key =
        endpoint.zip(draft.protocol()).map(|((address, port), protocol)| (address, port, protocol));
    // Without a block, that is the error, and it has been reported.
    let service =
        directive.block.as_ref().and_then(|_| draft.finish(directive, endpoint, groups, context));
    Read { key, real_servers, service }
}

impl Draft {
    fn read(&mut self, child: &Directive<'_>, context: &mut Context<'_>) {
        let Some(keyword) = keyword::visit(child, Place::VirtualServer, context.sink) else {
            return;
        };
        if keyword == Keyword::RealServer {
            self.real_server(child, context);
            return;
        }
        let sink = &mut *context.sink;
        keyword::refuse_block(child, sink);
        match keyword {
            Keyword::DelayLoop => {
                let word = value::args(child, 1..=1, "delay_loop SECONDS", sink);
                let value = word.and_then(|args| value::timer(child, args.first()?, sink));
                if value.is_some() {
                    sink.push(no_health_checks(child));
                }
                self.delay_loop.set(child, value, sink);
            }
            Keyword::Scheduler => {
                let word = value::args(child, 1..=1, "lb_algo SCHEDULER", sink);
                let value = word.and_then(|args| SCHEDULER.pick(args.first()?, sink));
                self.scheduler.set(child, value, sink);
            }
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
            Keyword::Persistence => self.persistence.set(child, persistence(child, sink), sink),
            Keyword::PersistenceAlias => {
                sink.push(
                    Diagnostic::new(
                        Code::AliasSpelling,
                        child.keyword.span,
                        "keepalived spells this `persistence_timeout`",
                    )
                    .help("both work here; keepalived itself knows only its own spelling"),
                );
                self.persistence.set(child, persistence(child, sink), sink);
            }
            // These belong in other blocks, which `visit` has checked.
            Keyword::GlobalDefs
            | Keyword::LocalAddressGroup
            | Keyword::RealServer
            | Keyword::Timeouts
            | Keyword::VirtualServer
            | Keyword::Weight => {}
        }
    }

    fn real_server(&mut self, child: &Directive<'_>, context: &mut Context<'_>) {
        self.written += 1;
        if self.written == REAL_SERVERS + 1 {
            let message = format!("more than {REAL_SERVERS} real servers in one service");
            context.sink.push(
                Diagnostic::new(Code::TooMany, child.head(), message)
                    .label("the first one too many")
                    .help("spread them over several services"),
            );
        }
        let Some(server) = real_server::lower(child, context) else { return };
        if let Some((address, head)) = self.address
            && address.is_ipv4() != server.address.is_ipv4()
        {
            let what = format!("the real server {}", server.address);
            let report = value::wrong_family(child.head(), &what, server.address, address);
            context.sink.push(report.also(head, "the service"));
            return;
        }
        match self.heads.entry((server.address, server.port)) {
            Entry::Vacant(free) => {
                free.insert(child.head());
                self.real_servers.push(server);
            }
            Entry::Occupied(first) => context.sink.push(
                Diagnostic::new(
                    Code::DuplicateRealServer,
                    child.head(),
                    format!(
                        "the real server {} port {} is there already; this one is left out",
                        server.address, server.port
                    ),
                )
                .also(*first.get(), "first here")
                .help("delete one of the two; a larger share is what `weight` is for"),
            ),
        }
    }

    /// Fills in keepalived's defaults and checks what only the whole block shows.
    fn finish(
        self,
        directive: &Directive<'_>,
        endpoint: Option<(IpAddr, u16)>,
        groups: &Groups,
        context: &mut Context<'_>,
    ) -> Option<VirtualServer> {
        let head = directive.head();
        let sink = &mut *context.sink;
        self.check_presence(head, sink);
        let protocol = self.protocol();
        if protocol == Some(Protocol::Tcp)
            && let Some(flag) = self.one_packet.head()
        {
            sink.push(
                Diagnostic::new(
                    Code::OpsNeedsUdp,
                    flag,
                    "`ops` is for UDP; on this TCP service it is ignored, as in keepalived",
                )
                .help("delete it"),
            );
        }
        if !self.real_servers.is_empty()
            && self.real_servers.iter().all(|server| server.weight == 0)
        {
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
        let local_addresses = self.local_addresses(groups, sink);
        let (address, port) = endpoint?;
        Some(VirtualServer {
            target: Target::Address { address, port },
            family: Family::of(address),
            protocol: Some(protocol?),
            scheduler: self.scheduler.value()?,
            flags: SchedulerFlags::default(),
            forwarding: self.forwarding.or(Forwarding::Nat)?,
            local_addresses,
            one_packet: self.one_packet.is_set() && protocol == Some(Protocol::Udp),
            persistence: self.persistence.value().map(|timeout| Persistence {
                timeout,
                granularity: Granularity::full(Family::of(address)),
            }),
            delay_loop: self.delay_loop.value().unwrap_or(DELAY_LOOP),
            real_servers: self.real_servers,
            line: context.line(directive.keyword.span),
        })
    }

    fn local_addresses(&self, groups: &Groups, sink: &mut Sink) -> Vec<IpAddr> {
        match (self.forwarding.or(Forwarding::Nat), self.local_addresses.head()) {
            (Some(Forwarding::FullNat), _) => {
                let named = self.local_addresses.get();
                named.map(|named| groups.of(named, self.address, sink)).unwrap_or_default()
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

    /// The protocol, keepalived's default if none is set.
    fn protocol(&self) -> Option<Protocol> {
        self.protocol.or(Protocol::Udp)
    }

    fn check_presence(&self, head: Span, sink: &mut Sink) {
        if !self.scheduler.is_set() {
            sink.push(
                Diagnostic::new(
                    Code::NoScheduler,
                    head,
                    "no `lb_algo` here; keepalived would take `wlc`, which this version of xlvs does not have yet",
                )
                .help("add `lb_algo rr`"),
            );
        }
        if !self.protocol.is_set() {
            sink.push(
                Diagnostic::new(
                    Code::NoProtocol,
                    head,
                    "no `protocol` here, so it is UDP, as in keepalived",
                )
                .help("write `protocol TCP` if that is not meant, `protocol UDP` if it is"),
            );
        }
        if self.written == 0 {
            sink.push(
                Diagnostic::new(
                    Code::NoRealServers,
                    head,
                    "no `real_server` in this virtual server",
                )
                .help("add `real_server ADDRESS PORT { weight 1 }`"),
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

fn persistence(child: &Directive<'_>, sink: &mut Sink) -> Option<Duration> {
    let args = value::args(child, 0..=1, "persistence_timeout SECONDS", sink)?;
    let seconds = match args.first() {
        Some(word) => value::number(child, word, 1..=value::TIMEOUT_LIMIT, sink)?,
        None => PERSISTENCE,
    };
    Some(Duration::from_secs(seconds.into()))
}
