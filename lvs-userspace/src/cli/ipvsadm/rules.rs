//! Which options go with which command, and the names that the complaints have for them.

use super::{Fail, options::Tag};

/// The scheduler of a service that names none.
pub(super) const SCHEDULER: &str = "wlc";

/// What ipvsadm can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    AddService,
    EditService,
    DeleteService,
    Clear,
    List,
    AddServer,
    DeleteServer,
    EditServer,
    Set,
    Restore,
    Save,
    Zero,
}

impl Command {
    /// The command that an option is.
    pub(super) const fn of(tag: Tag) -> Option<Self> {
        Some(match tag {
            Tag::AddService => Self::AddService,
            Tag::EditService => Self::EditService,
            Tag::DeleteService => Self::DeleteService,
            Tag::Clear => Self::Clear,
            Tag::List => Self::List,
            Tag::AddServer => Self::AddServer,
            Tag::DeleteServer => Self::DeleteServer,
            Tag::EditServer => Self::EditServer,
            Tag::Set => Self::Set,
            Tag::Restore => Self::Restore,
            Tag::Save => Self::Save,
            Tag::Zero => Self::Zero,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::AddService => "add-service",
            Self::EditService => "edit-service",
            Self::DeleteService => "delete-service",
            Self::Clear => "flush",
            Self::List => "list",
            Self::AddServer => "add-server",
            Self::DeleteServer => "delete-server",
            Self::EditServer => "edit-server",
            Self::Set => "set",
            Self::Restore => "restore",
            Self::Save => "save",
            Self::Zero => "zero",
        }
    }
}

macro_rules! options {
    ($($(#[$doc:meta])* $option:ident $name:literal: $($tag:ident)|+,)+) => {
        /// An option that is no command, in the order in which they are checked.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Opt {
            $($(#[$doc])* $option,)+
        }

        impl Opt {
            const ALL: &[Self] = &[$(Self::$option),+];

            /// The option that is noted for one that was given.
            pub(super) const fn of(tag: Tag) -> Option<Self> {
                match tag {
                    $($(Tag::$tag)|+ => Some(Self::$option),)+
                    _ => None,
                }
            }

            /// Its name in complaints.
            pub(super) const fn name(self) -> &'static str {
                match self {
                    $(Self::$option => $name,)+
                }
            }
        }
    };
}

options! {
    Numeric "numeric": Numeric,
    Connection "connection": Connection,
    Service "service-address": TcpService | UdpService | SctpService | MarkService,
    Scheduler "scheduler": Scheduler,
    Persistent "persistent": Persistent,
    Netmask "netmask": Netmask,
    Server "real-server": RealServer,
    Forward "forwarding-method": Masquerading | Tunnelling | Gatewaying,
    Weight "weight": Weight,
    UpperThreshold "u-threshold": UpperThreshold,
    LowerThreshold "l-threshold": LowerThreshold,
    McastInterface "mcast-interface": McastInterface,
    Timeout "timeout": Timeout,
    Daemon "daemon": Daemon,
    Stats "stats": Stats,
    Rate "rate": Rate,
    Thresholds "thresholds": Thresholds,
    PersistentConn "persistent-conn": PersistentConn,
    NoSort "nosort": NoSort,
    SyncId "syncid": SyncId,
    Exact "exact": Exact,
    OnePacket "ops": OnePacket,
    Engine "pe": PersistenceEngine,
    Flags "sched-flags": SchedulerFlags,
    McastGroup "mcast-group": McastGroup,
    McastPort "mcast-port": McastPort,
    McastTtl "mcast-ttl": McastTtl,
    SyncMaxlen "sync-maxlen": SyncMaxlen,
    TunInfo "tun-info": TunInfo,
    TunType "tun-type": TunType,
    TunPort "tun-port": TunPort,
    TunNocsum "tun-nocsum": TunNocsum,
    TunCsum "tun-csum": TunCsum,
    TunRemcsum "tun-remcsum": TunRemcsum,
}

/// How an option goes with a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rule {
    Needed,
    Allowed,
    /// At most one of these.
    OneOf,
    Illegal,
}

fn rule(command: Command, option: Opt) -> Rule {
    use Opt::{
        Connection, Daemon, Engine, Exact, Flags, Forward, LowerThreshold, Netmask, NoSort,
        Numeric, OnePacket, Persistent, PersistentConn, Rate, Scheduler, Server, Service, Stats,
        SyncId, Thresholds, Timeout, TunCsum, TunInfo, TunNocsum, TunPort, TunRemcsum, TunType,
        UpperThreshold, Weight,
    };
    match (command, option) {
        (
            Command::AddService
            | Command::EditService
            | Command::DeleteService
            | Command::AddServer
            | Command::EditServer
            | Command::DeleteServer,
            Service,
        )
        | (Command::AddServer | Command::EditServer | Command::DeleteServer, Server) => {
            Rule::Needed
        }
        (
            Command::AddService | Command::EditService,
            Scheduler | Persistent | Netmask | OnePacket | Engine | Flags,
        )
        | (
            Command::AddServer | Command::EditServer,
            Forward | Weight | UpperThreshold | LowerThreshold | TunType | TunPort | TunNocsum
            | TunCsum | TunRemcsum,
        )
        | (
            Command::List,
            Numeric | Stats | Rate | Thresholds | PersistentConn | NoSort | SyncId | Exact
            | TunInfo,
        )
        | (Command::Save, Numeric)
        | (Command::Zero, Service) => Rule::Allowed,
        (Command::List, Connection | Service | Timeout | Daemon) => Rule::OneOf,
        _ => Rule::Illegal,
    }
}

/// Whether the options that were given, as bits by number, go with a command.
pub(super) fn check(command: Command, given: u64) -> Result<(), Fail> {
    let wrong = |text: String| Err(Fail { code: 2, text });
    let mut first = None;
    for option in Opt::ALL {
        let is_given = given & 1 << *option as u64 != 0;
        let (name, command_name) = (option.name(), command.name());
        match (rule(command, *option), is_given, first) {
            (Rule::Needed, false, _) => {
                return wrong(format!(
                    "You need to supply the '{name}' option for the '{command_name}' command"
                ));
            }
            (Rule::Illegal, true, _) => {
                return wrong(format!("Illegal '{name}' option with the '{command_name}' command"));
            }
            (Rule::OneOf, true, None) => first = Some(name),
            (Rule::OneOf, true, Some(first)) => {
                return wrong(format!(
                    "The option '{name}' conflicts with the '{first}' option in the '{command_name}' command"
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The flags of a scheduler, from a list with commas.
pub(super) fn scheduler_flags(scheduler: &str, list: &str) -> Result<[bool; 3], Fail> {
    let scheduler = if scheduler.is_empty() { SCHEDULER } else { scheduler };
    let mut flags = [false; 3];
    let [first, second, third] = &mut flags;
    for word in list.split(',').filter(|word| !word.is_empty()) {
        let (flag, of) = match word {
            "flag-1" => (&mut *first, None),
            "flag-2" => (&mut *second, None),
            "flag-3" => (&mut *third, None),
            "sh-fallback" => (&mut *first, Some("sh")),
            "sh-port" => (&mut *second, Some("sh")),
            "mh-fallback" => (&mut *first, Some("mh")),
            "mh-port" => (&mut *second, Some("mh")),
            _ => {
                return Err(Fail { code: 2, text: format!("invalid scheduler flag `{word}'") });
            }
        };
        *flag = true;
        if of.is_some_and(|of| of != scheduler) {
            return Err(Fail { code: 2, text: format!("incompatible scheduler flag `{word}'") });
        }
    }
    Ok(flags)
}
