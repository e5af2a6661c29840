//! Logging to stderr, where journald or the user's terminal reads it.

use std::io::{self, IsTerminal as _};

use tracing::level_filters::LevelFilter;
use tracing_subscriber::{
    Layer as _, filter::Targets, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

use super::args::LogLevel;

/// Starts logging, the data path's messages included. Of the libraries only warnings are of interest.
pub(super) fn start(level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("lvs_userspace", level)
        .with_target("lvs_ebpf", level);
    let lines = fmt::layer().with_writer(io::stderr).with_ansi(colour()).with_target(false);
    // journald has a clock of its own.
    let lines = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().boxed()
    } else {
        lines.boxed()
    };
    tracing_subscriber::registry().with(lines).with(filter).init();
}

/// Whether stderr shows colours.
pub(super) fn colour() -> bool {
    io::stderr().is_terminal() && colour_allowed()
}

/// Whether the user wants colours where they can be shown (<https://no-color.org>).
pub(super) fn colour_allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
