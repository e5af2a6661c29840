//! What the programs tell of single decisions: of the clients and services that were asked for, what the host's engine
//! tells, and nothing of others.

use std::{
    net::IpAddr,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::{Program, ProgramInfo};
use aya_log::EbpfLogger;
use lvs_common::{
    abi::{Tuple, V4, V6},
    env::Decision,
    host::sample::{Kind, Method, Sample as _},
    tcp::flags::{ACK, FIN, RST, SYN},
};
use lvs_tests::skip_unless_possible;
use lvs_userspace::bpf::{Dataplane, Trace};
use tracing_log::log::{Log, Metadata, Record};

use crate::{
    talk::Talk,
    world::{self, Hook, Options, Place, Special, World},
};

#[test]
fn a_traced_client_is_told_about_and_others_are_not() -> Result<()> {
    skip_unless_possible!();
    let client = Some(IpAddr::from(V4::CLIENTS[0]));
    let told = |tuple: &Tuple<V4>| tuple.source == V4::CLIENTS[0];
    check(Trace { client, ..Trace::default() }, told, |_| false)?;
    let client = Some(IpAddr::from(V6::CLIENTS[1]));
    let told = |tuple: &Tuple<V6>| tuple.source == V6::CLIENTS[1];
    check(Trace { client, ..Trace::default() }, |_| false, told)
}

#[test]
fn a_traced_service_is_told_about_and_others_are_not() -> Result<()> {
    skip_unless_possible!();
    let service = Talk::<V6>::new(Method::FullNat, Kind::Tcp).service;
    let (address, port) = (Some(IpAddr::from(service.0)), Some(service.1));
    let told = |tuple: &Tuple<V6>| tuple.destination_port == service.1;
    check(Trace { client: None, address, port }, |_| false, told)
}

#[test]
fn without_a_filter_all_is_told() -> Result<()> {
    skip_unless_possible!();
    check(Trace::default(), |_| true, |_| true)
}

/// The records that a logger was given.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<String>>>);

impl Log for Records {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }

    fn flush(&self) {}
}

/// Compares what is told of some traffic with what the host's engine tells of those that are asked for.
fn check(
    trace: Trace,
    told4: impl Fn(&Tuple<V4>) -> bool + Copy + Sync,
    told6: impl Fn(&Tuple<V6>) -> bool + Copy + Sync,
) -> Result<()> {
    for hook in Hook::BOTH {
        let options = Options { trace: Some(trace), ..Options::default() };
        world::with_options(hook, options, |world| {
            world.memory.tracing = true;
            let records = Records::default();
            // The first program decides nothing, and so does not have the ring at all.
            let teller = match hook {
                Hook::Xdp => "xlvs_trace",
                Hook::Tc => "xlvs_tc_trace",
            };
            let id = match world.kernel.program(teller) {
                Some(Program::Xdp(program)) => program.info()?.id(),
                Some(Program::SchedClassifier(program)) => program.info()?.id(),
                _ => bail!("no program {teller}"),
            };
            let mut logger = EbpfLogger::init_from_id_with_logger(id, records.clone())?;
            be_sent::<V4>(world)?;
            let mut expected = expected(world, told4);
            be_sent::<V6>(world)?;
            expected.extend(self::expected(world, told6));
            logger.flush();
            let records = records.0.lock().unwrap().clone();
            ensure!(records == expected, "told {records:#?}, not {expected:#?}");
            ensure!(!records.is_empty(), "nothing was told");
            Ok(())
        })
        .with_context(|| format!("{hook:?}"))?;
    }
    Ok(())
}

/// Connections that are opened, change their states, and are refused.
fn be_sent<A: Place>(world: &mut World) -> Result<()> {
    for client in A::CLIENTS {
        for method in [Method::Nat, Method::FullNat] {
            let talk = Talk::<A>::new(method, Kind::Tcp).of_client(client);
            world.forget()?;
            for frame in [
                talk.question(SYN),
                talk.answer(SYN | ACK),
                talk.question(ACK),
                talk.answer(FIN | ACK),
                talk.question(RST),
                Talk::special(method, Special::Empty, true).of_client(client).question(SYN),
                Talk::new(method, Kind::Udp).of_client(client).question(0),
            ] {
                world.send(&frame.bytes().unwrap())?;
            }
        }
    }
    Ok(())
}

fn expected<A: Place>(world: &World, told: impl Fn(&Tuple<A>) -> bool) -> Vec<String> {
    let traces = A::tables(&world.memory).traces.borrow();
    let told = traces.iter().filter(|(tuple, _)| told(tuple));
    told.map(|(tuple, decision)| text(tuple, decision)).collect()
}

fn text<A: Place>(tuple: &Tuple<A>, decision: &Decision<A>) -> String {
    let [client, service] =
        [end(tuple.source, tuple.source_port), end(tuple.destination, tuple.destination_port)];
    let what = match decision {
        Decision::Opened { server, reply } => format!(
            "opened, seen as {} by server {server} {}",
            end(reply.destination, reply.destination_port),
            end(reply.source, reply.source_port)
        ),
        Decision::State(state) => format!("state {state}"),
        Decision::Stopped(counter) => format!("stopped, reason {}", *counter as u32),
    };
    format!("trace {client} to {service}: {what}")
}

fn end<A: Place>(address: A, port: u16) -> String {
    let address = address.text();
    if A::VERSION == 4 { format!("{address}:{port}") } else { format!("[{address}]:{port}") }
}

#[test]
fn without_trace_the_programs_are_smaller_and_none_tells() -> Result<()> {
    skip_unless_possible!();
    for hook in Hook::BOTH {
        let sizes = |trace| {
            let options = Options { trace, ..Options::default() };
            world::with_options(hook, options, |world| sizes(world, hook))
        };
        let (plain, traced) = (sizes(None)?, sizes(Some(Trace::default()))?);
        println!("{hook:?}: {plain:?}, with tracing {traced:?}");
        ensure!(plain[..3].iter().zip(&traced[..3]).all(|(plain, traced)| plain < traced));
        ensure!(plain[3].is_none() && traced[3].is_some(), "the program that tells");
    }
    Ok(())
}

/// The machine code of four programs, if they are loaded.
fn sizes(world: &mut World, hook: Hook) -> Result<[Option<u32>; 4]> {
    let head = match hook {
        Hook::Xdp => {
            world.kernel.xdp()?;
            "xlvs"
        }
        Hook::Tc => {
            world.kernel.tc()?;
            "xlvs_tc"
        }
    };
    Ok(["", "_open4", "_follow6", "_trace"]
        .map(|tail| size(&mut world.kernel, &format!("{head}{tail}"))))
}

fn size(kernel: &mut Dataplane, name: &str) -> Option<u32> {
    kernel.program(name)?.info().ok().as_ref().map(ProgramInfo::size_jitted)
}
