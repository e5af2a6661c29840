//! `xlvs run`: from the configuration file to packets, and back to nothing at the end.

use std::{collections::BTreeSet, net::IpAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use aya_log::EbpfLogger;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};
use tracing::{Level, info, warn};

use super::{capabilities, expiry, interfaces, neighbours, runtime::RuntimeDir, tables::Tables};
use crate::{
    bpf::{Attachment, Dataplane, Mode, Pins},
    config::{self, Config, Severity},
    exit::Failure,
    net::{self, Interface},
};

/// How often what the data path logs is read, if it logs.
const LOG_INTERVAL: Duration = Duration::from_millis(200);

/// What `xlvs run` is asked to do.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) config: PathBuf,
    pub(crate) interfaces: Vec<String>,
    pub(crate) mode: Mode,
    pub(crate) pin_dir: PathBuf,
    pub(crate) runtime_dir: PathBuf,
}

/// Runs until SIGTERM or SIGINT.
pub(crate) async fn run(options: Options) -> Result<(), Failure> {
    let loaded = config::load(&options.config).map_err(Failure::configuration)?;
    for (severity, line) in loaded.notes.lines() {
        match severity {
            Severity::Notice => info!("{line}"),
            Severity::Warning | Severity::Error => warn!("{line}"),
        }
    }
    capabilities::check().map_err(Failure::kernel)?;
    let mut signals = Signals::new().context("cannot listen for signals")?;
    let netlink = net::connect()?;
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in &options.interfaces {
        let interface = Interface::find(&netlink, name).await?;
        // Given twice, perhaps once by an alternative name.
        if interfaces.iter().all(|known| known.index != interface.index) {
            interfaces.push(interface);
        }
    }
    advise(&interfaces);
    advise_on_addresses(&loaded.config, &netlink).await?;

    // Dropped in the opposite order: detached first, then the maps, the directories, the pins.
    let pins = Pins::prepare(&options.pin_dir)?;
    let runtime = RuntimeDir::prepare(&options.runtime_dir)?;
    let mut dataplane = Dataplane::load(Some(&pins.maps()), Some(&runtime.verifier_log()))?;
    Tables::new(&loaded.config).write(&mut dataplane.maps)?;
    for interface in &interfaces {
        interfaces::note(&mut dataplane.maps.interfaces, interface)?;
    }
    let attachment = Attachment::new(&mut dataplane, &interfaces, options.mode, &pins.links())?;
    let ready = ready_line(&loaded.config, &interfaces, attachment.mode);
    info!("{ready}, pins in {}", pins.maps().display());
    notify(&[NotifyState::Ready, NotifyState::Status(&ready)]);

    let result = serve(&mut dataplane, &netlink, interfaces, &mut signals).await;
    notify(&[NotifyState::Stopping]);
    drop(attachment);
    info!("detached from all interfaces");
    result.map_err(Failure::from)
}

/// Does what has to be done while packets flow.
async fn serve(
    dataplane: &mut Dataplane,
    netlink: &rtnetlink::Handle,
    interfaces: Vec<Interface>,
    signals: &mut Signals,
) -> anyhow::Result<()> {
    let log = tracing::enabled!(Level::DEBUG).then(|| dataplane.logger()).transpose()?;
    let maps = &mut dataplane.maps;
    // One thread, several tasks: each gives way to the others while it waits.
    tokio::select! {
        name = signals.stop() => {
            info!("{name}: stopping");
            Ok(())
        }
        () = expiry::collect(&maps.connections, &maps.templates) => Ok(()),
        () = neighbours::keep_resolved(&mut maps.neighbours, netlink) => Ok(()),
        result = interfaces::watch(&mut maps.interfaces, netlink, interfaces) => Ok(result?),
        () = read_log(log) => Ok(()),
    }
}

/// Passes on what the data path logs. Never ends.
async fn read_log(log: Option<EbpfLogger<&'static dyn tracing_log::log::Log>>) {
    let Some(mut log) = log else { return std::future::pending().await };
    loop {
        sleep(LOG_INTERVAL).await;
        log.flush();
    }
}

/// The signals that keepalived acts on.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    hangup: Signal,
    user: [Signal; 2],
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            hangup: signal(SignalKind::hangup())?,
            user: [signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?],
        })
    }

    /// Waits for a signal that ends the program.
    async fn stop(&mut self) -> &'static str {
        loop {
            let [user1, user2] = &mut self.user;
            let ignored = tokio::select! {
                _ = self.terminate.recv() => return "SIGTERM",
                _ = self.interrupt.recv() => return "SIGINT",
                _ = self.quit.recv() => return "SIGQUIT",
                _ = self.hangup.recv() => "SIGHUP: this version cannot reload, restart it instead",
                _ = user1.recv() => "SIGUSR1",
                _ = user2.recv() => "SIGUSR2",
            };
            warn!("ignored {ignored}");
        }
    }
}

/// Says what will keep packets from flowing.
fn advise(interfaces: &[Interface]) {
    for interface in interfaces {
        let name = &interface.name;
        if !interface.up {
            warn!("interface `{name}` is down; `ip link set dev {name} up`");
        }
        if interface.forwards_ipv4() == Some(false) {
            warn!(
                "IPv4 forwarding is off on `{name}`, so that packets of services that come in there are \
                 dropped; `sysctl -w net.ipv4.ip_forward=1`"
            );
        }
    }
}

/// Says which virtual addresses nobody will answer ARP requests for.
async fn advise_on_addresses(config: &Config, netlink: &rtnetlink::Handle) -> anyhow::Result<()> {
    let local = net::local_ipv4(netlink).await.context("cannot list this host's addresses")?;
    // IPv6 addresses of this host are not listed yet.
    let addresses: BTreeSet<_> = config
        .services
        .iter()
        .filter_map(|service| match service.address {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        })
        .collect();
    for address in addresses.into_iter().filter(|address| !local.contains(address)) {
        warn!(
            "the virtual address {address} is not on this host, so that clients find nobody under it; \
             `ip addr add {address}/32 dev IF`, or leave it to VRRP"
        );
    }
    Ok(())
}

fn ready_line(config: &Config, interfaces: &[Interface], mode: Mode) -> String {
    let servers: usize = config.services.iter().map(|service| service.real_servers.len()).sum();
    let names: Vec<&str> = interfaces.iter().map(|interface| interface.name.as_str()).collect();
    format!(
        "ready: {}, {}, {mode} on {}",
        counted(config.services.len(), "virtual service"),
        counted(servers, "real server"),
        names.join(", ")
    )
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!("cannot tell systemd: {error}");
    }
}
