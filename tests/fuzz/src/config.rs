//! The configuration front end on any text and any included files: it must not panic, hang, or take more memory than it
//! says. With `XLVS_FUZZ_SHOW` set, what it says of an input is written out.
//!
//! The front end is taken in as a module: as part of its crate it would bring along the loader and all that talks to the
//! kernel, which take many times as long to build.
//!
//! An input is the configuration, and then files to include, each behind a line `=== PATH`.
#![no_main]

#[path = "../../../lvs-userspace/src/config/mod.rs"]
#[allow(dead_code, unused_imports, reason = "what only the controller uses")]
mod config;

use std::time::{Duration, Instant};

use config::{Bounds, Failure, Memory, Policy, Report, diff, parse, parse_in, show};
use libfuzzer_sys::fuzz_target;

/// Bounds that small inputs reach, so that reaching them is tried often.
const BOUNDS: Bounds = Bounds { bytes: 128 * 1024, steps: 10_000, files: 40, depth: 12 };

/// Many times what the worst input within the bounds takes, with all checks on.
const PATIENCE: Duration = Duration::from_secs(5);

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    let (text, memory) = Memory::split(&text, "main", BOUNDS);
    let begin = Instant::now();
    match parse_in("f.conf", &text, &memory, &Policy::default()) {
        Ok(loaded) => {
            assert_eq!(loaded.notes.errors(), 0);
            check(&loaded.notes);
            let again = parse("again", &show(&loaded.config), &Policy::default());
            let same = again.is_ok_and(|again| diff(&loaded.config, &again.config).is_empty());
            assert!(same, "what is shown is not read as the same");
        }
        Err(Failure::Invalid(report)) => {
            assert!(report.errors() > 0);
            check(&report);
        }
        Err(Failure::Io { error, .. }) => panic!("nothing is read here: {error}"),
    }
    let taken = begin.elapsed();
    assert!(taken < PATIENCE, "it took {taken:?}");
});

/// Shows a report in every way.
fn check(report: &Report) {
    let shown = report.render(false);
    if std::env::var_os("XLVS_FUZZ_SHOW").is_some() {
        eprintln!("{shown}");
    }
    assert_eq!(report.is_empty(), shown.is_empty());
    assert_eq!(report.is_empty(), report.render(true).is_empty());
    assert!(report.lines().all(|(_, line)| !line.contains('\n')));
}
