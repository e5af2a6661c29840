//! What cannot run is refused: with an exit code, a reason that helps, and nothing attached.

use std::os::unix::fs::PermissionsExt as _;
use std::process::Output;

use anyhow::{Result, ensure};
use lvs_tests::{config, skip_unless_possible, xlvs};

use super::modes;
use super::support::Bed;

const INVALID: i32 = 3;
const NOT_PERMITTED: i32 = 4;

#[test]
fn a_broken_file_is_refused_with_its_line() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let without_last_brace = config::EXAMPLE.trim_end().trim_end_matches('}').to_owned();
    // Name, file, the lines that may be pointed at, a word of the reason.
    let cases = [
        ("missing brace", without_last_brace, vec![1, 13, 14], "}"),
        (
            "bad port",
            config::EXAMPLE.replace("10.64.1.2 10000", "10.64.1.2 70000"),
            vec![1],
            "70000",
        ),
        ("unknown scheduler", config::EXAMPLE.replace("algo rr", "algo rrr"), vec![3], "rrr"),
        ("bad weight", config::EXAMPLE.replace("weight 1", "weight one"), vec![8], "one"),
    ];
    for (name, file, lines, reason) in cases {
        let output = run(&bed, &file, "", &xlvs::binary()?)?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.code() == Some(INVALID), "{name}: {}: {said}", output.status);
        let place = lines.iter().any(|line| said.contains(&format!("xlvs.conf:{line}")));
        ensure!(place, "{name}: neither of the lines {lines:?} is named: {said}");
        ensure!(said.contains(reason), "{name}: `{reason}` is not in: {said}");
        nothing_attached(&bed)?;
    }
    Ok(())
}

#[test]
fn a_missing_capability_is_named() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    // Where the binary lies, another user may not go.
    let binary = bed.scratch.path("xlvs");
    std::fs::copy(xlvs::binary()?, &binary)?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    let cases = [
        ("--reuid=65534 --clear-groups --inh-caps=-all", "CAP_"),
        ("--bounding-set=-all --inh-caps=-all", "CAP_"),
        ("--bounding-set=-bpf,-sys_admin --inh-caps=-all", "CAP_BPF"),
        ("--bounding-set=-net_admin --inh-caps=-all", "CAP_NET_ADMIN"),
    ];
    for (privileges, capability) in cases {
        let output = run(&bed, config::EXAMPLE, privileges, &binary)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        ensure!(status.code() == Some(NOT_PERMITTED), "{privileges}: {status}: {said}");
        ensure!(said.contains(capability), "{privileges}: {capability} is not in: {said}");
        nothing_attached(&bed)?;
    }
    // Checks that could never be made.
    let connection = "PING_CHECK {\n }\n";
    let ping = config::EXAMPLE.replacen("weight 1", &format!("weight 1\n {connection}"), 1);
    let port = ping.replace(connection, "TCP_CHECK {\n bind_port 80\n }\n");
    for (file, withheld, capability) in
        [(ping, "net_raw", "CAP_NET_RAW"), (port, "net_bind_service", "CAP_NET_BIND_SERVICE")]
    {
        let output =
            run(&bed, &file, &format!("--bounding-set=-{withheld} --inh-caps=-all"), &binary)?;
        let said = String::from_utf8_lossy(&output.stderr);
        let status = output.status;
        ensure!(status.code() == Some(NOT_PERMITTED), "{withheld}: {status}: {said}");
        ensure!(said.contains(capability) && said.contains("192.168.1.100"), "{withheld}: {said}");
        nothing_attached(&bed)?;
    }
    Ok(())
}

#[test]
fn interfaces_none_of_which_is_there_are_refused() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    bed.topology.lb.ip(&[
        "link set xlvs-s down",
        "link set xlvs-s name other",
        "link set xlvs-c down",
        "link set xlvs-c name one",
    ])?;
    let output = run(&bed, config::EXAMPLE, "", &xlvs::binary()?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    let named = said.contains("xlvs-s") && said.contains("xlvs-c");
    ensure!(named, "the interfaces are not named: {said}");
    nothing_attached(&bed)
}

#[test]
fn a_pin_directory_with_something_in_it_is_not_covered_by_a_mount() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let pins = bed.scratch.path("bpf");
    std::fs::create_dir(&pins)?;
    std::fs::write(pins.join("file"), "mine")?;
    let output = run(&bed, config::EXAMPLE, "", &xlvs::binary()?)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(1), "{}: {said}", output.status);
    ensure!(said.contains("hide"), "the reason is not in: {said}");
    ensure!(pins.join("file").exists(), "the file is hidden");
    nothing_attached(&bed)
}

/// Runs `xlvs` to its end, with fewer privileges where options of `setpriv` say so.
fn run(bed: &Bed, file: &str, privileges: &str, binary: &std::path::Path) -> Result<Output> {
    let setup = bed.setup(file, None)?;
    // One that is not refused would run on.
    let mut command = bed.topology.lb.command("timeout");
    command.args(["--signal=KILL", "20", "setpriv"]).args(privileges.split_whitespace());
    command.arg("--pdeathsig=KILL");
    Ok(command.arg(binary).args(setup.arguments()).output()?)
}

fn nothing_attached(bed: &Bed) -> Result<()> {
    ensure!(modes::modes(&bed.topology.lb)?.is_empty(), "a program is attached");
    let pins = bed.scratch.path("bpf").join("v5");
    ensure!(!pins.exists(), "{} is there", pins.display());
    Ok(())
}
