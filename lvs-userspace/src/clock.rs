//! The time of day, as files and log lines have it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use humantime::format_duration;

/// Now, in seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs()
}

/// For how long something has been so that began then: `2m 5s`.
pub(crate) fn age(since: u64) -> String {
    format_duration(Duration::from_secs(now().saturating_sub(since))).to_string()
}
