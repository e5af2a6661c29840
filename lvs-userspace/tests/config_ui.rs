//! The diagnostics of the configuration front end, as users see them.
//!
//! Each `tests/ui/NAME.conf` has a `NAME.stderr` with the plain rendering of what loading it reports. After a wanted
//! change, `UI_BLESS=1 cargo test --package lvs-userspace --test config_ui` rewrites the latter; read the diff.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use lvs_userspace::config::{Failure, Policy, load, manual};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/ui/");

/// What machines have is different, and is shown of the files alone that are about it.
fn policy(path: &Path) -> Policy {
    let about_machine = path.file_stem().is_some_and(|stem| stem == "not-on-this-machine");
    let policy = Policy::default();
    if about_machine { policy } else { policy.allow("XLVS112").unwrap_or_default() }
}

/// What is reported about a file, under its bare name, so that it does not depend on where the clone is.
fn report(path: &Path) -> String {
    let text = match load(path, "main", &policy(path)) {
        Ok(loaded) => loaded.notes.render(false),
        Err(Failure::Invalid(report)) => report.render(false) + &format!("\n{report}\n"),
        Err(io @ Failure::Io { .. }) => io.to_string(),
    };
    text.replace(FOLDER, "")
}

fn cases() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(FOLDER)?.collect::<io::Result<Vec<_>>>()?;
    let paths = entries.into_iter().map(|entry| entry.path());
    let mut cases: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    cases.sort();
    Ok(cases)
}

#[test]
fn diagnostics_look_as_committed() {
    let bless = env::var_os("UI_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases().unwrap() {
        let expected = case.with_extension("stderr");
        let shown = report(&case);
        if bless {
            fs::write(&expected, &shown).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != shown {
            wrong.push(format!("{} does not show\n{shown}", expected.display()));
        }
    }
    assert!(wrong.is_empty(), "{}\nUI_BLESS=1 accepts what is shown", wrong.join("\n"));
}

#[test]
fn colour_is_only_used_when_asked_for() {
    for case in cases().unwrap() {
        let shown = |colour| match load(&case, "main", &policy(&case)) {
            Ok(loaded) => loaded.notes.render(colour),
            Err(Failure::Invalid(report)) => report.render(colour),
            Err(Failure::Io { .. }) => String::new(),
        };
        assert!(!shown(false).contains('\u{1b}'), "{}", case.display());
        let coloured = shown(true).contains('\u{1b}');
        assert!(coloured || shown(false).is_empty(), "{}", case.display());
    }
}

#[test]
fn the_manual_of_keywords_is_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/keywords.md");
    if env::var_os("UI_BLESS").is_some() {
        fs::write(path, manual()).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(committed == manual(), "{path} is not what the tables say; UI_BLESS=1 writes it");
}
