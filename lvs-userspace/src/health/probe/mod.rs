//! One check of each kind: what it asks, and what counts as an answer. When it is asked is for `runner.rs`.

use std::{
    fmt, io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Mutex;

use crate::config::{Check, Checker, Global, RegexError};

mod dns;
mod head;
mod http;
mod misc;
mod ping;
mod regex;
mod smtp;
mod socket;
#[cfg(test)]
mod tests;
pub(super) mod tls;
mod udp;

pub(crate) use self::ping::may_ping;
pub(super) use self::tls::Tls;

/// What a check has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well. A script's exit code, 0 for all else.
    Well(u8),
    /// It failed, for this reason.
    Failed(String),
    /// It could not be made, for a reason that lies here and says nothing about the server.
    Unable(String),
}

/// Why a check was not well.
#[derive(Debug)]
enum Fault {
    Failed(String),
    Unable(String),
}

impl Fault {
    fn failed(reason: impl fmt::Display) -> Self {
        Self::Failed(reason.to_string())
    }

    fn unable(reason: impl fmt::Display) -> Self {
        Self::Unable(reason.to_string())
    }

    /// An error on a socket that is connected, or was about to be: the server's, or the way's to it.
    fn of_peer(error: &io::Error) -> Self {
        Self::Failed(words(error))
    }
}

/// `connection refused` instead of `Connection refused (os error 111)`.
fn words(error: &io::Error) -> String {
    let Some(number) = error.raw_os_error() else { return error.to_string() };
    let text = nix::errno::Errno::from_raw(number).desc();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// `no answer within 5 s`.
fn within(what: &str, limit: Duration) -> Fault {
    Fault::Failed(format!("{what} within {} s", limit.as_secs_f64()))
}

/// A check with all that can be made ready once.
#[derive(Debug)]
pub(crate) struct Probe {
    checker: Arc<Checker>,
    pages: Vec<Option<Result<regex::Pattern, RegexError>>>,
    global: Arc<Global>,
    tls: Arc<Result<Tls, String>>,
    /// Locked while the program of a `MISC_CHECK` is started; there only for those.
    starting: OnceLock<Arc<Mutex<()>>>,
}

impl Probe {
    pub(crate) fn new(
        checker: Arc<Checker>,
        global: Arc<Global>,
        tls: Arc<Result<Tls, String>>,
    ) -> Self {
        let pages = match &checker.check {
            Check::Http(http) => {
                http.urls.iter().map(|url| url.regex.as_ref().map(regex::Pattern::new)).collect()
            }
            _ => Vec::new(),
        };
        Self { checker, pages, global, tls, starting: OnceLock::new() }
    }

    /// What is asked, and when.
    pub(crate) const fn checker(&self) -> &Arc<Checker> {
        &self.checker
    }

    /// Makes the check; for HTTP that of one page. The reason of a failure starts with the check's keyword.
    pub(crate) async fn run(&self, page: usize) -> Outcome {
        let keyword = self.checker.check.keyword();
        let result = match &self.checker.check {
            Check::Tcp(connection) => socket::tcp(connection).await.map(drop),
            Check::Http(http) => return self.run_page(http, page).await,
            Check::Smtp(smtp) => smtp::check(smtp).await,
            Check::Dns(dns) => dns::check(dns).await,
            Check::Misc(misc) => {
                let starting = self.starting.get_or_init(Arc::default);
                match misc::check(misc, &self.global, starting).await {
                    Ok(code) => return Outcome::Well(code),
                    Err(fault) => Err(fault),
                }
            }
            Check::Udp(udp) => udp::check(udp).await,
            Check::Ping(connection) => ping::check(connection).await,
            Check::Bfd(_) | Check::File(_) => Ok(()),
        };
        match result {
            Ok(()) => Outcome::Well(0),
            Err(Fault::Failed(reason)) => Outcome::Failed(format!("{keyword}: {reason}")),
            Err(Fault::Unable(reason)) => Outcome::Unable(format!("{keyword}: {reason}")),
        }
    }

    async fn run_page(&self, http: &crate::config::HttpCheck, page: usize) -> Outcome {
        let Some(url) = http.urls.get(page) else { return Outcome::Well(0) };
        let what = format!("{} {}", self.checker.check.keyword(), url.path);
        let request =
            http::Page { http, url, limit: self.checker.schedule.delay_loop, tls: &self.tls };
        match request.check(self.pages.get(page).and_then(Option::as_ref)).await {
            Ok(()) => Outcome::Well(0),
            Err(Fault::Failed(reason)) => Outcome::Failed(format!("{what}: {reason}")),
            Err(Fault::Unable(reason)) => Outcome::Unable(format!("{what}: {reason}")),
        }
    }
}
