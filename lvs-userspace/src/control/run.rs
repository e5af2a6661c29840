//! `xlvs run`: from the configuration file to packets, and back to nothing at the end.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    path::PathBuf,
    time::Duration,
};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use lvs_common::abi::half_open_slots;
use nix::sys::signal::{SigSet, SigmaskHow};
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{Mutex, mpsc, watch},
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::{Level, error, info, warn};

use super::{
    advice, alarms, answers, capabilities,
    expiry::{self, Expiring},
    interfaces::{self, Follower},
    ledger::Ledger,
    memory, neighbours, orders,
    reload::Running,
    runtime::RuntimeDir,
    said::{Said, Topic},
    socket::{Order, Socket},
    status::StatusFile,
    tables::Choices,
    vips::Vips,
    write,
};
use crate::{
    bpf::{
        Attachment, Collector, Dataplane, Error, LoadOptions, Maps, Mode, Needs, Pins, Programs,
        TC_PROGRAM, Trace, Watched, refuse_occupied,
    },
    config::{self, Config, Forwarding, Loaded, Report, Severity},
    exit::Failure,
    health::Past,
    net::{self, Addresses, Interface},
};

/// How often what the data path logs is read, if it logs.
const LOG_INTERVAL: Duration = Duration::from_millis(200);

/// Requests on the control socket that wait at most; who makes more waits to be read.
const ORDERS: usize = 16;

/// Bytes of a bucket of a hash map, and of an entry in the connection tables as the kernel allocates it.
const BUCKET: u64 = 16;
const ENTRY_IPV4: u64 = 128;
const ENTRY_IPV6: u64 = 192;

/// Bytes of a slot in `HALF_OPEN4` and one in `HALF_OPEN6`.
const HALF_OPEN_SLOTS: u64 = 16 + 40;

/// What `xlvs run` is asked to do.
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: PathBuf,
    pub(crate) config_id: String,
    pub(crate) interfaces: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) pin_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) max_connections: u32,
    pub(crate) sloppy_tcp: bool,
    pub(crate) expire_nodest_conn: bool,
    pub(crate) expire_quiescent_template: bool,
    pub(crate) manage_vips: bool,
    pub(crate) trace: Option<Trace>,
    pub(crate) policy: config::Policy,
}

/// Runs until a signal ends it. Start and reload are one: what the file says is compared with what the maps hold.
#[expect(
    clippy::too_many_lines,
    reason = "one sequence of steps, in the order that they must have"
)]
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    // Before anything takes time: a signal that nobody listens for ends the process.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let loaded = config::load(&options.config, &options.config_id, &options.policy)
        .map_err(Failure::configuration)?
        .balanced();
    let Loaded { config, notes } = loaded;
    let mut said = Said::default();
    said.tell_of_file(&notes);
    // It has the whole text.
    drop(notes);
    let (desired, fates) = orders::with_edits(
        config,
        orders::left_edits(&options.runtime_dir).map_err(Failure::configuration)?,
    )?;
    let config = desired.effective();
    capabilities::check(options.manage_vips).map_err(Failure::kernel)?;
    capabilities::check_health(&config).await?;
    let (netlink, events) = net::connect()?;
    let wanted = interfaces::find(&netlink, &options.interfaces).await?;
    let interfaces = interfaces::there(&wanted);
    let addresses = Addresses::read(&netlink).await.context("cannot list this host's addresses")?;
    if let Some(trace) = &options.trace {
        advice::on_trace(&config, trace);
    }

    if let Some((signal, _)) = signals.stop.come().await {
        ended_early(signal, false);
        return Ok(());
    }
    let mut pins = Pins::prepare(&options.pin_dir)?;
    let mut runtime = RuntimeDir::prepare(&options.runtime_dir)?;
    let socket = Socket::listen(&options.runtime_dir)?;
    // Not before it is certain that they are this one's.
    orders::tell(&fates, &mut said);
    if pins.found() {
        Dataplane::check(&pins, options.max_connections)?;
    } else {
        runtime.ended();
    }
    refuse_occupied(&pins, &interfaces)?;
    let load = LoadOptions {
        pins: Some(&pins),
        verifier_log: Some(&runtime.verifier_log()),
        connections: options.max_connections,
        needs: if pins.found() { Needs::default() } else { Ledger::needs(&config)? },
        trace: options.trace,
    };
    let Dataplane { programs, mut maps, layout } = undisturbed(|| Dataplane::load(&load))?;
    info!("{}", memory_line(options.max_connections));
    // The verifier takes its time, and so does what follows from a large configuration, or is in the maps.
    let first = Attachment::first(options.mode, &interfaces, &pins)?;
    let verified = spawn_blocking(move || undisturbed(|| verify(programs, first)));
    let sizes = write::sizes(&maps.split().0);
    let ledger = if pins.found() {
        Ledger::adopt(write::dump(&maps.split().0)?, sizes)
    } else {
        Ledger::empty(sizes)
    };
    // Of this instance before, too.
    let before: BTreeSet<u32> = maps.interfaces.keys().filter_map(Result::ok).collect();
    for interface in &interfaces {
        interfaces::note(&mut maps.interfaces, interface, &addresses)?;
    }

    let (told, heard) = watch::channel(addresses.all());
    let servers = RefCell::new(Vec::new());
    let wanted = RefCell::new(wanted);
    let vips = Mutex::new(Vips::new(&netlink));
    let mut running = Running {
        options: &options,
        interfaces: &wanted,
        netlink: &netlink,
        servers: &servers,
        desired: desired.clone(),
        wanted: None,
        checked: None,
        health: None,
        attached: pins.found(),
        past: if pins.found() {
            memory::recall(&options.runtime_dir, &ledger, &desired)
        } else {
            Past::default()
        },
        addresses: heard,
        strange: BTreeSet::new(),
        vips: &vips,
        ledger,
        certain: true,
        status: StatusFile::new(&runtime, &options.config),
        said,
    };
    let mut attachment;
    let (mut programs, collector);
    if pins.found() {
        (programs, collector) = verified.await.context("the verification has ended early")??;
        if let Some((signal, _)) = signals.stop.come().await {
            ended_early(signal, true);
            return Ok(());
        }
        // The same as before, by the new programs; and then whatever is different.
        let filters = net::filters(&netlink, &interfaces, TC_PROGRAM).await;
        attachment = undisturbed(|| {
            Attachment::new(&mut programs, &interfaces, options.mode, &pins, &filters)
        })?;
        let replaced = pins.retire()?;
        info!(
            "goes on with the data plane that is there: {}",
            counted(running.ledger.services(), "virtual service")
        );
        running.take(desired, &mut maps.split().0).await?;
        interfaces::keep_only(&mut maps.interfaces, &interfaces)?;
        drop(replaced);
    } else {
        running.take(desired, &mut maps.split().0).await?;
        (programs, collector) = verified.await.context("the verification has ended early")??;
        if let Some((signal, _)) = signals.stop.come().await {
            if let Some(health) = running.health.take() {
                health.stop().await;
            }
            ended_early(signal, false);
            return Ok(());
        }
        write::seal(&mut running.ledger, layout, &mut maps.split().0)?;
        let none = BTreeMap::new();
        attachment = undisturbed(|| {
            Attachment::new(&mut programs, &interfaces, options.mode, &pins, &none)
        })?;
    }
    // For who reads the tables before it is read for the first sweep.
    collector.now()?;
    pins.establish();
    runtime.established();
    if let Some(health) = &mut running.health {
        health.packets_flow();
    }
    let managed = options.manage_vips.then(|| answers::virtual_addresses(&config));
    vips.lock().await.begin(managed, &interfaces, &before).await;
    let ready = ready_line(&config, &interfaces, attachment.mode);
    // It is another one after a reload.
    drop(config);
    info!("{ready}, pins in {}", pins.maps().display());
    running.status.started(&ready);
    notify(&[NotifyState::Ready, NotifyState::Status(&ready)]);

    let duties = Duties {
        collector: &collector,
        capacity: 2 * options.max_connections,
        socket: &socket,
        follower: Follower {
            netlink: &netlink,
            wanted: &wanted,
            addresses,
            told,
            attachment: &mut attachment,
            pins: &pins,
            vips: &vips,
        },
        events,
        running: &mut running,
    };
    let end = serve(&mut programs, &mut maps, duties, &mut signals).await?;
    notify(&[NotifyState::Stopping]);
    match end {
        End::Remove => {
            if let Some(health) = running.health.take() {
                health.stop().await;
            }
            // Before those who follow the addresses find nobody under them.
            let attached = interfaces::there(&wanted.borrow());
            vips.lock().await.end(&attached).await;
            remove(attachment, pins, &options)?;
            runtime.ended();
        }
        End::Keep => info!("the data plane stays, with its pins in {}", pins.maps().display()),
    }
    Ok(())
}

/// Says how a start ended that a signal has ended. What it has made goes as it is dropped.
fn ended_early(name: &str, found: bool) {
    notify(&[NotifyState::Stopping]);
    if found {
        info!(
            "{name} during the start: ends; the data plane that was there is as it was, and packets flow on"
        );
    } else {
        info!("{name} during the start: ends; nothing was attached, and nothing is left");
    }
}

/// Has the kernel verify what collects connections, and the programs of the mode that is tried first.
fn verify(mut programs: Programs, first: Mode) -> Result<(Programs, Collector), Error> {
    match first {
        Mode::Tc => drop(programs.tc()?),
        _ => drop(programs.xdp()?),
    }
    let collector = programs.collector()?;
    Ok((programs, collector))
}

/// Does what the kernel breaks off with EAGAIN when a signal comes, which the verifier does: signals wait until it is done.
fn undisturbed<T>(work: impl FnOnce() -> T) -> T {
    let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK);
    let done = work();
    if let Ok(before) = before {
        let _cannot_fail = before.thread_set_mask();
    }
    done
}

/// Ends the data plane too.
fn remove(mut attachment: Attachment, pins: Pins, options: &Options) -> Result<(), Failure> {
    attachment.detach_filters();
    pins.remove()?;
    // They were to what ends here.
    orders::forget_edits(&options.runtime_dir);
    memory::forget(&options.runtime_dir);
    info!("detached from all interfaces");
    Ok(())
}

/// What is needed while packets flow.
struct Duties<'d, 'r> {
    collector: &'d Collector,
    capacity: u32,
    socket: &'d Socket,
    follower: Follower<'d>,
    events: net::Events,
    running: &'d mut Running<'r>,
}

/// Does what has to be done while packets flow. An error ends the controller, but not the data plane.
async fn serve(
    programs: &mut Programs,
    maps: &mut Maps,
    duties: Duties<'_, '_>,
    signals: &mut Signals,
) -> anyhow::Result<End> {
    let Duties { collector, capacity, socket, mut follower, events, running } = duties;
    let logs = tracing::enabled!(Level::DEBUG) || programs.traces();
    let mut log = logs.then(|| programs.logger()).transpose()?;
    let (configured, watched) = maps.split();
    let Watched { connections4, connections6, templates4, templates6, .. } = watched;
    let servers = running.servers;
    let Signals { stop, hangup } = signals;
    let (sender, mut orders) = mpsc::channel::<Order>(ORDERS);
    // One thread, several tasks: each gives way to the others while it waits.
    let result = tokio::select! {
        (name, end) = stop.wait() => {
            info!("{name}: stopping");
            Ok(end)
        }
        () = expiry::collect(
            Expiring { connections: connections4, templates: templates4 },
            Expiring { connections: connections6, templates: templates6 },
            collector,
            capacity,
        ) => Ok(End::Keep),
        () = neighbours::keep_resolved(watched.neighbours4, watched.neighbours6) => Ok(End::Keep),
        () = neighbours::keep_servers_resolved(servers) => Ok(End::Keep),
        () = alarms::watch(watched.counters) => Ok(End::Keep),
        () = socket.serve(sender) => Ok(End::Keep),
        () = running.keep(hangup, &mut orders, configured) => Ok(End::Keep),
        result = follower.follow(watched.interfaces, programs, events) => result.map(|()| End::Keep).map_err(Into::into),
        () = read_log(&mut log) => Ok(End::Keep),
    };
    // What was told since it was read last.
    if let Some(log) = &mut log {
        log.flush();
    }
    result
}

/// Says what was noticed about a configuration.
pub(super) fn tell(notes: &Report) {
    for (severity, line) in notes.lines() {
        match severity {
            Severity::Notice => info!("{line}"),
            Severity::Warning => warn!("{line}"),
            Severity::Error => error!("{line}"),
        }
    }
}

/// The choices that are not in the configuration.
pub(super) fn choices(
    config: &Config,
    options: &Options,
    said: &mut Said,
) -> anyhow::Result<Choices> {
    let mut ports = Vec::new();
    if config.services.iter().any(|service| service.forwarding == Forwarding::FullNat) {
        ports = net::ports_for_full_nat()?;
        let line = if ports.is_empty() {
            let line = "full NAT has no ports: net.ipv4.ip_local_port_range and ip_local_reserved_ports leave none to it, so \
                        that its services will refuse every connection; narrow them";
            (Severity::Warning, line.to_owned())
        } else {
            let line = format!(
                "full NAT has {} ports for each local address, real server and protocol: all but those of this host \
                 (net.ipv4.ip_local_port_range, ip_local_reserved_ports)",
                ports.len()
            );
            (Severity::Notice, line)
        };
        said.tell(Topic::Ports, [line]);
    }
    Ok(Choices {
        connections: options.max_connections,
        sloppy_tcp: options.sloppy_tcp,
        expire_nodest: options.expire_nodest_conn,
        expire_quiescent: options.expire_quiescent_template,
        ports,
    })
}

/// All addresses that packets will be sent to, in their order, each once.
pub(super) fn real_servers(config: &Config) -> Vec<IpAddr> {
    let real = config.services.iter().flat_map(|service| service.real_servers.iter());
    let sorry = config.services.iter().filter_map(|service| service.sorry_server.as_ref());
    let real = real.map(|server| server.address);
    let mut all: Vec<IpAddr> = real.chain(sorry.map(|sorry| sorry.address)).collect();
    // Most of it is in order already.
    all.sort();
    all.dedup();
    all
}

/// What the connection tables take, in words. Measured on Linux 6.18: see docs/performance.md.
fn memory_line(connections: u32) -> String {
    let mib = |bytes: u64| bytes.div_ceil(1 << 20);
    let entries = 2 * u64::from(connections);
    let buckets = entries.next_power_of_two() * BUCKET;
    let slots = u64::from(half_open_slots(connections)) * HALF_OPEN_SLOTS;
    format!(
        "room for {connections} connections of each address family: {} MiB now, up to {} MiB more with IPv4 and \
         {} MiB more with IPv6 as they come",
        mib(2 * buckets + slots),
        mib(entries * ENTRY_IPV4),
        mib(entries * ENTRY_IPV6),
    )
}

/// Passes on what the data path logs. Never ends.
async fn read_log(log: &mut Option<EbpfLogger<&'static dyn tracing_log::log::Log>>) {
    let Some(log) = log else { return std::future::pending().await };
    loop {
        sleep(LOG_INTERVAL).await;
        log.flush();
    }
}

/// The signals that keepalived acts on.
struct Signals {
    stop: Stop,
    hangup: Signal,
}

/// What becomes of the data plane when the controller ends.
#[derive(Clone, Copy, Debug)]
enum End {
    /// Nothing is left of it.
    Remove,
    /// Packets flow on.
    Keep,
}

/// Those that end the program, and those that are not acted on.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    keep: Signal,
    user: [Signal; 2],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
                keep: signal(SignalKind::from_raw(keep_signal()))?,
                user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Stop {
    /// A signal that ends the program, if one has come.
    async fn come(&mut self) -> Option<(&'static str, End)> {
        // That much the runtime takes to look.
        timeout(Duration::from_millis(1), self.wait()).await.ok()
    }

    /// Waits for a signal that ends the program.
    async fn wait(&mut self) -> (&'static str, End) {
        loop {
            let [user1, user2] = &mut self.user;
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return ("SIGTERM", End::Remove),
                _ = self.interrupt.recv() => return ("SIGINT", End::Remove),
                _ = self.quit.recv() => return ("SIGQUIT", End::Remove),
                _ = self.keep.recv() => return ("SIGRTMIN", End::Keep),
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            warn!(
                "{ignored} is ignored: what keepalived would write then is shown by `xlvs list` and `xlvs stats`"
            );
        }
    }
}

/// The signal that ends the controller alone.
pub(super) fn keep_signal() -> i32 {
    libc::SIGRTMIN()
}

fn ready_line(config: &Config, interfaces: &[Interface], mode: Mode) -> String {
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    format!("ready: {}, {mode} on {}", services_line(config), names.join(", "))
}

/// How much there is.
pub(super) fn services_line(config: &Config) -> String {
    let servers: usize = config.services.iter().map(|service| service.real_servers.len()).sum();
    format!(
        "{}, {}",
        counted(config.services.len(), "virtual service"),
        counted(servers, "real server")
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

pub(super) fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot tell systemd: {error}");
    }
}
