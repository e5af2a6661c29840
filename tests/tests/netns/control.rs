//! Edits and listings beside a running controller, and without one.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::process::Output;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use lvs_tests::skip_unless_possible;
use lvs_tests::xlvs::{Setup, binary};
use lvs_tests::{command, config};
use nix::sys::signal::Signal;

use super::support::{Bed, by_server};

const SERVICE: &str = "-t 10.64.1.2:10000";

/// A command of `xlvs` in the balancer's namespace, with its directories.
fn xlvs(bed: &Bed, setup: &Setup, name: &str, words: &str) -> Result<Output> {
    let mut command = bed.topology.lb.command(binary()?);
    command.arg(name).args(words.split_whitespace());
    command.arg("--pin-dir").arg(&setup.pin_dir).arg("--runtime-dir").arg(&setup.runtime_dir);
    command::output_with_input(&mut command, "")
}

/// What it prints; an error if it fails.
fn printed(bed: &Bed, setup: &Setup, name: &str, words: &str) -> Result<String> {
    let output = xlvs(bed, setup, name, words)?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`{name} {words}`: {}: {said}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

fn json(bed: &Bed, setup: &Setup, name: &str, words: &str) -> Result<serde_json::Value> {
    let text = printed(bed, setup, name, &format!("{words} --json"))?;
    serde_json::from_str(&text).with_context(|| text)
}

#[test]
fn edits_count_at_once_and_beside_the_file() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let file = config::without_persistence();
    let controller = bed.start(&file, None)?;
    let setup = controller.setup().clone();
    let ipvsadm = |words: &str| printed(&bed, &setup, "ipvsadm", words);
    ipvsadm(&format!("-e {SERVICE} -r 192.168.1.100:8089 -m -w 0"))?;
    assert_eq!(by_server(&bed.ask_many(6, 1)?), [("web2", 6)].into());
    controller.wait_for(&format!(": -e {SERVICE} -r 192.168.1.100:8089 -m -w 0"))?;
    ensure!(controller.log().contains("edit by user 0 (process "), "{}", controller.log());
    // Another one is refused, and has nothing to say about that.
    let (code, refused) = super::operation::start_refused(&bed, &setup)?;
    ensure!(code == Some(1) && !refused.contains("is kept"), "{code:?}: {refused}");
    // The same file again, and again.
    controller.reload(&file)?;
    controller.wait_for("real server 192.168.1.100:8089 is kept")?;
    controller.reload(&file)?;
    assert_eq!(controller.log().matches("is kept").count(), 1, "{}", controller.log());
    assert_eq!(by_server(&bed.ask_many(6, 1)?), [("web2", 6)].into());
    // The file has something new about that server.
    controller.reload(&file.replacen("weight 1", "weight 2", 1))?;
    controller.wait_for("is dropped: the file now says something else about it")?;
    assert_eq!(by_server(&bed.ask_many(6, 1)?), [("web1", 3), ("web2", 3)].into());
    ipvsadm(&format!("-e {SERVICE} -r 192.168.1.100:8089 -m -w 5"))?;
    controller.reload(&file.replacen("weight 1", "weight 5", 1))?;
    controller.wait_for("real server 192.168.1.100:8089 has become part of the file")?;
    controller.reload(&file.replacen("weight 1", "weight 2", 1))?;
    // A service that no file has.
    ipvsadm("-A -t 10.64.1.2:10005 -s rr")?;
    ipvsadm("-a -t 10.64.1.2:10005 -r 192.168.1.101:18089 -m")?;
    let address = "10.64.1.2:10005".parse::<std::net::SocketAddrV4>()?;
    let ask = || bed.topology.client.block_on(|| lvs_tests::http::client::ask_many(address, 2, 1));
    assert_eq!(by_server(&ask()?), [("web2", 2)].into());
    let added = json(&bed, &setup, "list", "--service 10.64.1.2:10005")?;
    assert_eq!(added["services"][0]["edit"], "added");
    assert_eq!(added["services"][0]["servers"][0]["edit"], "added");
    let refused = xlvs(&bed, &setup, "ipvsadm", "-A -t 10.64.1.2:10005 -s rr")?;
    ensure!(!refused.status.success(), "added twice");
    controller.wait_for("refused: -A -t 10.64.1.2:10005 -s rr: there is such a service already")?;
    controller.reload(&file)?;
    assert_eq!(by_server(&ask()?), [("web2", 2)].into());
    ipvsadm("-C")?;
    ensure!(bed.ask_many(1, 1).is_err() && ask().is_err(), "a service is still there");
    let cleared = json(&bed, &setup, "list", "")?;
    assert_eq!(cleared["deleted"][0]["port"], 10_000, "{cleared:#}");
    // What is left out of the file is worth a warning, and there is a way back.
    let told = xlvs(&bed, &setup, "reload", "")?;
    let text = String::from_utf8(told.stderr)?;
    ensure!(text.contains("warning: the deletion of TCP 10.64.1.2:10000 is kept"), "{text}");
    let told = xlvs(&bed, &setup, "reload", "--discard-edits")?;
    let text = String::from_utf8(told.stderr)?;
    ensure!(told.status.success() && text.contains("10.64.1.2:10000 is dropped"), "{text}");
    assert_eq!(by_server(&bed.ask_many(6, 1)?), [("web1", 3), ("web2", 3)].into());
    ipvsadm("-C")?;
    assert!(controller.stop()?.success());
    let left = setup.runtime_dir.join("edits.json");
    ensure!(!left.exists(), "{} is left", left.display());
    Ok(())
}

/// Two services that share their health, and need both servers for their quorum.
const GROUP: &str = "
virtual_server_group web {
    10.64.1.2 10000
    10.64.1.2 10005
}
virtual_server group web {
    lb_algo rr
    lb_kind NAT
    protocol TCP
    quorum 2
    sorry_server 192.168.1.109 80
    real_server 192.168.1.100 8089 {
        weight 1
        TCP_CHECK {
        }
    }
    real_server 192.168.1.101 18089 {
        weight 1
        TCP_CHECK {
        }
    }
}
";

#[test]
fn who_is_drained_costs_no_quorum_and_a_group_is_edited_one_by_one() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let controller = bed.start(GROUP, None)?;
    let setup = controller.setup().clone();
    let ipvsadm = |words: &str| printed(&bed, &setup, "ipvsadm", words);
    let address = "10.64.1.2:10005".parse::<std::net::SocketAddrV4>()?;
    let ask_other =
        || bed.topology.client.block_on(|| lvs_tests::http::client::ask_many(address, 6, 1));
    let both: BTreeMap<_, _> = [("web1", 3), ("web2", 3)].into();
    let one: BTreeMap<_, _> = [("web2", 6)].into();
    ipvsadm("-e -t 10.64.1.2:10005 -r 192.168.1.100:8089 -m -w 0")?;
    assert_eq!(by_server(&bed.ask_many(6, 1)?), both);
    assert_eq!(by_server(&ask_other()?), one);
    ipvsadm("-d -t 10.64.1.2:10005 -r 192.168.1.100:8089")?;
    ipvsadm(&format!("-e {SERVICE} -r 192.168.1.100:8089 -m -w 0"))?;
    ipvsadm(&format!("-e {SERVICE} -r 192.168.1.101:18089 -m -w 0"))?;
    let shown = printed(&bed, &setup, "list", "")?;
    ensure!(!shown.contains("SORRY") && !shown.contains("192.168.1.109"), "{shown}");
    ensure!(bed.ask_many(1, 1).is_err(), "a drained server was sent a client");
    // The next controller knows that nobody is down.
    drop(controller);
    let controller = bed.start(GROUP, None)?;
    assert_eq!(by_server(&ask_other()?), one);
    let text = String::from_utf8(xlvs(&bed, &setup, "reload", "--discard-edits")?.stderr)?;
    ensure!(text.contains("10.64.1.2:10005, real server 192.168.1.100:8089 is dropped"), "{text}");
    assert_eq!(by_server(&bed.ask_many(6, 1)?), both);
    assert_eq!(by_server(&ask_other()?), both);
    let log = controller.log();
    ensure!(!log.contains("is down") && !log.contains("quorum"), "{log}");
    assert!(controller.stop()?.success());
    Ok(())
}

#[test]
fn clients_that_say_nothing_hold_up_nobody() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let controller = bed.start(&config::without_persistence(), None)?;
    let setup = controller.setup().clone();
    let socket = setup.runtime_dir.join("control.sock");
    let mut silent = Vec::new();
    for begun in ["", "{", "{\"request\":\"edit\",\"edits\":["] {
        let mut stream = UnixStream::connect(&socket)?;
        stream.write_all(begun.as_bytes())?;
        silent.push(stream);
    }
    let mut rude = UnixStream::connect(&socket)?;
    rude.write_all(&vec![0xff; 100_000])?;
    drop(rude);
    let start = Instant::now();
    for weight in 0..20 {
        let edit = format!("-e {SERVICE} -r 192.168.1.100:8089 -m -w {weight}");
        printed(&bed, &setup, "ipvsadm", &edit)?;
    }
    ensure!(start.elapsed() < Duration::from_secs(8), "20 edits took {:?}", start.elapsed());
    bed.ask_many(10, 1)?;
    assert!(controller.stop()?.success());
    Ok(())
}

#[test]
fn listings_need_no_controller_and_edits_do() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let controller = bed.start(&config::EXAMPLE.replace("timeout 10", "timeout 300"), None)?;
    let setup = controller.setup().clone();
    bed.ask_many(4, 1)?;
    let running = json(&bed, &setup, "list", "")?;
    controller.stop_by(Signal::SIGKILL)?;
    let listed = json(&bed, &setup, "list", "")?;
    assert_eq!(listed["services"], running["services"]);
    assert_eq!(
        (&running["controller"]["running"], &listed["controller"]["running"]),
        (&true.into(), &false.into())
    );
    let service = &listed["services"][0];
    assert_eq!(service["service"]["port"], 10_000);
    assert_eq!(service["persistence"]["timeout"], 300);
    let counted: Vec<_> = service["servers"]
        .as_array()
        .context("servers")?
        .iter()
        .map(|s| &s["persistent"])
        .collect();
    assert_eq!(counted.iter().filter(|count| **count == 1).count(), 1, "{listed:#}");
    assert_eq!(json(&bed, &setup, "stats", "")?["services"][0]["counts"]["connections"], 4);

    let lines = |words: &str| {
        let text = printed(&bed, &setup, "connections", &format!("--json {words}"))?;
        text.lines()
            .map(|line| Ok(serde_json::from_str(line)?))
            .collect::<Result<Vec<serde_json::Value>>>()
    };
    let all = lines("")?;
    let kinds = |kind: &str| all.iter().filter(|one| one["kind"] == kind).count();
    assert_eq!((kinds("connection"), kinds("persistent")), (4, 1), "{all:?}");
    assert_eq!(lines("--client 10.64.1.1 --service 10.64.1.2:10000")?.len(), 5);
    for nobody in ["--client 10.64.1.9", "--service 10.64.1.2:81", "--service fwmark:7"] {
        assert_eq!(lines(nobody)?.len(), 0, "{nobody}");
    }
    for words in ["list", "connections", "stats"] {
        let text = printed(&bed, &setup, words, "")?;
        ensure!(text.contains("10.64.1.2:10000"), "{words}:\n{text}");
    }
    let text = printed(&bed, &setup, "ipvsadm", "-Ln")?;
    ensure!(text.contains("TCP  10.64.1.2:10000 rr persistent 300\n"), "{text}");

    let refused = xlvs(&bed, &setup, "ipvsadm", "-C")?;
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr)?;
    ensure!(said.contains("cannot reach the controller") && said.contains("xlvs run"), "{said}");
    Ok(())
}

#[test]
fn edits_last_as_long_as_the_data_plane() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let file = config::without_persistence();
    let controller = bed.start(&file, None)?;
    let setup = controller.setup().clone();
    let ipvsadm = |words: &str| printed(&bed, &setup, "ipvsadm", words);
    ipvsadm(&format!("-d {SERVICE} -r 192.168.1.100:8089"))?;
    ipvsadm("-A -f 7 -s sh -b sh-port -p 60 -M 255.255.255.0")?;
    let listed = ipvsadm("-S -n")?;
    controller.stop_by(Signal::SIGKILL)?;
    let controller = bed.start(&file, None)?;
    assert_eq!(ipvsadm("-S -n")?, listed);
    controller.wait_for("the addition of fwmark 7 is kept")?;
    controller
        .wait_for("the deletion of TCP 10.64.1.2:10000, real server 192.168.1.100:8089 is kept")?;
    printed(&bed, &setup, "stop", "--keep-dataplane")?;
    drop(controller);
    assert_eq!(ipvsadm("-S -n")?, listed);
    let controller = bed.start(&file, None)?;
    assert_eq!(ipvsadm("-S -n")?, listed);
    assert!(controller.stop()?.success());
    let controller = bed.start(&file, None)?;
    ensure!(!ipvsadm("-S -n")?.contains("-f 7"), "edits outlive a proper end");
    // What a killed one has left goes with it.
    ipvsadm("-A -f 8 -s rr")?;
    controller.stop_by(Signal::SIGKILL)?;
    printed(&bed, &setup, "stop", "")?;
    ensure!(!setup.runtime_dir.exists(), "the runtime directory is left");
    Ok(())
}

#[test]
fn without_a_data_plane_listings_say_what_to_do() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let setup = bed.setup("", None)?;
    for (name, words) in [("list", ""), ("connections", ""), ("stats", ""), ("ipvsadm", "-Ln")] {
        let output = xlvs(&bed, &setup, name, words)?;
        assert_eq!(output.status.code(), Some(1), "{name}");
        let said = String::from_utf8(output.stderr)?;
        ensure!(said.contains("no data plane is pinned") && said.contains("xlvs run"), "{said}");
    }
    Ok(())
}
