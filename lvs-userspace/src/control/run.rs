//! `xlvs run`: from the configuration file to packets, and back to nothing at the end.

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval},
};
use tracing::{Level, info, warn};

use super::{capabilities, expiry, neighbours::Neighbours, runtime::RuntimeDir, tables::Tables};
use crate::{
    bpf::{Attachment, Dataplane, Mode, Pins},
    config::{self, Config, Severity},
    exit::Failure,
    net::{self, Interface},
};

/// How often ended connections and templates are collected.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// How often the data path's requests and log records are looked at.
const REQUEST_INTERVAL: Duration = Duration::from_millis(200);

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
    let mut stop = Stop::new().context("cannot listen for signals")?;
    let netlink = net::connect()?;
    let mut interfaces: Vec<Interface> = Vec::new();
    for name in &options.interfaces {
        if interfaces.iter().all(|interface| interface.name != *name) {
            interfaces.push(Interface::find(&netlink, name).await?);
        }
    }
    advise(&interfaces);

    // Dropped in the opposite order: detached first, then the maps, the pins, the directories.
    let runtime = RuntimeDir::prepare(&options.runtime_dir)?;
    let pins = Pins::prepare(&options.pin_dir)?;
    let mut dataplane = Dataplane::load(Some(&pins.maps()), Some(&runtime.verifier_log()))?;
    Tables::new(&loaded.config).write(&mut dataplane.maps)?;
    for interface in &interfaces {
        dataplane
            .maps
            .interfaces
            .insert(interface.index, 0, 0)
            .context("cannot note an attached interface")?;
    }
    let attachment = Attachment::new(&mut dataplane, &interfaces, options.mode, &pins.links())?;
    let ready = ready_line(&loaded.config, &interfaces, attachment.mode);
    info!("{ready}, pins in {}", pins.maps().display());
    notify(&[NotifyState::Ready, NotifyState::Status(&ready)]);

    let result = serve(&mut dataplane, Neighbours::new(netlink), &mut stop).await;
    notify(&[NotifyState::Stopping]);
    drop(attachment);
    info!("detached from all interfaces");
    result.map_err(Failure::from)
}

/// Does what has to be done while packets flow.
async fn serve(
    dataplane: &mut Dataplane,
    mut neighbours: Neighbours,
    stop: &mut Stop,
) -> anyhow::Result<()> {
    let mut sweeps = interval(SWEEP_INTERVAL);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut requests = interval(REQUEST_INTERVAL);
    requests.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut log = tracing::enabled!(Level::DEBUG).then(|| dataplane.logger()).transpose()?;
    loop {
        tokio::select! {
            name = stop.signalled() => {
                info!("{name}: stopping");
                return Ok(());
            }
            _ = sweeps.tick() => {
                if let Err(error) = expiry::sweep(&dataplane.maps).await {
                    warn!("cannot collect what has expired: {error:#}");
                }
            }
            _ = requests.tick() => {
                neighbours.serve(&mut dataplane.maps).await;
                if let Some(log) = &mut log {
                    log.flush();
                }
            }
        }
    }
}

/// The signals that end the program.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn signalled(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
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
