//! `xlvs run`: from the configuration file to packets, and back to nothing at the end.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    net::IpAddr,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use lvs_common::abi::half_open_slots;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
    time::sleep,
};
use tracing::{Level, error, info, warn};

use super::{
    advice, alarms, capabilities,
    expiry::{self, Expiring},
    interfaces,
    ledger::{Change, Ledger},
    neighbours, orders,
    reload::Running,
    runtime::RuntimeDir,
    socket::{Order, Socket},
    tables::Choices,
    write,
};
use crate::{
    bpf::{Attachment, Collector, Dataplane, LoadOptions, Mode, Pins, Trace, Watched},
    config::{self, Config, Forwarding, Report, Severity},
    exit::Failure,
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
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: PathBuf,
    pub(crate) interfaces: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) pin_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
    pub(crate) max_connections: u32,
    pub(crate) sloppy_tcp: bool,
    pub(crate) expire_nodest_conn: bool,
    pub(crate) expire_quiescent_template: bool,
    pub(crate) trace: Option<Trace>,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    // Before anything takes time: a signal that nobody listens for ends the process.
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let loaded = config::load(&options.config).map_err(Failure::configuration)?;
    let since = SystemTime::now();
    tell(&loaded.notes);
    let desired = orders::with_edits(loaded.config, orders::left_edits(&options.runtime_dir)?)?;
    let config = desired.effective();
    capabilities::check().map_err(Failure::kernel)?;
    let netlink = net::connect()?;
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in &options.interfaces {
        let interface = Interface::find(&netlink, name).await?;
        // Given twice, perhaps once by an alternative name.
        if interfaces.iter().all(|known| known.index != interface.index) {
            interfaces.push(interface);
        }
    }
    advice::on_interfaces(&config, &interfaces);
    let addresses = Addresses::read(&netlink).await.context("cannot list this host's addresses")?;
    advice::on_addresses(&config, &addresses);
    if let Some(trace) = &options.trace {
        advice::on_trace(&config, trace);
    }
    let choices = choices(&config, &options)?;

    let change = Ledger::first(&config, &choices)?;

    // Dropped in the opposite order: detached first, then the maps, the directories, the pins.
    let pins = Pins::prepare(&options.pin_dir)?;
    let runtime = RuntimeDir::prepare(&options.runtime_dir)?;
    let socket = Socket::listen(&options.runtime_dir)?;
    let mut dataplane = Dataplane::load(&LoadOptions {
        pins: Some(&pins.maps()),
        verifier_log: Some(&runtime.verifier_log()),
        connections: options.max_connections,
        members: change.ledger.tables.members.len() as u32,
        trace: options.trace,
    })?;
    info!("{}", memory_line(options.max_connections));
    write::apply(&change, None, &mut dataplane.maps.split().0)?;
    let Change { ledger, .. } = change;
    let ledger = ledger.within(dataplane.maps.members.len());
    for interface in &interfaces {
        interfaces::note(&mut dataplane.maps.interfaces, interface, &addresses)?;
    }
    let collector = dataplane.collector()?;
    // For who reads the tables before it is read for the first sweep.
    collector.now()?;
    // Before the first packet comes: the first connection should find its way.
    let servers = real_servers(&config);
    advice::on_ways(&servers, &interfaces, &netlink).await;
    neighbours::resolve_servers(&servers, &netlink).await;
    let attachment = Attachment::new(&mut dataplane, &interfaces, options.mode, &pins.links())?;
    let ready = ready_line(&config, &interfaces, attachment.mode);
    info!("{ready}, pins in {}", pins.maps().display());
    notify(&[NotifyState::Ready, NotifyState::Status(&ready)]);

    let servers = RefCell::new(servers);
    let duties = Duties {
        netlink: &netlink,
        addresses,
        collector: &collector,
        capacity: 2 * options.max_connections,
        socket: &socket,
        running: Running {
            options: &options,
            interfaces,
            netlink: &netlink,
            servers: &servers,
            desired,
            ledger,
            certain: true,
            since,
            outdated: None,
        },
    };
    let result = serve(&mut dataplane, duties, &mut signals).await;
    notify(&[NotifyState::Stopping]);
    drop(attachment);
    // They were to what ends here.
    orders::forget_edits(&options.runtime_dir);
    info!("detached from all interfaces");
    result.map_err(Failure::from)
}

/// What is needed while packets flow.
struct Duties<'d> {
    netlink: &'d rtnetlink::Handle,
    addresses: Addresses,
    collector: &'d Collector,
    capacity: u32,
    socket: &'d Socket,
    running: Running<'d>,
}

/// Does what has to be done while packets flow.
async fn serve(
    dataplane: &mut Dataplane,
    duties: Duties<'_>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let Duties { netlink, addresses, collector, capacity, socket, mut running } = duties;
    let logs = tracing::enabled!(Level::DEBUG) || dataplane.traces();
    let mut log = logs.then(|| dataplane.logger()).transpose()?;
    let (configured, watched) = dataplane.maps.split();
    let Watched { connections4, connections6, templates4, templates6, .. } = watched;
    let (interfaces, servers) = (running.interfaces.clone(), running.servers);
    let Signals { stop, hangup } = signals;
    let (sender, mut orders) = mpsc::channel::<Order>(ORDERS);
    // One thread, several tasks: each gives way to the others while it waits.
    let result = tokio::select! {
        name = stop.wait() => {
            info!("{name}: stopping");
            Ok(())
        }
        () = expiry::collect(
            Expiring { connections: connections4, templates: templates4 },
            Expiring { connections: connections6, templates: templates6 },
            collector,
            capacity,
        ) => Ok(()),
        () = neighbours::keep_resolved(watched.neighbours4, watched.neighbours6, netlink) => Ok(()),
        () = neighbours::keep_servers_resolved(servers, netlink) => Ok(()),
        () = alarms::watch(watched.counters) => Ok(()),
        () = socket.serve(sender) => Ok(()),
        () = running.keep(hangup, &mut orders, configured) => Ok(()),
        result = interfaces::watch(watched.interfaces, netlink, interfaces, addresses) => Ok(result?),
        () = read_log(&mut log) => Ok(()),
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
pub(super) fn choices(config: &Config, options: &Options) -> anyhow::Result<Choices> {
    let mut ports = Vec::new();
    if config.services.iter().any(|service| service.forwarding == Forwarding::FullNat) {
        ports = net::ports_for_full_nat()?;
        if ports.is_empty() {
            warn!(
                "full NAT has no ports: net.ipv4.ip_local_port_range and ip_local_reserved_ports leave none to it, so \
                 that its services will refuse every connection; narrow them"
            );
        } else {
            info!(
                "full NAT has {} ports for each local address, real server and protocol: all but those of this host \
                 (net.ipv4.ip_local_port_range, ip_local_reserved_ports)",
                ports.len()
            );
        }
    }
    Ok(Choices {
        connections: options.max_connections,
        sloppy_tcp: options.sloppy_tcp,
        expire_nodest: options.expire_nodest_conn,
        expire_quiescent: options.expire_quiescent_template,
        ports,
    })
}

/// All addresses that packets will be sent to.
pub(super) fn real_servers(config: &Config) -> BTreeSet<IpAddr> {
    let servers = config.services.iter().flat_map(|service| &service.real_servers);
    servers.map(|server| server.address).collect()
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

/// Those that end the program, and those that are not acted on.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user: [Signal; 2],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            stop: Stop {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                quit: signal(SignalKind::quit())?,
                user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
            },
            hangup: signal(SignalKind::hangup())?,
        })
    }
}

impl Stop {
    /// Waits for a signal that ends the program.
    async fn wait(&mut self) -> &'static str {
        loop {
            let [user1, user2] = &mut self.user;
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            warn!("ignored {ignored}");
        }
    }
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
