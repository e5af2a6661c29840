//! From the words of a command line to what is asked for, with ipvsadm's own checks in its order and its words.

use std::net::Ipv4Addr;

use super::{
    Fail,
    names::address_of,
    options::{Given, Options, Tag},
    place::{Named, Service, number, place},
    rules::{self, Command, Opt},
};
use crate::{
    config::Family,
    control::edit::{Mask, PersistenceSpec, ServerName, ServerSpec, ServiceSpec},
    inspect::ServiceName,
};

/// Of a persistent service whose time-out is not given, in seconds (`IPVS_SVC_PERSISTENT_TIMEOUT`).
const DEFAULT_PERSISTENCE: u32 = 360;

/// 31 days.
const LONGEST_TIMEOUT: i64 = 86_400 * 31;

/// IPVS's `int`.
const INT_MAX: i64 = i32::MAX as i64;

/// How a listing is to look.
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Format {
    pub(super) numeric: bool,
    /// As the arguments of `-R`.
    pub(super) rules: bool,
    pub(super) stats: bool,
    pub(super) rate: bool,
    pub(super) thresholds: bool,
    pub(super) persistent: bool,
    pub(super) no_sort: bool,
    pub(super) exact: bool,
    pub(super) tunnels: bool,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Job {
    List(Option<ServiceName>, Format),
    ListConnections(Format),
    ListTimeouts,
    ListDaemon,
    Edit(crate::control::edit::Edit),
    Restore,
    Help,
    Version,
}

/// Why the words are not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Misuse {
    /// Nothing more is done.
    Fail(Fail),
    /// A command line of `-R` is passed over.
    Skip(String),
    /// So is this, with a hint where help is.
    TryHelp,
}

impl From<Fail> for Misuse {
    fn from(fail: Fail) -> Self {
        Self::Fail(fail)
    }
}

fn wrong(text: impl Into<String>) -> Fail {
    Fail { code: 2, text: text.into() }
}

fn unsupported(text: &str) -> Fail {
    Fail { code: 1, text: text.to_owned() }
}

/// How packets get to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Gatewaying,
    Tunnelling,
    Masquerading,
}

/// A command line while it is read.
#[derive(Debug)]
struct Draft {
    command: Command,
    given: u64,
    service: Service,
    scheduler: String,
    persistence: Option<u32>,
    one_packet: bool,
    flags: Option<String>,
    server: Option<(ServerName, Family)>,
    method: Method,
    spec: ServerSpec,
    format: Format,
    sctp: bool,
    engine: bool,
}

/// Reads a command line without its first word.
pub(super) fn parse(words: &[String]) -> Result<Job, Misuse> {
    let mut options = Options::of(words);
    let command = match options.next() {
        Ok(Some(Given { tag: Tag::Help, .. })) => return Ok(Job::Help),
        Ok(Some(Given { tag: Tag::Version, .. })) => return Ok(Job::Version),
        Ok(Some(Given { tag: Tag::StartDaemon, argument })) => {
            daemon(argument.as_deref(), "illegal start-daemon parameter specified")?
        }
        Ok(Some(Given { tag: Tag::StopDaemon, argument })) => {
            daemon(argument.as_deref(), "illegal start_daemon specified")?
        }
        Ok(Some(Given { tag, .. })) => Command::of(tag).ok_or(Misuse::TryHelp)?,
        Ok(None) | Err(_) => return Err(Misuse::TryHelp),
    };
    let mut draft = Draft::new(command);
    loop {
        match options.next() {
            Ok(Some(given)) => draft.take(given, options.last())?,
            Ok(None) => break,
            Err(fault) => {
                return Err(Misuse::Skip(format!("{}: {}", options.last(), fault.text())));
            }
        }
    }
    let rest = options.rest();
    let mut rest = rest.into_iter();
    let timeouts = if command == Command::Set { Some(timeouts(&mut rest)?) } else { None };
    if let Some(unexpected) = rest.next() {
        return Err(wrong(format!("unexpected argument {unexpected}")).into());
    }
    Ok(draft.job(timeouts)?)
}

fn daemon(argument: Option<&str>, illegal: &str) -> Result<Command, Fail> {
    match argument {
        Some("master" | "backup") => {
            Err(unsupported("xlvs: there is no connection synchronization daemon"))
        }
        _ => Err(wrong(illegal)),
    }
}

fn timeouts(words: &mut dyn Iterator<Item = &str>) -> Result<[u32; 3], Fail> {
    let mut next = || words.next().ok_or_else(|| wrong("--set option requires 3 timeout values"));
    let words = [next()?, next()?, next()?];
    let mut values = [0; 3];
    for (value, word) in values.iter_mut().zip(words) {
        *value = timeout(word, 0)?;
    }
    Ok(values)
}

fn timeout(text: &str, least: i64) -> Result<u32, Fail> {
    let value = number(text, least, LONGEST_TIMEOUT).and_then(|value| value.try_into().ok());
    value.ok_or_else(|| wrong(format!("invalid timeout value `{text}' specified")))
}

impl Draft {
    fn new(command: Command) -> Self {
        Self {
            command,
            given: 0,
            service: Service {
                protocol: None,
                family: None,
                address: Ipv4Addr::UNSPECIFIED.into(),
                port: 0,
                mark: 0,
                mask: Mask::Mask(Ipv4Addr::BROADCAST),
            },
            scheduler: String::new(),
            persistence: None,
            one_packet: false,
            flags: None,
            server: None,
            method: Method::Gatewaying,
            spec: ServerSpec { weight: 1, upper_threshold: 0, lower_threshold: 0 },
            format: Format::default(),
            sctp: false,
            engine: false,
        }
    }

    /// Notes that an option is there, once.
    fn note(&mut self, option: Opt) -> Result<(), Fail> {
        let bit = 1 << option as u64;
        if self.given & bit != 0 {
            return Err(wrong(format!("multiple '{}' options specified", option.name())));
        }
        self.given |= bit;
        Ok(())
    }

    fn has(&self, option: Opt) -> bool {
        self.given & 1 << option as u64 != 0
    }

    fn take(&mut self, given: Given, word: &str) -> Result<(), Fail> {
        let Given { tag, argument } = given;
        let text = argument.as_deref().unwrap_or_default();
        let Some(option) = Opt::of(tag) else {
            return match tag {
                Tag::Sort => Ok(()),
                Tag::Ipv6 if self.service.mark != 0 => {
                    self.service.family = Some(Family::Ipv6);
                    self.service.mask = Mask::Prefix(128);
                    Ok(())
                }
                Tag::Ipv6 => Err(wrong("-6 used before -f\n")),
                _ => Err(wrong(format!("invalid option `{word}'"))),
            };
        };
        self.note(option)?;
        match tag {
            Tag::TcpService => self.take_service(Named::Tcp, text)?,
            Tag::UdpService => self.take_service(Named::Udp, text)?,
            Tag::SctpService => self.take_service(Named::Sctp, text)?,
            Tag::MarkService => {
                self.service.family = Some(Family::Ipv4);
                self.service.protocol = Some(Named::Tcp);
                let mark = number(text, 1, u32::MAX.into()).and_then(|mark| mark.try_into().ok());
                self.service.mark =
                    mark.ok_or_else(|| wrong(format!("invalid fwmark value `{text}' specified")))?;
            }
            // What is longer is no scheduler's name.
            Tag::Scheduler => self.scheduler = text.chars().take(15).collect(),
            Tag::Persistent => {
                let given = argument.as_deref();
                self.persistence =
                    Some(given.map_or(Ok(DEFAULT_PERSISTENCE), |text| timeout(text, 1))?);
            }
            Tag::Netmask => self.take_mask(text)?,
            Tag::RealServer => {
                let mut server = self.service;
                if !place(text, &mut server) {
                    return Err(wrong("illegal real server address[:port] specified"));
                }
                let name = ServerName { address: server.address, port: server.port };
                self.server = server.family.map(|family| (name, family));
            }
            Tag::Masquerading => self.method = Method::Masquerading,
            Tag::Tunnelling => self.method = Method::Tunnelling,
            Tag::Gatewaying => self.method = Method::Gatewaying,
            Tag::Weight => self.spec.weight = int(text, 0, INT_MAX, "illegal weight specified")?,
            Tag::UpperThreshold => {
                self.spec.upper_threshold = int(text, 0, INT_MAX, "illegal u_threshold specified")?;
            }
            Tag::LowerThreshold => {
                self.spec.lower_threshold = int(text, 0, INT_MAX, "illegal l_threshold specified")?;
            }
            Tag::SyncId => drop(int(text, 0, 255, "illegal syncid specified")?),
            Tag::McastPort => drop(int(text, 1, 65_535, "illegal mcast-port specified")?),
            Tag::McastTtl => drop(int(text, 1, 255, "illegal mcast-ttl specified")?),
            Tag::SyncMaxlen => drop(int(text, 1, 65_507, "illegal sync-maxlen specified")?),
            Tag::TunPort => drop(int(text, 1, 65_535, "illegal tunnel port specified")?),
            Tag::TunType if !["ipip", "gue", "gre"].contains(&text) => {
                return Err(wrong("illegal tunnel type specified"));
            }
            Tag::Numeric => self.format.numeric = true,
            Tag::Stats => self.format.stats = true,
            Tag::Rate => self.format.rate = true,
            Tag::Thresholds => self.format.thresholds = true,
            Tag::PersistentConn => self.format.persistent = true,
            Tag::NoSort => self.format.no_sort = true,
            Tag::Exact => self.format.exact = true,
            Tag::TunInfo => self.format.tunnels = true,
            Tag::OnePacket => self.one_packet = true,
            Tag::PersistenceEngine => self.engine = true,
            Tag::SchedulerFlags => self.flags = Some(text.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn take_service(&mut self, protocol: Named, text: &str) -> Result<(), Fail> {
        self.service.protocol = Some(protocol);
        self.sctp = protocol == Named::Sctp;
        if place(text, &mut self.service) {
            Ok(())
        } else {
            Err(wrong("illegal virtual server address[:port] specified"))
        }
    }

    fn take_mask(&mut self, text: &str) -> Result<(), Fail> {
        self.service.mask = if self.service.family == Some(Family::Ipv6) {
            let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
            let length = digits.parse().ok().filter(|length| (1..=128).contains(length));
            Mask::Prefix(length.ok_or_else(|| wrong("illegal ipv6 netmask specified"))?)
        } else {
            let mask = address_of(text);
            Mask::Mask(
                mask.ok_or_else(|| wrong("illegal virtual server persistent mask specified"))?,
            )
        };
        Ok(())
    }

    /// The checks that come when all has been read, and what is asked for.
    fn job(self, timeouts: Option<[u32; 3]>) -> Result<Job, Fail> {
        use crate::control::edit::Edit;
        let flags = match &self.flags {
            Some(flags) if !flags.is_empty() => rules::scheduler_flags(&self.scheduler, flags)?,
            _ => [false; 3],
        };
        rules::check(self.command, self.given)?;
        let name = self.name();
        match self.command {
            Command::AddService | Command::EditService => {
                let spec = self.service_spec(flags)?;
                let service = name?;
                Ok(Job::Edit(match self.command {
                    Command::AddService => Edit::AddService { service, spec },
                    _ => Edit::EditService { service, spec },
                }))
            }
            Command::DeleteService => Ok(Job::Edit(Edit::DeleteService { service: name? })),
            Command::Clear => Ok(Job::Edit(Edit::Clear)),
            Command::AddServer | Command::EditServer => {
                let server = self.checked_server()?;
                let (service, spec) = (name?, self.spec);
                Ok(Job::Edit(match self.command {
                    Command::AddServer => Edit::AddServer { service, server, spec },
                    _ => Edit::EditServer { service, server, spec },
                }))
            }
            Command::DeleteServer => {
                let server = self.server.map(|(server, _)| server);
                let server = server.ok_or_else(|| wrong("no real server"))?;
                Ok(Job::Edit(Edit::DeleteServer { service: name?, server }))
            }
            Command::Zero => {
                let service = if self.has(Opt::Service) { Some(name?) } else { None };
                Ok(Job::Edit(Edit::Zero { service }))
            }
            Command::Set => {
                let [tcp, tcp_fin, udp] = timeouts.unwrap_or_default();
                Ok(Job::Edit(Edit::SetTimeouts { tcp, tcp_fin, udp }))
            }
            Command::Restore => Ok(Job::Restore),
            Command::Save => Ok(Job::List(None, Format { rules: true, ..self.format })),
            Command::List => self.listing(name),
        }
    }

    fn listing(self, name: Result<ServiceName, Fail>) -> Result<Job, Fail> {
        let any = |options: &[Opt]| options.iter().any(|option| self.has(*option));
        if any(&[Opt::Connection, Opt::Timeout, Opt::Daemon])
            && any(&[Opt::Stats, Opt::Rate, Opt::Thresholds])
            || any(&[Opt::Timeout, Opt::Daemon]) && any(&[Opt::PersistentConn])
        {
            return Err(wrong("options conflicts in the list command"));
        }
        Ok(if self.has(Opt::Connection) {
            Job::ListConnections(self.format)
        } else if self.has(Opt::Service) {
            Job::List(Some(name?), self.format)
        } else if self.has(Opt::Timeout) {
            Job::ListTimeouts
        } else if self.has(Opt::Daemon) {
            Job::ListDaemon
        } else {
            Job::List(None, self.format)
        })
    }

    fn service_spec(&self, [first, second, third]: [bool; 3]) -> Result<ServiceSpec, Fail> {
        let Service { mark, port, protocol, .. } = self.service;
        if mark == 0 && port == 0 && self.persistence.is_none() {
            return Err(wrong("Zero port specified for non-persistent service"));
        }
        if self.one_packet && mark == 0 && protocol != Some(Named::Udp) {
            return Err(wrong("One-Packet Scheduling is only for UDP virtual services"));
        }
        if self.engine {
            return Err(unsupported("xlvs: there are no persistence engines"));
        }
        let scheduler = if self.scheduler.is_empty() { rules::SCHEDULER } else { &self.scheduler };
        Ok(ServiceSpec {
            scheduler: scheduler.to_owned(),
            fallback: first,
            source_port: second,
            flag_3: third,
            one_packet: self.one_packet,
            persistence: self
                .persistence
                .map(|timeout| PersistenceSpec { timeout, granularity: Some(self.service.mask) }),
        })
    }

    fn checked_server(&self) -> Result<ServerName, Fail> {
        let (server, family) = self.server.ok_or_else(|| wrong("no real server"))?;
        if self.service.family != Some(family) && self.method != Method::Tunnelling {
            return Err(wrong("Different address family is allowed only for tunneling servers"));
        }
        let tunnel = [Opt::TunType, Opt::TunPort, Opt::TunNocsum, Opt::TunCsum, Opt::TunRemcsum];
        if self.method != Method::Tunnelling && tunnel.into_iter().any(|option| self.has(option)) {
            return Err(wrong("Tunnel options conflict with forward method"));
        }
        if self.method != Method::Masquerading {
            return Err(unsupported(
                "xlvs: there is no direct routing (-g, which is ipvsadm's default) and no tunneling (-i); give -m",
            ));
        }
        Ok(server)
    }

    fn name(&self) -> Result<ServiceName, Fail> {
        let Service { protocol, family, address, port, mark, .. } = self.service;
        if mark != 0 {
            return Ok(ServiceName::Mark { mark, family: family.unwrap_or(Family::Ipv4) });
        }
        let protocol = protocol.and_then(Named::balanced);
        let protocol =
            protocol.ok_or_else(|| unsupported("xlvs: TCP and UDP are balanced, SCTP is not"))?;
        Ok(ServiceName::Address { protocol, address, port })
    }
}

fn int(text: &str, least: i64, most: i64, illegal: &str) -> Result<u32, Fail> {
    let value = number(text, least, most).and_then(|value| value.try_into().ok());
    value.ok_or_else(|| wrong(illegal))
}
