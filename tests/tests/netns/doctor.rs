//! `xlvs doctor`: what is spoilt is found, and what is found is mended by the commands that are printed, as they are.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, ensure};
use aya::programs::{Xdp, XdpMode};
use lvs_tests::config::Method;
use lvs_tests::family::Family;
use lvs_tests::http::client;
use lvs_tests::netns::Netns;
use lvs_tests::topology::Plan;
use lvs_tests::{command, skip_unless_possible, xlvs};
use lvs_userspace::bpf::{Dataplane, LoadOptions};
use serde_json::Value;

use super::lab::Lab;
use super::support::say;

/// What the doctor has found.
struct Diagnosis {
    code: Option<i32>,
    json: Value,
}

/// One of its findings.
#[derive(Clone, Debug)]
struct Finding {
    name: String,
    severity: String,
    about: String,
    text: String,
    /// Where a command is to be run, if not here, and the command. Only those that mend.
    commands: Vec<(Option<String>, String)>,
}

impl Diagnosis {
    /// Asks for one in the balancer's namespace.
    fn of(lab: &Lab, arguments: &[&str]) -> Result<Self> {
        let mut command = lab.topology.lb.command(xlvs::binary()?);
        command.args(["doctor", "--format", "json"]).args(arguments);
        command.arg("--pin-dir").arg(lab.scratch.path("bpf"));
        command.arg("--runtime-dir").arg(lab.scratch.path("run"));
        let Output { status, stdout, stderr } = command.output()?;
        let json = serde_json::from_slice(&stdout)
            .with_context(|| format!("{status}: {}", String::from_utf8_lossy(&stderr)))?;
        Ok(Self { code: status.code(), json })
    }

    /// All that is not as it should be.
    fn findings(&self) -> Vec<Finding> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let all = self.json.get("findings").and_then(Value::as_array).cloned().unwrap_or_default();
        let finding = |value: &Value| Finding {
            name: text(&value["name"]),
            severity: text(&value["severity"]),
            about: text(&value["about"]),
            text: format!("{value:#}"),
            commands: value["commands"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|command| command["purpose"] == "mend")
                .map(|one| (one["on"].as_str().map(str::to_owned), text(&one["command"])))
                .collect(),
        };
        all.iter().map(finding).filter(|finding| finding.severity != "ok").collect()
    }

    /// Warnings and problems: severity, name, and whom they are about.
    fn complaints(&self) -> Vec<String> {
        let mut complaints: Vec<String> = self
            .findings()
            .into_iter()
            .filter(|finding| finding.severity != "notice")
            .map(|Finding { name, severity, about, .. }| {
                format!("{severity} {name} {about}").trim_end().to_owned()
            })
            .collect();
        complaints.sort();
        complaints
    }

    fn finding(&self, name: &str) -> Result<Finding> {
        let found = self.findings().into_iter().find(|finding| finding.name == name);
        found.with_context(|| format!("nothing about {name}: {:#}", self.json))
    }

    /// Runs the commands that mend warnings and problems where they say.
    fn mend(&self, lab: &Lab) -> Result<()> {
        for finding in self.findings() {
            if finding.severity == "notice" {
                continue;
            }
            ensure!(!finding.commands.is_empty(), "nothing mends {}", finding.text);
            for (on, line) in &finding.commands {
                run(whose(lab, &finding, on.as_deref())?, line)?;
            }
        }
        Ok(())
    }
}

/// The namespace in which a command is to be run.
fn whose<'l>(lab: &'l Lab, finding: &Finding, on: Option<&str>) -> Result<&'l Netns> {
    let Some(on) = on else { return Ok(&lab.topology.lb) };
    if on == "the other end" {
        return Ok(if finding.about == lab.plan().client_side() {
            lab.client()
        } else {
            &lab.topology.switch
        });
    }
    let servers = Family::ALL.map(|family| lab.plan().servers(family));
    let number = servers
        .iter()
        .find_map(|servers| servers.iter().position(|server| server.ip().to_string() == on));
    lab.server(number.with_context(|| format!("who is {on}?"))?)
}

/// Runs a command as it was printed, but for `IF`: the other end of the balancer's interface.
fn run(netns: &Netns, line: &str) -> Result<()> {
    let end = if netns.name().ends_with("switch") { "lb0" } else { "client0" };
    let line = line.replace(" IF ", &format!(" {end} "));
    command::run(netns.command("sh").args(["-c", &line])).map(drop)
}

/// The standard picture, in which everybody has been reached once.
fn standing() -> Result<Lab> {
    let lab = Lab::new(Plan::TWO_ARMED)?;
    for family in Family::ALL {
        for server in lab.plan().servers(family) {
            lab.client().block_on(|| client::ask(server))?;
        }
    }
    lab.topology.forget_neighbours()?;
    Ok(lab)
}

/// Services of both families, and the file that has them.
fn file(lab: &Lab) -> Result<String> {
    let services = Family::ALL.map(|family| lab.web_service(Method::Nat, family).to_string());
    Ok(lab.scratch.write("xlvs.conf", &services.concat())?.display().to_string())
}

/// The command line for a start with this file.
fn asked<'a>(file: &'a str, mode: &'a str) -> Vec<&'a str> {
    vec!["--config", file, "--interface", "xlvs-c", "--interface", "xlvs-s", "--mode", mode]
}

/// Puts an XDP program on an interface that is not one of a balancer; it stays there as long as what is returned.
fn somebody_elses_program(lab: &Lab, interface: &str) -> Result<Dataplane> {
    let index = nix::net::if_::if_nametoindex;
    lab.topology.lb.run(|| {
        let options = LoadOptions { connections: 1000, ..LoadOptions::default() };
        let mut dataplane = Dataplane::load(&options)?;
        let program: &mut Xdp =
            dataplane.program("xlvs_clock").context("no program")?.try_into()?;
        program.load()?;
        program.attach_to_if_index(index(interface)?, XdpMode::Skb)?;
        Ok(dataplane)
    })
}

#[test]
fn what_was_spoilt_is_found_and_mended_by_the_printed_commands() -> Result<()> {
    skip_unless_possible!();
    let lab = standing()?;
    let (lb, plan) = (&lab.topology.lb, lab.plan());
    let file = file(&lab)?;
    lb.set("ipv4/ip_forward", "0")?;
    lb.set("ipv6/conf/all/forwarding", "0")?;
    lb.set("ipv4/conf/xlvs-c/rp_filter", "1")?;
    lb.ip(&[
        "route add default dev xlvs-s",
        &format!("addr del {}/32 dev xlvs-c", plan.virtual_address(Family::V4)),
    ])?;
    lb.ip(&[format!("addr del {}/128 dev xlvs-c", plan.virtual_address(Family::V6))])?;
    lab.server(0)?.ip(&["route replace default via 192.168.1.77"])?;
    let program = somebody_elses_program(&lab, "xlvs-c")?;

    let diagnosis = Diagnosis::of(&lab, &asked(&file, "tc"))?;
    assert_eq!(
        diagnosis.complaints(),
        [
            "problem ip-forward",
            "problem ipv6-forward",
            "warning other-xdp xlvs-c",
            "warning return-route",
            "warning rp-filter xlvs-c",
            "warning virtual-address",
        ],
        "{:#}",
        diagnosis.json
    );
    assert_eq!(diagnosis.code, Some(1));
    let (on, line) = diagnosis.finding("return-route")?.commands.remove(0);
    assert_eq!(on.as_deref(), Some("192.168.1.100"));
    assert_eq!(line, "ip route replace default via 192.168.1.1");
    let text = diagnosis.finding("other-xdp")?.text;
    ensure!(text.contains("xlvs_clock"), "whose is it? {text}");

    diagnosis.mend(&lab)?;
    let again = Diagnosis::of(&lab, &asked(&file, "tc"))?;
    assert_eq!(again.complaints(), Vec::<String>::new(), "{:#}", again.json);
    assert_eq!(again.code, Some(0));
    drop(program);

    // And what the doctor finds nothing wrong with works.
    let text = std::fs::read_to_string(&file)?;
    let xlvs = lab.start_with("tc", &text, &[])?;
    for family in Family::ALL {
        lab.ask(lab.web(Method::Nat, family), lab.seen(Method::Nat, family), 4)?;
    }
    assert!(xlvs.stop()?.success());
    Ok(())
}

#[test]
fn dead_interfaces_servers_and_ends_are_told_apart() -> Result<()> {
    skip_unless_possible!();
    let lab = standing()?;
    let (lb, plan) = (&lab.topology.lb, lab.plan());
    let mut service = lab.web_service(Method::Nat, Family::V4);
    // Nobody listens there, nobody has this address, and the balancer has no way to that one.
    service.servers.push(lab.server_at(0, Family::V4, 4)?);
    service.servers.push("192.168.1.200:80".parse()?);
    service.servers.push("10.99.0.1:80".parse()?);
    let file = lab.scratch.write("xlvs.conf", &service.to_string())?.display().to_string();
    lab.topology.use_default_offloads()?;
    lb.ip(&[format!("link set {} down", plan.client_side())])?;
    let diagnosis = Diagnosis::of(&lab, &asked(&file, "native"))?;
    assert_eq!(
        diagnosis.complaints(),
        [
            "problem interface-up xlvs-c",
            "problem server-route",
            "problem veth-peer xlvs-c",
            "problem veth-peer xlvs-s",
            "warning server-neighbour",
            "warning server-port",
        ],
        "{:#}",
        diagnosis.json
    );
    let neighbour = diagnosis.finding("server-neighbour")?.text;
    ensure!(neighbour.contains("192.168.1.200"), "{neighbour}");
    let port = diagnosis.finding("server-port")?.text;
    ensure!(port.contains("refused by 192.168.1.100:4"), "{port}");
    for name in ["interface-up", "veth-peer"] {
        for finding in diagnosis.findings().iter().filter(|finding| finding.name == name) {
            for (on, line) in &finding.commands {
                run(whose(&lab, finding, on.as_deref())?, line)?;
            }
        }
    }
    // What is left is what no command here mends, and what the interface towards the servers was for.
    let alone =
        ["--config", &file, "--mode", "native", "--interface", "xlvs-c", "--interface", "eth9"];
    let again = Diagnosis::of(&lab, &alone)?;
    assert_eq!(
        again.complaints(),
        [
            "problem interface eth9",
            "problem server-interface xlvs-s",
            "problem server-route",
            "warning server-neighbour",
            "warning server-port",
        ],
        "{:#}",
        again.json
    );
    Ok(())
}

#[test]
fn what_runs_is_looked_at_without_being_named() -> Result<()> {
    skip_unless_possible!();
    let lab = Lab::for_mode(Plan::TWO_ARMED, "generic")?;
    let text = lab.web_service(Method::Nat, Family::V4).to_string();
    let xlvs = lab.start_with("generic", &text, &[])?;
    let file = xlvs.setup().config.clone();
    lab.ask(lab.web(Method::Nat, Family::V4), lab.seen(Method::Nat, Family::V4), 4)?;
    let start = std::time::Instant::now();
    let diagnosis = Diagnosis::of(&lab, &[])?;
    say(format_args!("xlvs doctor took {:?}", start.elapsed()));
    assert_eq!(diagnosis.complaints(), Vec::<String>::new(), "{:#}", diagnosis.json);
    let told = diagnosis.json.to_string();
    for found in ["process ", "to xlvs-c, xlvs-s", "generic XDP", "answer to other networks"] {
        ensure!(told.contains(found), "nothing about `{found}`: {:#}", diagnosis.json);
    }
    // What it asks servers is no connection of a client's.
    lab.ask(lab.web(Method::Nat, Family::V4), lab.seen(Method::Nat, Family::V4), 4)?;

    let mut clear = lab.topology.lb.command(xlvs::binary()?);
    clear.arg("ipvsadm").arg("--pin-dir").arg(lab.scratch.path("bpf"));
    command::run(clear.arg("--runtime-dir").arg(lab.scratch.path("run")).arg("-C"))?;
    let cleared = Diagnosis::of(&lab, &[])?;
    let edits = cleared.finding("edits")?;
    ensure!(edits.severity == "problem" && edits.text.contains("--pin-dir"), "{}", edits.text);

    std::fs::write(&file, text.replace("weight 1", "weight weigth"))?;
    let mut reload = lab.topology.lb.command(xlvs::binary()?);
    reload.arg("reload").arg("--runtime-dir").arg(lab.scratch.path("run"));
    assert_eq!(reload.output()?.status.code(), Some(3));
    let diagnosis = Diagnosis::of(&lab, &[])?;
    // A reload would fail: none is offered.
    ensure!(diagnosis.finding("config-in-use").is_err(), "{:#}", diagnosis.json);
    let wrong = diagnosis.finding("config")?;
    ensure!(wrong.text.contains("is balanced on"), "{}", wrong.text);
    ensure!(wrong.severity == "problem" && wrong.text.contains("xlvs check"), "{}", wrong.text);

    std::fs::remove_file(&file)?;
    let gone = Diagnosis::of(&lab, &[])?.finding("config")?;
    ensure!(gone.text.contains("is balanced on"), "{}", gone.text);

    std::fs::write(&file, &text)?;
    let again = format!("xlvs {}", xlvs.setup().arguments().join(" "));
    drop(xlvs);
    lab.topology.unplug_client()?;
    let diagnosis = Diagnosis::of(&lab, &[])?;
    let alone = diagnosis.finding("controller")?;
    ensure!(alone.text.contains("no controller runs"), "{}", alone.text);
    assert_eq!(alone.commands, [(None, again)]);
    let stale = diagnosis.finding("stale-pin")?;
    ensure!(stale.text.contains("xlvs-c"), "{}", stale.text);
    for (_, line) in &stale.commands {
        command::run(Command::new("sh").args(["-c", line]))?;
    }
    ensure!(!lab.scratch.path("bpf/v5/links/xlvs-c").exists(), "{}", stale.text);
    let mut stop = lab.topology.lb.command(xlvs::binary()?);
    stop.arg("stop").arg("--runtime-dir").arg(lab.scratch.path("run"));
    command::run(stop.arg("--pin-dir").arg(lab.scratch.path("bpf"))).map(drop)
}

#[test]
fn without_privileges_it_says_what_it_could_not_look_at() -> Result<()> {
    skip_unless_possible!();
    let lab = standing()?;
    lab.topology.lb.set("ipv4/ip_forward", "0")?;
    let file = file(&lab)?;
    // Where the binary lies, another user may not go.
    let binary = lab.scratch.path("xlvs");
    std::fs::copy(xlvs::binary()?, &binary)?;
    std::fs::set_permissions(&binary, std::fs::Permissions::from_mode(0o755))?;
    let mut command = lab.topology.lb.command("setpriv");
    command.args("--reuid=65534 --regid=65534 --clear-groups --inh-caps=-all".split(' '));
    command.arg(&binary).arg("doctor").args(asked(&file, "tc"));
    let Output { status, stdout, stderr } = command.output()?;
    let said = String::from_utf8_lossy(&stdout);
    ensure!(status.code() == Some(1), "{status}: {said}{}", String::from_utf8_lossy(&stderr));
    for found in [
        "notice   not-looked-at    programs:",
        "PROBLEM  capabilities     this user lacks CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON",
        "mend: sysctl -w net.ipv4.ip_forward=1",
        "ok       servers          all 4 can be reached",
    ] {
        ensure!(said.contains(found), "`{found}` is missing:\n{said}");
    }
    Ok(())
}
