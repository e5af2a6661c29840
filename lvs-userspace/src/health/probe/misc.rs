//! `MISC_CHECK`: a program that ends well.

use std::{os::unix::process::ExitStatusExt as _, pin::pin, sync::Arc};

use tokio::{sync::Mutex, time::sleep};

use super::Fault;
use crate::{
    config::{Global, MiscCheck},
    health::script,
};

/// The exit code if it is well: 0, or with `misc_dynamic` 2 and more too. The time that it takes to start the program counts;
/// `starting` is locked meanwhile, which can be for longer than anybody waits.
pub(super) async fn check(
    check: &MiscCheck,
    global: &Global,
    starting: &Arc<Mutex<()>>,
) -> Result<u8, Fault> {
    let Ok(starting) = Arc::clone(starting).try_lock_owned() else {
        // One more would hang as well, and so they would pile up.
        return Err(Fault::failed(format!(
            "{} hangs since an earlier check started it",
            name(check)
        )));
    };
    let limit = check.timeout.as_secs();
    let mut end = pin!(sleep(check.timeout));
    let running = tokio::select! {
        biased;
        started = script::start(&check.script, global, starting) => started.map_err(Fault::Unable)?,
        () = &mut end => {
            return Err(Fault::failed(format!("{} has not started within {limit} s", name(check))));
        }
    };
    let Some(status) = running.wait(end).await.map_err(Fault::Unable)? else {
        return Err(Fault::failed(format!("{} took more than {limit} s", name(check))));
    };
    if let Some(code) = status.code() {
        return match u8::try_from(code) {
            Ok(0) => Ok(0),
            Ok(code @ 2..) if check.dynamic => Ok(code),
            _ => Err(Fault::failed(format!("{} ended with {code}", name(check)))),
        };
    }
    let signal = status.signal().unwrap_or(0);
    Err(Fault::failed(format!("{} was ended by signal {signal}", name(check))))
}

fn name(check: &MiscCheck) -> &str {
    check.script.command.first().map_or("", String::as_str)
}
