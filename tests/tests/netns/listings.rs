//! `xlvs ipvsadm` against the recordings of ipvsadm 1.31 over real IPVS: the same commands and the same traffic print the
//! same.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::unix::fs::symlink;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use lvs_tests::command;
use lvs_tests::oracle::compare::End;
use lvs_tests::oracle::ends::{Ends, Servers};
use lvs_tests::oracle::listings::{self, Run, Sequence, Step};
use lvs_tests::oracle::recording::Visit;
use lvs_tests::scratch::Scratch;
use lvs_tests::skip_unless_possible;
use lvs_tests::topology::{CLIENT, Plan, Topology};
use lvs_tests::xlvs::{Setup, Xlvs, binary};

use super::support::say;

const VIRTUALS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 64, 4, 1), Ipv4Addr::new(10, 64, 4, 2)];
const TCP: u16 = 8080;
const UDP: u16 = 5353;
const ANSWERED: Duration = Duration::from_secs(10);

/// A test for each sequence.
macro_rules! sequences {
    ($($test:ident $name:literal,)+) => {
        const NAMES: &[&str] = &[$($name),+];

        $(
            #[test]
            fn $test() -> Result<()> {
                skip_unless_possible!();
                prints_what_ipvsadm_printed($name)
            }
        )+
    };
}

sequences! {
    empty "empty",
    one_service "one service",
    ipv6 "ipv6",
    firewall_marks "firewall marks",
    persistence "persistence",
    flags "flags",
    thresholds "thresholds",
    order "order",
    refusals "refusals",
    wrong_usage "wrong usage",
    restore_and_save "restore and save",
    time_outs "time-outs",
    connections "connections",
    counters "counters",
    persistent_clients "persistent clients",
}

#[test]
fn each_recorded_sequence_is_compared() -> Result<()> {
    let recorded = listings::read()?;
    let names: Vec<&str> = recorded.iter().map(|sequence| sequence.name.as_str()).collect();
    assert_eq!(names, NAMES);
    Ok(())
}

fn prints_what_ipvsadm_printed(name: &str) -> Result<()> {
    let sequences = listings::read()?;
    let sequence = sequences.iter().find(|sequence| sequence.name == name);
    let sequence = sequence.context("no sequence has such a name")?;
    let named = fs::read_to_string("/etc/services").is_ok_and(|names| names.contains("http-alt"));
    let place = Place::new()?;
    let (commands, found) = place.replay(sequence, named)?;
    ensure!(place.xlvs.stop()?.success(), "xlvs failed at its end");
    if !named {
        say(format_args!("SKIP listings with names of ports: /etc/services has none"));
    }
    say(format_args!("{commands} commands compared with ipvsadm, {} differ", found.len()));
    ensure!(found.is_empty(), "{} differ:\n\n{}", found.len(), found.join("\n\n"));
    Ok(())
}

#[test]
fn a_link_of_that_name_is_ipvsadm() -> Result<()> {
    skip_unless_possible!();
    let scratch = Scratch::new()?;
    let link = scratch.path("ipvsadm");
    symlink(binary()?, &link)?;
    let version = command::run(Command::new(&link).arg("-v"))?;
    ensure!(version.starts_with("ipvsadm v1.31 "), "{version}");
    let output = Command::new(&link).arg("-Q").output()?;
    let name = link.display();
    let complaint = format!("Try `{name} -h' or '{name} --help' for more information.\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), complaint);
    assert_eq!(output.status.code(), Some(255));
    Ok(())
}

/// `xlvs` with nothing configured, clients and servers.
struct Place {
    xlvs: Xlvs,
    servers: Servers,
    answering: Vec<UdpSocket>,
    topology: Topology,
    _scratch: Scratch,
}

impl Place {
    fn new() -> Result<Self> {
        let scratch = Scratch::new()?;
        let topology = Topology::of(scratch.name(), Plan::TWO_ARMED)?;
        topology.client.ip(&["addr add 172.16.0.10/32 dev client0"])?;
        let addresses: BTreeMap<char, Ipv4Addr> =
            ('A'..='C').zip((11..).map(|last| Ipv4Addr::new(192, 168, 1, last))).collect();
        let server = topology.servers.first().context("no server")?;
        let lines = addresses.values().map(|address| format!("addr add {address}/24 dev eth0"));
        server.ip(&lines.collect::<Vec<_>>())?;
        let side = topology.plan.client_side();
        let lines = VIRTUALS.map(|address| format!("addr add {address}/32 dev {side}"));
        let route = format!("route add 172.16.0.0/16 via {CLIENT}");
        topology.lb.ip(&lines.into_iter().chain([route]).collect::<Vec<_>>())?;
        let (servers, answering) = server.run(|| {
            let answering = addresses
                .values()
                .map(|address| {
                    let socket = UdpSocket::bind((*address, UDP))?;
                    socket.set_nonblocking(true)?;
                    Ok(socket)
                })
                .collect::<Result<Vec<_>>>()?;
            Ok((Servers::listen([TCP], &addresses)?, answering))
        })?;
        let setup = Setup {
            config: scratch.write("xlvs.conf", "")?,
            pin_dir: scratch.path("bpf"),
            runtime_dir: scratch.path("run"),
            log: scratch.path("xlvs.log"),
            mode: Some("native"),
            interfaces: topology.plan.interfaces(),
            extra: Vec::new(),
        };
        let xlvs = Xlvs::start(&topology.lb, setup)?;
        Ok(Self { xlvs, servers, answering, topology, _scratch: scratch })
    }

    /// Does all steps; tells how many commands there were, and what they printed that is another.
    fn replay(&self, sequence: &Sequence, named: bool) -> Result<(usize, Vec<String>)> {
        let (mut commands, mut found, mut held) = (0, Vec::new(), Vec::new());
        for (number, step) in sequence.steps.iter().enumerate() {
            let context = || format!("{}, step {number}: {step:?}", sequence.name);
            match step {
                Step::Run(run) => {
                    let (code, stdout, stderr) = self.ipvsadm(run).with_context(context)?;
                    if named || !run.shows_names() {
                        commands += 1;
                        found.extend(run.difference(code, &stdout, &stderr));
                    }
                }
                step => self.traffic(step, &mut held).with_context(context)?,
            }
        }
        Ok((commands, found))
    }

    fn ipvsadm(&self, run: &Run) -> Result<(i32, String, String)> {
        let Setup { pin_dir, runtime_dir, .. } = self.xlvs.setup();
        let mut command = self.topology.lb.command(binary()?);
        command.arg("ipvsadm").arg("--pin-dir").arg(pin_dir).arg("--runtime-dir").arg(runtime_dir);
        command.arg("--").args(run.ipvsadm.split_whitespace());
        let output =
            command::output_with_input(&mut command, run.restore.as_deref().unwrap_or_default())?;
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).context("not UTF-8");
        let code = output.status.code().context("killed")?;
        Ok((code, text(output.stdout)?, text(output.stderr)?))
    }

    fn traffic(&self, step: &Step, held: &mut Vec<Ends>) -> Result<()> {
        let client = &self.topology.client;
        let (count, how) = match step {
            Step::Run(_) => return Ok(()),
            Step::Open { open, to } => {
                // The listener is known by the servers' port.
                let (name, ends) =
                    client.run(|| self.servers.open_at(Visit { client: *open, to: *to }, TCP))?;
                held.push(ends.with_context(|| format!("refused: {name}"))?);
                return Ok(());
            }
            Step::Ask { ask, to, count } => return client.run(|| self.ask(*ask, *to, *count)),
            Step::Close { close } => (*close, End::Close),
            Step::Reset { reset } => (*reset, End::Reset),
        };
        for ends in held.drain(..count) {
            ends.end(how)?;
        }
        Ok(())
    }

    fn ask(&self, from: SocketAddrV4, to: SocketAddrV4, count: usize) -> Result<()> {
        let client = UdpSocket::bind(from)?;
        client.connect(to)?;
        client.set_read_timeout(Some(ANSWERED))?;
        for _ in 0..count {
            client.send(&[0; 100])?;
            self.answer()?;
            ensure!(client.recv(&mut [0; 1000])? == 50, "another answer");
        }
        Ok(())
    }

    /// Whichever server is asked answers.
    fn answer(&self) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < ANSWERED {
            for socket in &self.answering {
                let mut asked = [0; 1000];
                if let Ok((_, peer)) = socket.recv_from(&mut asked) {
                    let peer: SocketAddr = peer;
                    socket.send_to(&[0; 50], peer)?;
                    return Ok(());
                }
            }
            sleep(Duration::from_millis(1));
        }
        bail!("no server was asked")
    }
}
