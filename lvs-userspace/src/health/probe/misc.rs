//! `MISC_CHECK`: a program that ends well.

use std::os::unix::process::ExitStatusExt as _;

use super::Fault;
use crate::{
    config::{Global, MiscCheck},
    health::script,
};

/// The exit code if it is well: 0, or with `misc_dynamic` 2 and more too.
pub(super) async fn check(check: &MiscCheck, global: &Global) -> Result<u8, Fault> {
    let running = script::start(&check.script, global).await.map_err(Fault::Unable)?;
    let Some(status) = running.wait(check.timeout).await.map_err(Fault::Unable)? else {
        let limit = check.timeout.as_secs();
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
