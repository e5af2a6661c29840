//! `xlvs check` and `xlvs config`, as a user calls them.

#![expect(clippy::unwrap_used, reason = "a test that cannot run its command has failed")]

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
};

const GOOD: &str = "\
virtual_server 10.0.0.1 80 {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    real_server 10.1.0.1 80 {
        weight 1
    }
}
";

fn xlvs(args: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_xlvs"))
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that does not read it ends before.
    let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn check_ends_with_0_or_3() {
    let good = xlvs(&["check", "-"], GOOD);
    assert_eq!(
        (code(&good), out(&good)),
        (0, "-: good: 1 virtual server with 1 real server\n".into())
    );
    let bad = xlvs(&["check", "-"], &GOOD.replace("80 {", "808080 {"));
    assert_eq!(code(&bad), 3);
    assert!(out(&bad).contains("error[XLVS043]"), "{}", out(&bad));
    let also_direct = GOOD.to_owned() + &GOOD.replace("NAT", "DR").replace("0.1 80", "0.2 80");
    let part = xlvs(&["check", "-"], &also_direct);
    assert!(
        out(&part).ends_with(
            "can be used: 1 virtual server with 1 real server; 1 virtual server left out; 1 warning\n"
        ),
        "{}",
        out(&part)
    );
    let absent = xlvs(&["check", "/nonexistent"], "");
    assert_eq!(code(&absent), 1);
    assert!(err(&absent).contains("there is no such file"), "{}", err(&absent));
}

#[test]
fn warnings_become_errors_or_nothing() {
    let unknown = GOOD.replace("lb_algo rr", "lb_algo rr\n    lb_agol wrr");
    assert_eq!(code(&xlvs(&["check", "-"], &unknown)), 0);
    let strict = xlvs(&["check", "--strict", "-"], &unknown);
    assert_eq!(code(&strict), 3);
    assert!(out(&strict).contains("error[XLVS030]"), "{}", out(&strict));
    let allowed = xlvs(&["check", "--strict", "--allow", "XLVS030", "-"], &unknown);
    assert_eq!((code(&allowed), out(&allowed).lines().count()), (0, 1));
    let wrong = xlvs(&["check", "--allow", "XLVS043", "-"], GOOD);
    assert_eq!(code(&wrong), 2);
    assert!(err(&wrong).contains("XLVS043 is an error"), "{}", err(&wrong));
}

#[test]
fn check_has_lines_for_editors_and_json_for_programs() {
    let bad = GOOD.replace("weight 1", "weight x");
    let lines = xlvs(&["check", "--format", "line", "-"], &bad);
    assert_eq!(
        out(&lines),
        "<stdin>:6:16: error[XLVS044]: `weight` takes a whole number from 0 to 2147483647, not `x`\n"
    );
    let json = xlvs(&["check", "--format", "json", "-"], &bad);
    assert_eq!(code(&json), 3);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["errors"], 1);
    let first = &document["diagnostics"][0];
    assert_eq!(
        (&first["line"], &first["column"], &first["end_column"]),
        (&6.into(), &16.into(), &17.into())
    );
    assert_eq!((&first["code"], &first["severity"]), (&"XLVS044".into(), &"error".into()));
}

#[test]
fn show_writes_defaults_out_and_reads_them_again() {
    let shown = xlvs(&["config", "show", "-"], GOOD);
    assert_eq!(code(&shown), 0);
    assert!(out(&shown).contains("quorum 1"), "{}", out(&shown));
    let again = xlvs(&["config", "show", "-"], &out(&shown));
    assert_eq!(out(&again), out(&shown));
    let json = xlvs(&["config", "show", "--json", "-"], GOOD);
    let document: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(document["services"][0]["scheduler"], "rr");
}

#[test]
fn diff_ends_with_5_where_something_changes() {
    let folder = tempfile::tempdir().unwrap();
    let old = folder.path().join("old.conf");
    std::fs::write(&old, GOOD).unwrap();
    let old = old.to_str().unwrap();
    let same = xlvs(&["config", "diff", old, "-"], &format!("# the same\n{GOOD}"));
    assert_eq!((code(&same), out(&same)), (0, String::new()));
    let changed = xlvs(&["config", "diff", old, "-"], &GOOD.replace("weight 1", "weight 2"));
    assert_eq!(code(&changed), 5);
    assert_eq!(
        out(&changed),
        "~ 10.0.0.1 port 80 TCP\n    ~ real server 10.1.0.1 port 80: weight: 1 → 2\n"
    );
}

#[test]
fn diff_takes_standard_input_once() {
    let twice = xlvs(&["config", "diff", "-", "-"], GOOD);
    assert_eq!((code(&twice), out(&twice)), (2, String::new()));
    assert!(err(&twice).contains("only one of the two"), "{}", err(&twice));
}

#[test]
fn nothing_reaches_the_terminal_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a\n\u{1b}[31m.conf");
    std::fs::write(&path, GOOD.replace("weight 1", "weight x")).unwrap();
    for format in ["line", "text"] {
        let shown = out(&xlvs(&["check", "--format", format, path.to_str().unwrap()], ""));
        assert!(shown.contains("44]") && !shown.contains('\u{1b}'), "{shown:?}");
        assert!(format != "line" || shown.lines().count() == 1, "{shown:?}");
    }
    let nonsense = err(&xlvs(&["config", "explain", "a\n\u{1b}[31m"], ""));
    assert!(nonsense.contains("`a\\n\\u{1b}[31m`"), "{nonsense:?}");
}

#[test]
fn what_is_repeated_is_said_once() {
    let repeated = GOOD.replace("        weight 1", "        ~SEQ(i,1,3) bogus 1");
    let shown = out(&xlvs(&["check", "--format", "line", "-"], &repeated));
    assert_eq!(shown.matches("XLVS030").count(), 1, "{shown}");
    let open = GOOD.replace("lb_algo rr", "lb_algo \"rr");
    let shown = out(&xlvs(&["check", "--format", "line", "-"], &open));
    assert_eq!(shown.lines().count(), 1, "{shown}");
    let foreign = out(&xlvs(&["check", "--format", "line", "-"], "vrrp_instnce a {\n}\n"));
    assert!(foreign.contains("did you mean `vrrp_instance`?"), "{foreign}");
}

#[test]
fn explain_knows_keywords_and_what_was_meant() {
    let quorum = xlvs(&["config", "explain", "quorum"], "");
    assert_eq!(code(&quorum), 0);
    assert!(out(&quorum).contains("a `virtual_server` block"), "{}", out(&quorum));
    let typo = xlvs(&["config", "explain", "qorum"], "");
    assert_eq!(code(&typo), 1);
    assert!(err(&typo).contains("did you mean `quorum`?"), "{}", err(&typo));
}

#[test]
fn a_log_in_json_has_a_configuration_that_is_wrong_in_one_line() {
    let file = std::env::temp_dir().join(format!("xlvs-json-{}.conf", std::process::id()));
    std::fs::write(&file, GOOD.replace("NAT", "NATT").replace("protocol", "protocl")).unwrap();
    let run = ["--log-format", "json", "run", "--interface", "no-such", "--config"];
    let output = xlvs(&[run.as_slice(), &[file.to_str().unwrap()]].concat(), "");
    std::fs::remove_file(&file).unwrap();
    assert_eq!(code(&output), 3);
    let text = err(&output);
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [line] = lines.as_slice() else { panic!("not one line: {text}") };
    assert_eq!(line["level"], "ERROR");
    assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("lb_kind NATT") && message.contains("protocl"), "{message}");
    assert!(!message.contains('\u{1b}'), "{message}");
    // What people see is as ever.
    let bare = xlvs(&["check", "/no-such-file"], "");
    assert!(err(&bare).starts_with("xlvs: cannot read"), "{}", err(&bare));
}
