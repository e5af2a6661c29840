//! `MISC_CHECK`.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Instant};

use super::*;
use crate::{
    config::{MiscCheck, Script, ScriptUser},
    health::tests::hang::Hang,
};

fn script(command: &[&str], user: Option<ScriptUser>) -> Script {
    Script { command: command.iter().map(|word| (*word).to_owned()).collect(), user }
}

fn misc(command: &[&str]) -> MiscCheck {
    MiscCheck { script: script(command, None), timeout: Duration::from_secs(10), dynamic: false }
}

fn user(name: &str) -> ScriptUser {
    ScriptUser { user: name.to_owned(), group: None }
}

#[tokio::test]
async fn the_exit_code_counts() {
    let sh = |code: &str| misc(&["sh", "-c", &format!("exit {code}")]);
    assert_eq!(run(Check::Misc(misc(&["true"]))).await, Outcome::Well(0));
    assert_eq!(run(Check::Misc(sh("7"))).await, failed("MISC_CHECK: sh ended with 7"));
    for (code, wanted) in [
        ("0", Outcome::Well(0)),
        ("1", failed("MISC_CHECK: sh ended with 1")),
        ("2", Outcome::Well(2)),
        ("255", Outcome::Well(255)),
    ] {
        assert_eq!(run(Check::Misc(MiscCheck { dynamic: true, ..sh(code) })).await, wanted);
    }
    assert_eq!(
        run(Check::Misc(misc(&["sh", "-c", "kill -9 $$"]))).await,
        failed("MISC_CHECK: sh was ended by signal 9")
    );
}

#[tokio::test]
async fn no_shell_is_involved() {
    let folder = tempfile::TempDir::new().unwrap();
    let seen = folder.path().join("seen");
    let program = folder.path().join("program");
    let text = format!(
        "#!/bin/sh\nprintf '%s|' \"$@\" > {}\nread line || echo none >> {0}\n",
        seen.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let program = program.to_str().unwrap();
    let check = misc(&[program, "a b", "$HOME", "*", ";false"]);
    assert_eq!(run(Check::Misc(check)).await, Outcome::Well(0));
    assert_eq!(fs::read_to_string(seen).unwrap(), "a b|$HOME|*|;false|none\n");
}

/// Whether there are processes with this word among their arguments.
fn is_there(word: &str) -> bool {
    let ended =
        |path: &Path| fs::read_to_string(path.join("stat")).is_ok_and(|stat| stat.contains(") Z "));
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word) && !ended(&entry.path())
    })
}

#[tokio::test]
async fn what_takes_too_long_is_ended_with_all_that_it_started() {
    let word = format!("86{}", fastrand::u32(10_000..99_999));
    let stubborn = format!("trap '' TERM; sleep {word} & sleep {word}");
    for (line, at_least) in [(format!("sleep {word} & sleep {word}"), 1), (stubborn, 3)] {
        let start = Instant::now();
        let check = MiscCheck { timeout: Duration::from_secs(1), ..misc(&["sh", "-c", &line]) };
        let outcome = run(Check::Misc(check)).await;
        assert_eq!(outcome, failed("MISC_CHECK: sh took more than 1 s"));
        assert!(start.elapsed() >= Duration::from_secs(at_least), "{:?}", start.elapsed());
        let deadline = Instant::now() + Duration::from_secs(5);
        while is_there(&word) {
            assert!(Instant::now() < deadline, "something is left of {line}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn who_has_gone_to_another_group_is_ended_too() {
    let word = format!("86{}", fastrand::u32(10_000..99_999));
    let line = format!("setpgrp(0, getpgrp(getppid())) or die; sleep {word}");
    let check = MiscCheck { timeout: Duration::from_secs(1), ..misc(&["perl", "-e", &line]) };
    assert_eq!(run(Check::Misc(check)).await, failed("MISC_CHECK: perl took more than 1 s"));
    assert!(!is_there(&word));
}

#[tokio::test]
async fn the_time_to_start_counts_and_one_start_hangs_at_a_time() {
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let name = program.to_str().unwrap();
    let check = Check::Misc(MiscCheck { timeout: Duration::from_secs(1), ..misc(&[name]) });
    let checker = Arc::new(Checker { check, schedule: schedule(), line: Line(1) });
    let probe = Probe::new(checker, Arc::default(), Arc::new(Tls::new(None)));
    assert_eq!(probe.run(0).await, Outcome::Well(0));
    let hang = Hang::new(&program);
    for reason in ["has not started within 1 s", "hangs since an earlier check started it"] {
        assert_eq!(probe.run(0).await, failed(&format!("MISC_CHECK: {name} {reason}")));
    }
    drop(hang);
    let deadline = Instant::now() + Duration::from_secs(20);
    while probe.run(0).await != Outcome::Well(0) {
        assert!(Instant::now() < deadline, "it never starts again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn who_cannot_run_a_script_says_nothing_about_the_server() {
    let Outcome::Unable(reason) = run(Check::Misc(misc(&["/no/such/program"]))).await else {
        panic!("a program that is not there has run")
    };
    assert!(
        reason.starts_with("MISC_CHECK: cannot run /no/such/program: No such file"),
        "{reason}"
    );
    let mut check = misc(&["true"]);
    check.script.user = Some(user("nobody-of-that-name"));
    assert_eq!(
        run(Check::Misc(check)).await,
        Outcome::Unable("MISC_CHECK: there is no user nobody-of-that-name".to_owned())
    );
    let mut check = misc(&["true"]);
    check.script.user =
        Some(ScriptUser { user: "nobody".to_owned(), group: Some("no-such-group".to_owned()) });
    assert_eq!(
        run(Check::Misc(check)).await,
        Outcome::Unable("MISC_CHECK: there is no group no-such-group".to_owned())
    );
}

#[tokio::test]
async fn scripts_run_as_the_user_of_the_configuration() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("SKIP: only root can be others");
        return;
    }
    // As nobody, in no group of root's.
    let line = "test $(id -un) = nobody && test $(id -u) != 0 && ! id -G | grep -qw 0";
    let mut check = misc(&["sh", "-c", line]);
    check.script.user = Some(user("nobody"));
    assert_eq!(run(Check::Misc(check.clone())).await, Outcome::Well(0));
    check.script.user = None;
    let global = Global { script_user: Some(user("nobody")), ..Global::default() };
    let tls = Tls::new(None);
    assert_eq!(run_with(Check::Misc(check), global, tls).await, Outcome::Well(0));
    let mut check = misc(&["sh", "-c", "test $(id -gn) = daemon"]);
    check.script.user =
        Some(ScriptUser { user: "nobody".to_owned(), group: Some("daemon".to_owned()) });
    assert_eq!(run(Check::Misc(check)).await, Outcome::Well(0));
}

#[tokio::test]
async fn with_script_security_root_runs_nothing_that_others_can_write() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("SKIP: it is about root");
        return;
    }
    let folder = tempfile::TempDir::new().unwrap();
    let program = folder.path().join("program");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    let global =
        Global { script_user: Some(user("root")), script_security: true, ..Global::default() };
    let path = program.to_str().unwrap();
    for (mode, secure) in [(0o755, true), (0o775, false), (0o757, false)] {
        fs::set_permissions(&program, fs::Permissions::from_mode(mode)).unwrap();
        let tls = Tls::new(None);
        let outcome = run_with(Check::Misc(misc(&[path])), global.clone(), tls).await;
        assert_eq!(outcome == Outcome::Well(0), secure, "{mode:o}: {outcome:?}");
    }
}
