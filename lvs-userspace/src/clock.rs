//! The time of day, as files and log lines have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_duration;

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    since_1970(SystemTime::now())
}

/// A time in seconds since 1970.
pub(crate) fn since_1970(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// For how long something has been so that began then.
pub(crate) fn age(since: u64) -> String {
    span(now().saturating_sub(since))
}

/// So many seconds, for people: `2m 5s`.
pub(crate) fn span(seconds: u64) -> String {
    format_duration(Duration::from_secs(seconds)).to_string()
}
