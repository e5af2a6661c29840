//! Which keyword belongs in which block, and all that is to be known of it.
//!
//! These tables drive the parser, suggestions, `xlvs config explain` and the manual. They have the keywords of
//! keepalived 2.4.3; those of full NAT are DPVS's, `fwmark_match` is our own.

mod checker;
mod entry;
mod global;
mod service;
mod top;

pub(crate) use self::entry::{Effect, Entry, Form};

/// Writes a table with less ado.
macro_rules! table {
    ($(#[$doc:meta])* $vis:vis $table:ident:
        $($name:literal $keyword:ident $(($inner:expr))?, $form:expr, $default:literal, $effect:expr, $about:literal;)*
    ) => {
        $(#[$doc])*
        $vis const $table: &[Entry] = &[$(Entry {
            name: $name,
            keyword: K::$keyword $(($inner))?,
            form: $form,
            default: $default,
            about: $about,
            effect: $effect,
        },)*];
    };
}
use table;

/// A kind of block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Top,
    VirtualServer,
    RealServer,
    GlobalDefs,
    /// Its lines begin with addresses, not with keywords.
    LocalAddressGroup,
    /// Its lines begin with addresses or `fwmark`.
    VirtualServerGroup,
    /// Its lines begin with addresses.
    FwmarkMatch,
    Ssl,
    TrackFile,
    TcpCheck,
    HttpGet,
    SslGet,
    Url,
    SmtpCheck,
    SmtpHost,
    DnsCheck,
    MiscCheck,
    UdpCheck,
    PingCheck,
    BfdCheck,
    FileCheck,
}

impl Place {
    /// In the order of the manual; a misplaced keyword belongs in the first that has it.
    pub(crate) const ALL: [Self; 21] = [
        Self::Top,
        Self::VirtualServer,
        Self::RealServer,
        Self::TcpCheck,
        Self::HttpGet,
        Self::SslGet,
        Self::Url,
        Self::SmtpCheck,
        Self::SmtpHost,
        Self::DnsCheck,
        Self::MiscCheck,
        Self::UdpCheck,
        Self::PingCheck,
        Self::BfdCheck,
        Self::FileCheck,
        Self::VirtualServerGroup,
        Self::LocalAddressGroup,
        Self::FwmarkMatch,
        Self::Ssl,
        Self::TrackFile,
        Self::GlobalDefs,
    ];

    /// As in "… belongs in {}".
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Top => "the top level",
            Self::VirtualServer => "a `virtual_server` block",
            Self::RealServer => "a `real_server` block",
            Self::GlobalDefs => "a `global_defs` block",
            Self::LocalAddressGroup => "a `local_address_group` block",
            Self::VirtualServerGroup => "a `virtual_server_group` block",
            Self::FwmarkMatch => "a `fwmark_match` block",
            Self::Ssl => "an `SSL` block",
            Self::TrackFile => "a `track_file` block",
            Self::TcpCheck => "a `TCP_CHECK` block",
            Self::HttpGet => "an `HTTP_GET` block",
            Self::SslGet => "an `SSL_GET` block",
            Self::Url => "a `url` block",
            Self::SmtpCheck => "an `SMTP_CHECK` block",
            Self::SmtpHost => "a `host` block",
            Self::DnsCheck => "a `DNS_CHECK` block",
            Self::MiscCheck => "a `MISC_CHECK` block",
            Self::UdpCheck => "a `UDP_CHECK` block",
            Self::PingCheck => "a `PING_CHECK` block",
            Self::BfdCheck => "a `BFD_CHECK` block",
            Self::FileCheck => "a `FILE_CHECK` block",
        }
    }

    /// Whether blocks of this kind may hold values at the start of a line.
    pub(crate) const fn takes_values(self) -> bool {
        matches!(self, Self::LocalAddressGroup | Self::VirtualServerGroup | Self::FwmarkMatch)
    }

    const fn tables(self) -> &'static [&'static [Entry]] {
        match self {
            Self::Top => &[top::TOP],
            Self::VirtualServer => &[service::VIRTUAL_SERVER],
            Self::RealServer => &[service::REAL_SERVER],
            Self::GlobalDefs => &[global::GLOBAL_DEFS],
            Self::LocalAddressGroup | Self::FwmarkMatch => &[],
            Self::VirtualServerGroup => &[top::VIRTUAL_SERVER_GROUP],
            Self::Ssl => &[top::SSL],
            Self::TrackFile => &[top::TRACK_FILE],
            Self::TcpCheck | Self::PingCheck => &[checker::CONNECTION, checker::SCHEDULE],
            Self::HttpGet => &[checker::HTTP, checker::CONNECTION, checker::SCHEDULE],
            Self::SslGet => &[checker::HTTP, checker::TLS, checker::CONNECTION, checker::SCHEDULE],
            Self::Url => &[checker::URL],
            Self::SmtpCheck => &[checker::SMTP, checker::CONNECTION, checker::SCHEDULE],
            Self::SmtpHost => &[checker::CONNECTION],
            Self::DnsCheck => &[checker::DNS, checker::CONNECTION, checker::SCHEDULE],
            Self::MiscCheck => &[checker::MISC, checker::SCHEDULE],
            Self::UdpCheck => &[checker::UDP, checker::CONNECTION, checker::SCHEDULE],
            Self::BfdCheck => &[checker::BFD],
            Self::FileCheck => &[checker::FILE],
        }
    }
}

/// A flag of a scheduler.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flag {
    First,
    Second,
    Third,
    ShFallback,
    ShPort,
    MhFallback,
    MhPort,
}

/// What a keyword is about: the same for all its spellings, and in all blocks that have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keyword {
    VirtualServer,
    GlobalDefs,
    VirtualServerGroup,
    LocalAddressGroup,
    FwmarkMatch,
    Ssl,
    TrackFile,
    Fwmark,
    SslPassword,
    SslCa,
    SslCertificate,
    SslKey,
    TrackedPath,
    FileWeight,
    InitFile,
    Family,
    DelayLoop,
    Scheduler,
    Flag(Flag),
    Hashed,
    Forwarding,
    LocalAddresses,
    Persistence,
    PersistenceAlias,
    Granularity,
    PersistenceEngine,
    Protocol,
    OnePacket,
    Alpha,
    Omega,
    Quorum,
    Hysteresis,
    QuorumUp,
    QuorumDown,
    SorryServer,
    SorryServerInhibit,
    SorryServerMethod,
    Inhibit,
    ConnectTimeout,
    Retry,
    DelayBeforeRetry,
    Warmup,
    Virtualhost,
    HaSuspend,
    SmtpAlert,
    SnmpName,
    Weight,
    RealServer,
    UpperThreshold,
    LowerThreshold,
    NotifyUp,
    NotifyDown,
    Checker,
    LogAllFailures,
    ConnectIp,
    ConnectPort,
    BindTo,
    BindPort,
    BindIf,
    SocketMark,
    Url,
    NbGetRetry,
    HttpProtocol,
    EnableSni,
    SniName,
    FastRecovery,
    TlsCompliant,
    Path,
    Digest,
    StatusCode,
    Regex,
    RegexNoMatch,
    RegexOptions,
    RegexMinOffset,
    RegexMaxOffset,
    RegexStack,
    HeloName,
    Host,
    RecordType,
    RecordName,
    MiscPath,
    MiscTimeout,
    MiscDynamic,
    User,
    Payload,
    RequireReply,
    MinReplyLength,
    MaxReplyLength,
    BfdName,
    CheckedFile,
    Timeouts,
    LvsFlush,
    LvsFlushOnStop,
    SyncDaemon,
    LvsNotifyFifo,
    LvsNotifyFifoScript,
    NotifyFifo,
    NotifyFifoScript,
    ScriptUser,
    ScriptSecurity,
    RsInitNotifies,
    CheckerLogAllFailures,
    SmtpAlertChecker,
    MailTo,
    MailFrom,
    MailServer,
    MailHelo,
    MailTimeout,
    RouterId,
    NoCheckerEmails,
    NoEmailFaults,
    Other,
}

/// What a word at the start of a line is.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Meaning {
    Here(&'static Entry),
    /// It is keepalived's business, and its block too.
    Foreign,
    /// It is a word of DPVS's dialect.
    Dpvs,
    /// It is known in other blocks only, of which this is the first.
    Elsewhere(Place),
    Unknown,
}

/// The entry of a word in a block.
pub(crate) fn find(place: Place, word: &str) -> Option<&'static Entry> {
    entries(place).find(|entry| entry.name == word)
}

/// All entries of a block.
pub(crate) fn entries(place: Place) -> impl Iterator<Item = &'static Entry> {
    place.tables().iter().flat_map(|table| table.iter())
}

/// What a word means at the start of a line in a block.
pub(crate) fn meaning(place: Place, word: &str) -> Meaning {
    if let Some(entry) = find(place, word) {
        return Meaning::Here(entry);
    }
    if is_foreign(place, word) {
        return Meaning::Foreign;
    }
    if let Some(home) = Place::ALL.into_iter().find(|home| find(*home, word).is_some()) {
        return Meaning::Elsewhere(home);
    }
    if top::FOREIGN.contains(&word) {
        return Meaning::Elsewhere(Place::Top);
    }
    if top::DPVS.contains(&word) { Meaning::Dpvs } else { Meaning::Unknown }
}

/// Whether a keyword of a block, and the block that it may begin, are keepalived's business.
pub(crate) fn is_foreign(place: Place, word: &str) -> bool {
    match place {
        Place::Top => top::FOREIGN.contains(&word),
        Place::GlobalDefs => global::is_foreign(word) && find(place, word).is_none(),
        _ => false,
    }
}

/// What is skipped at the top level.
pub(crate) const fn foreign() -> &'static [&'static str] {
    top::FOREIGN
}

/// What is known of DPVS's dialect.
pub(crate) const fn dpvs() -> &'static [&'static str] {
    top::DPVS
}

/// What a keyword is called today.
pub(crate) fn newer_spelling(word: &str) -> Option<&'static str> {
    Some(match word {
        "vrrp_track_file" => "track_file",
        "nb_get_retry" => "retry",
        "host" => "connect_ip` and `connect_port",
        "lvs_flush_onstop" => "lvs_flush_on_stop",
        "checker_rlimit_rtime" => "checker_rlimit_rttime",
        "lvs_process_name" => "checker_process_name",
        _ => return None,
    })
}

/// Whether a line that begins with this word can stand in a block.
pub(crate) fn fits(place: Place, word: &str) -> bool {
    (place.takes_values() && reads_like_address(word)) || find(place, word).is_some()
}

fn reads_like_address(word: &str) -> bool {
    word.contains(['.', ':']) && word.starts_with(|c: char| c.is_ascii_hexdigit() || c == ':')
}

/// Keywords of blocks that stand at the top level and nowhere else: where one of them begins, every block before
/// it has ended, whatever the braces say.
pub(crate) fn begins_at_top(word: &str) -> bool {
    matches!(
        word,
        "virtual_server"
            | "virtual_server_group"
            | "global_defs"
            | "local_address_group"
            | "fwmark_match"
            | "SSL"
            | "bfd_instance"
            | "static_ipaddress"
            | "static_routes"
            | "static_rules"
            | "vrrp_instance"
            | "vrrp_script"
            | "vrrp_sync_group"
    )
}

/// The block that a keyword begins, if it means nothing without one.
pub(crate) fn needs_block(word: &str) -> Option<Place> {
    match word {
        "virtual_server" => Some(Place::VirtualServer),
        "real_server" => Some(Place::RealServer),
        "global_defs" => Some(Place::GlobalDefs),
        "local_address_group" => Some(Place::LocalAddressGroup),
        "virtual_server_group" => Some(Place::VirtualServerGroup),
        "fwmark_match" => Some(Place::FwmarkMatch),
        "TCP_CHECK" => Some(Place::TcpCheck),
        "HTTP_GET" => Some(Place::HttpGet),
        "SSL_GET" => Some(Place::SslGet),
        "SMTP_CHECK" => Some(Place::SmtpCheck),
        "DNS_CHECK" => Some(Place::DnsCheck),
        "MISC_CHECK" => Some(Place::MiscCheck),
        "UDP_CHECK" => Some(Place::UdpCheck),
        "PING_CHECK" => Some(Place::PingCheck),
        "BFD_CHECK" => Some(Place::BfdCheck),
        "FILE_CHECK" => Some(Place::FileCheck),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_means_what_its_block_makes_of_it() {
        let here = |place, word| match meaning(place, word) {
            Meaning::Here(entry) => Some(entry.keyword),
            _ => None,
        };
        assert_eq!(here(Place::RealServer, "weight"), Some(Keyword::Weight));
        assert_eq!(here(Place::FileCheck, "weight"), Some(Keyword::FileWeight));
        assert!(matches!(meaning(Place::Top, "weight"), Meaning::Elsewhere(Place::VirtualServer)));
        assert!(matches!(
            meaning(Place::RealServer, "protocol"),
            Meaning::Elsewhere(Place::VirtualServer)
        ));
        assert!(matches!(meaning(Place::Top, "vrrp_instance"), Meaning::Foreign));
        assert!(matches!(meaning(Place::GlobalDefs, "vrrp_version"), Meaning::Foreign));
        assert!(matches!(meaning(Place::VirtualServer, "syn_proxy"), Meaning::Dpvs));
        assert!(matches!(meaning(Place::Top, "Weight"), Meaning::Unknown));
    }

    #[test]
    fn no_keyword_stands_twice_in_a_block() {
        for place in Place::ALL {
            let mut words: Vec<&str> = entries(place).map(|entry| entry.name).collect();
            words.sort_unstable();
            assert!(words.is_sorted_by(|a, b| a < b), "{place:?}");
        }
    }

    #[test]
    fn what_begins_a_block_says_so_in_the_tables() {
        for place in Place::ALL {
            for entry in entries(place) {
                let Form::Block(_, inner) = entry.form else { continue };
                assert!(
                    needs_block(entry.name).is_none_or(|needed| needed == inner),
                    "{}",
                    entry.name
                );
            }
        }
    }
}
