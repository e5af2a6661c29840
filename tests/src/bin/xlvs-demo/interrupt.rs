//! Ctrl-C and its relatives: noticed at once, acted upon between two steps, so that there is only
//! one way down.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Result;
use lvs_tests::netns;
use tokio::signal::unix::{SignalKind, signal};

/// The error that ends the demo after a signal.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("interrupted")
    }
}

impl std::error::Error for Interrupted {}

/// Remembers whether a signal has come.
#[derive(Debug)]
pub(crate) struct Interrupt {
    came: Arc<AtomicBool>,
}

impl Interrupt {
    /// From now on SIGINT, SIGTERM and SIGHUP no longer end this process.
    pub(crate) fn watch() -> Result<Self> {
        let came = Arc::new(AtomicBool::new(false));
        let of_thread = Arc::clone(&came);
        let runtime = netns::runtime()?;
        let mut signals = {
            let _context = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()]
                .into_iter()
                .map(signal)
                .collect::<Result<Vec<_>, _>>()?
        };
        std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
            runtime.block_on(async {
                if let [interrupt, terminate, hangup] = signals.as_mut_slice() {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                }
                of_thread.store(true, Ordering::Relaxed);
            });
        })?;
        Ok(Self { came })
    }

    /// An error once a signal has come.
    pub(crate) fn check(&self) -> Result<()> {
        if self.came.load(Ordering::Relaxed) { Err(Interrupted.into()) } else { Ok(()) }
    }
}
