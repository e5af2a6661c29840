//! Health checks: which, of whom, and how often.
//!
//! What a checker does not say itself it has from its real server, what that does not say from its service, and what
//! nobody says from here: keepalived's `validate_check_config()` in `check_data.c`. All of that has been filled in.

use std::{net::IpAddr, slice, time::Duration};

use serde::Serialize;

use super::{HttpCheck, Line, Script};

/// A health check of a real server.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Checker {
    /// What is asked.
    pub check: Check,
    /// When it is asked, and what counts as an answer. Of no use for [`Check::File`], and but for
    /// [`alpha`](Schedule::alpha) for [`Check::Bfd`]: those are told, they don't ask.
    pub schedule: Schedule,
    /// The line in the file.
    pub line: Line,
}

/// When a checker runs.
///
/// It starts as if the server were up unless `alpha`. The first run fails after one failure; later ones try `retry`
/// times more, `delay_before_retry` apart, before the server is down.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Schedule {
    /// From one check to the next, at least a microsecond.
    #[serde(serialize_with = "super::json::seconds")]
    pub delay_loop: Duration,
    /// Further tries before a server that was up is down.
    pub retry: u32,
    /// From one try to the next.
    #[serde(serialize_with = "super::json::seconds")]
    pub delay_before_retry: Duration,
    /// The first check comes at a random time up to this; zero for at once.
    #[serde(serialize_with = "super::json::seconds")]
    pub warmup: Duration,
    /// The server counts as down until the first check has succeeded.
    pub alpha: bool,
    /// Log each failure, not just the one that takes the server down.
    pub log_all_failures: bool,
}

impl Schedule {
    /// `delay_loop` by default: keepalived's `KEEPALIVED_DEFAULT_DELAY`.
    pub const DELAY_LOOP: Duration = Duration::from_secs(60);
    /// `retry` by default.
    pub const RETRY: u32 = 1;
    /// `retry` of `DNS_CHECK` by default: `DNS_DEFAULT_RETRY`.
    pub const RETRY_DNS: u32 = 3;
    /// `retry` of `MISC_CHECK` by default.
    pub const RETRY_MISC: u32 = 0;
    /// `delay_before_retry` by default; that of `DNS_CHECK` is its `delay_loop`.
    pub const DELAY_BEFORE_RETRY: Duration = Duration::from_secs(1);
    /// `delay_before_retry` of `HTTP_GET` and `SSL_GET` by default.
    pub const DELAY_BEFORE_RETRY_HTTP: Duration = Duration::from_secs(3);
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            delay_loop: Self::DELAY_LOOP,
            retry: Self::RETRY,
            delay_before_retry: Self::DELAY_BEFORE_RETRY,
            warmup: Self::DELAY_LOOP,
            alpha: false,
            log_all_failures: false,
        }
    }
}

/// The kinds of checks.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Check {
    /// `TCP_CHECK`: a connection can be opened.
    Tcp(Connection),
    /// `HTTP_GET` and `SSL_GET`: pages are as expected.
    Http(Box<HttpCheck>),
    /// `SMTP_CHECK`: a mail server greets and answers HELO.
    Smtp(SmtpCheck),
    /// `DNS_CHECK`: a name server answers a question, by UDP.
    Dns(DnsCheck),
    /// `MISC_CHECK`: a program ends well.
    Misc(MiscCheck),
    /// `UDP_CHECK`: no ICMP error, or an answer, comes back.
    Udp(UdpCheck),
    /// `PING_CHECK`: an echo request is answered. Its port does not matter.
    Ping(Connection),
    /// `BFD_CHECK`: the state of a BFD session, by the name of its `bfd_instance`, which is keepalived's.
    Bfd(String),
    /// `FILE_CHECK`: what a file says.
    File(FileCheck),
}

impl Check {
    /// Its keyword.
    #[must_use]
    pub const fn keyword(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "TCP_CHECK",
            Self::Http(http) if http.tls => "SSL_GET",
            Self::Http(_) => "HTTP_GET",
            Self::Smtp(_) => "SMTP_CHECK",
            Self::Dns(_) => "DNS_CHECK",
            Self::Misc(_) => "MISC_CHECK",
            Self::Udp(_) => "UDP_CHECK",
            Self::Ping(_) => "PING_CHECK",
            Self::Bfd(_) => "BFD_CHECK",
            Self::File(_) => "FILE_CHECK",
        }
    }

    /// Whom it asks; nobody if it runs a program or is told.
    #[must_use]
    pub fn connections(&self) -> &[Connection] {
        match self {
            Self::Tcp(connection) | Self::Ping(connection) => slice::from_ref(connection),
            Self::Http(http) => slice::from_ref(&http.connection),
            Self::Dns(dns) => slice::from_ref(&dns.connection),
            Self::Udp(udp) => slice::from_ref(&udp.connection),
            Self::Smtp(smtp) => &smtp.hosts,
            Self::Misc(_) | Self::Bfd(_) | Self::File(_) => &[],
        }
    }
}

/// Whom a checker asks, and how it gets there.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Connection {
    /// `connect_ip`, with the real server's address as default.
    pub address: IpAddr,
    /// `connect_port`, with the real server's port as default; 0 if that has none either.
    pub port: u16,
    /// `bindto`: the source address, of the same family.
    pub bind_address: Option<IpAddr>,
    /// `bind_port`: the source port, never 0.
    pub bind_port: Option<u16>,
    /// `bind_if`: the interface.
    pub bind_interface: Option<String>,
    /// `connect_timeout`: how long an answer may take.
    #[serde(serialize_with = "super::json::seconds")]
    pub timeout: Duration,
    /// `fwmark`: the firewall mark of the packets sent (`SO_MARK`); 0 for none.
    pub mark: u32,
}

impl Connection {
    /// `connect_timeout` by default.
    pub const TIMEOUT: Duration = Duration::from_secs(5);
}

/// `SMTP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct SmtpCheck {
    /// What to call oneself in HELO.
    pub helo_name: String,
    /// Whom to ask, one after the other; never empty. One, unless there are `host` blocks.
    pub hosts: Vec<Connection>,
}

impl SmtpCheck {
    /// `helo_name` by default: keepalived's `DEFAULT_SMTP_HELO`.
    pub const HELO_NAME: &'static str = "smtpchecker.keepalived.org";
}

/// `DNS_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct DnsCheck {
    /// Whom to ask.
    pub connection: Connection,
    /// What is asked for.
    pub record: DnsType,
    /// The name asked about.
    pub name: String,
}

impl DnsCheck {
    /// `name` by default.
    pub const NAME: &'static str = ".";

    /// Bytes that a part of a name between two dots may have, and a name as it is sent: RFC 1035, 2.3.4.
    const LIMITS: (usize, usize) = (63, 255);

    /// Why nobody can be asked for a name: `{name} …`.
    #[must_use]
    pub fn name_fault(name: &str) -> Option<String> {
        let (label, whole) = Self::LIMITS;
        let labels = || name.split('.').filter(|label| !label.is_empty());
        if labels().any(|part| part.len() > label) {
            return Some(format!("has more than {label} bytes between two dots"));
        }
        // Each label has a byte for its length before it, and the last one a 0 behind it.
        let length = labels().map(|part| part.len() + 1).sum::<usize>() + 1;
        (length > whole).then(|| format!("is longer than the {whole} bytes that a name can have"))
    }
}

/// Types of DNS records; the numbers are those of the protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[repr(u16)]
pub enum DnsType {
    /// An IPv4 address.
    A = 1,
    /// A name server.
    Ns = 2,
    /// Another name.
    Cname = 5,
    /// The start of a zone.
    #[default]
    Soa = 6,
    /// A mail server.
    Mx = 15,
    /// A text.
    Txt = 16,
    /// An IPv6 address.
    Aaaa = 28,
    /// A signature.
    Rrsig = 46,
    /// A key.
    Dnskey = 48,
}

impl DnsType {
    /// Their names.
    pub const NAMES: [(&'static str, Self); 9] = [
        ("A", Self::A),
        ("NS", Self::Ns),
        ("CNAME", Self::Cname),
        ("SOA", Self::Soa),
        ("MX", Self::Mx),
        ("TXT", Self::Txt),
        ("AAAA", Self::Aaaa),
        ("RRSIG", Self::Rrsig),
        ("DNSKEY", Self::Dnskey),
    ];
}

/// `MISC_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct MiscCheck {
    /// `misc_path` and `user`.
    pub script: Script,
    /// `misc_timeout`: then it is ended (TERM, two seconds later KILL), and has failed. Whole seconds; the service's
    /// `delay_loop` by default.
    #[serde(serialize_with = "super::json::seconds")]
    pub timeout: Duration,
    /// `misc_dynamic`: 0 is well, 1 failed, and a greater exit code is the server's new weight plus 2.
    pub dynamic: bool,
}

/// `UDP_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct UdpCheck {
    /// Whom to ask.
    pub connection: Connection,
    /// What is sent; nothing (an empty datagram) by default.
    pub payload: Vec<u8>,
    /// Whether there must be an answer, and what it must be.
    pub reply: Option<UdpReply>,
}

/// The answer that a UDP check wants.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct UdpReply {
    /// What it must begin with; empty for anything.
    pub pattern: Vec<PatternByte>,
    /// `min_reply_length`; read with a pattern only, as in keepalived.
    pub min_length: u16,
    /// `max_reply_length`; read with a pattern only, as in keepalived.
    pub max_length: u16,
}

impl UdpReply {
    /// `min_reply_length` by default.
    pub const MIN_LENGTH: u16 = 0;
    /// `max_reply_length` by default: keepalived's `UDP_DEFAULT_REPLY_LENGTH`.
    pub const MAX_LENGTH: u16 = 255;
}

/// One byte of an answer: it fits where it agrees with the value in the bits of the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct PatternByte {
    /// The bits wanted; 0 outside the mask.
    pub value: u8,
    /// Which bits count: 0xff, or without the nibbles that were written `X`.
    pub mask: u8,
}

/// `FILE_CHECK`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct FileCheck {
    /// The name of a [`TrackFile`](super::TrackFile), which is there.
    pub track_file: String,
    /// 0: the server is up while the file says 0. Else this many times what it says is added to the server's weight.
    /// -2147483647 to 2147483647; that of the track file by default.
    pub weight: i32,
    /// Turns the check round: the server is up while the file does not say 0, and weights are taken off.
    pub reverse: bool,
}
