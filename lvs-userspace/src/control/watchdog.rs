//! systemd's watchdog (`WatchdogSec=`): the loop that reloads, follows health checks and does what is asked says that it
//! still turns, twice in the time that it has. Whatever keeps that loop or its thread waiting keeps systemd waiting too,
//! which then ends the controller and starts another one; packets flow on meanwhile.

use std::{future::pending, time::Duration};

use sd_notify::NotifyState;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::run;

/// When the next sign of life is due.
#[derive(Debug)]
pub(super) struct Watchdog(Option<Interval>);

impl Watchdog {
    /// As systemd wants it, if it does (`sd_watchdog_enabled(3)`).
    pub(super) fn new() -> Self {
        Self(sd_notify::watchdog_enabled().and_then(half).map(|half| {
            let mut ticks = interval(half);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            ticks
        }))
    }

    /// Waits until a sign of life is due, and gives it. Without a watchdog it never ends. Nothing is lost if it is dropped
    /// before.
    pub(super) async fn pat(&mut self) {
        let Some(ticks) = &mut self.0 else { return pending().await };
        ticks.tick().await;
        run::notify(&[NotifyState::Watchdog]);
    }
}

/// Half of the time that is allowed; none for no time at all.
fn half(allowed: Duration) -> Option<Duration> {
    Some(allowed / 2).filter(|half| !half.is_zero())
}
