//! `HTTP_GET` and `SSL_GET`, and the `SSL` block.

use std::{ops::RangeInclusive, path::PathBuf};

use serde::Serialize;

use super::Connection;

/// A check of pages, by HTTP or HTTPS.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct HttpCheck {
    /// Whether it is `SSL_GET`.
    pub tls: bool,
    /// Whom to ask.
    pub connection: Connection,
    /// `http_protocol`.
    pub version: HttpVersion,
    /// `enable_sni`: name the host in the TLS handshake. Set by a `sni_name` too.
    pub sni: bool,
    /// `sni_name`: which one; absent for that of the page.
    pub sni_name: Option<String>,
    /// `fast_recovery`: after a failure ask for all pages at once, not one with each `delay_loop`.
    pub fast_recovery: bool,
    /// What is asked for, one after the other; never empty.
    pub urls: Vec<Url>,
}

/// What to write in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HttpVersion {
    /// `1.0`.
    #[default]
    V10,
    /// `1.0C`: 1.0 with `Connection: close`.
    V10Close,
    /// `1.1`, with `Connection: close`.
    V11,
}

/// A page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Url {
    /// Path and query, as they stand in the request.
    pub path: String,
    /// The MD5 sum of the page.
    #[serde(serialize_with = "super::json::hex")]
    pub digest: Option<[u8; 16]>,
    /// The status codes that are well, at least one range, each from 100 to 599.
    #[serde(serialize_with = "super::json::ranges")]
    pub status_codes: Vec<RangeInclusive<u16>>,
    /// The `Host:` header: that of the page, else of the checker, the real server, or the service; absent for the
    /// server's address and port.
    pub virtualhost: Option<String>,
    /// What the page must contain, or not.
    pub regex: Option<UrlRegex>,
    /// `tls_compliant`: the server must end TLS properly (close-notify). Never without TLS.
    pub tls_compliant: bool,
}

impl Url {
    /// `status_code` by default.
    pub const STATUS_CODES: RangeInclusive<u16> = 200..=299;
}

/// A regular expression (PCRE) that is looked for in a page.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct UrlRegex {
    /// The expression, with keepalived's escapes decoded.
    pub pattern: String,
    /// `regex_no_match`: the page must not match.
    pub no_match: bool,
    /// `regex_options`, by keepalived's names for them, such as `caseless`.
    pub options: Vec<&'static str>,
    /// The match may not begin before this offset in bytes.
    pub min_offset: Option<u64>,
    /// Nor after this one; never less than the former.
    pub max_offset: Option<u64>,
    /// `regex_stack`: the JIT's stack at the start and at most, in bytes.
    pub stack: Option<(u64, u64)>,
}

/// The `SSL` block: files in PEM that all `SSL_GET` use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
pub struct SslFiles {
    /// The key's password.
    pub password: Option<String>,
    /// The certificates to trust.
    pub ca: Option<PathBuf>,
    /// The own certificate.
    pub certificate: Option<PathBuf>,
    /// The own key.
    pub key: Option<PathBuf>,
}
