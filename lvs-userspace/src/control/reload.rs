//! SIGHUP: the configuration file is read again, and what it says now takes the place of what it said. A file that cannot
//! be used changes nothing. Edits that still apply are kept (`desired.rs`).

use std::{cell::RefCell, collections::BTreeSet, fs, net::IpAddr, time::SystemTime};

use anyhow::bail;
use sd_notify::NotifyState;
use tokio::{signal::unix::Signal, sync::mpsc};
use tracing::{error, info, warn};

use super::{
    advice,
    desired::{self, Desired},
    ledger::Ledger,
    neighbours, orders,
    run::{self, Options},
    socket::Order,
    write,
};
use crate::{
    bpf::Configured,
    config::{self, Config},
    net::{Addresses, Interface},
};

/// The configuration that is in use, and what follows from it.
pub(super) struct Running<'r> {
    pub(super) options: &'r Options,
    pub(super) interfaces: Vec<Interface>,
    pub(super) netlink: &'r rtnetlink::Handle,
    /// The real servers, for who keeps the ways to them resolved.
    pub(super) servers: &'r RefCell<BTreeSet<IpAddr>>,
    /// What the file says, and what was edited since.
    pub(super) desired: Desired,
    pub(super) ledger: Ledger,
    /// Whether the maps hold what the ledger says: not after a failure.
    pub(super) certain: bool,
    /// When it was read.
    pub(super) since: SystemTime,
    /// Why the last attempt to read it again has failed, if it has.
    pub(super) outdated: Option<String>,
}

impl Running<'_> {
    /// Reads the file again whenever the signal comes, and does what is asked for on the control socket. Never ends.
    pub(super) async fn keep(
        &mut self,
        hangup: &mut Signal,
        orders: &mut mpsc::Receiver<Order>,
        mut maps: Configured<'_>,
    ) {
        loop {
            tokio::select! {
                _ = hangup.recv() => {
                    let _told = self.reread("SIGHUP", &mut maps).await;
                }
                Some(order) = orders.recv() => self.obey(order, &mut maps).await,
            }
        }
    }

    /// Reads the file again, and tells everybody what has come of it.
    pub(super) async fn reread(
        &mut self,
        why: &str,
        maps: &mut Configured<'_>,
    ) -> anyhow::Result<String> {
        info!("{why}: reading {} again", self.options.config.display());
        let reloading = NotifyState::monotonic_usec_now();
        run::notify(
            &[Some(NotifyState::Reloading), reloading.ok()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        );
        let result = self.reload(maps).await;
        match &result {
            Ok(line) => {
                self.outdated = None;
                info!("reloaded: {line}");
                run::notify(&[NotifyState::Ready, NotifyState::Status(line)]);
            }
            Err(error) => {
                let age = self.since.elapsed().unwrap_or_default().as_secs();
                error!("{error:#}");
                let line = if self.certain {
                    format!("nothing has changed: the configuration of {age} s ago goes on")
                } else {
                    "parts of the new configuration may be in use; a reload that succeeds puts that right".to_owned()
                };
                error!("{line}");
                self.outdated = Some(format!("{error:#}"));
                run::notify(&[NotifyState::Ready, NotifyState::Status(&line)]);
            }
        }
        result
    }

    async fn reload(&mut self, maps: &mut Configured<'_>) -> anyhow::Result<String> {
        let path = &self.options.config;
        // One that nobody writes to would keep everything waiting.
        if fs::metadata(path).is_ok_and(|is| !is.is_file() && !is.is_dir()) {
            bail!("cannot read {} again: it is not a file", path.display());
        }
        let loaded = config::load(path).inspect_err(|error| {
            if let config::Failure::Invalid(report) = error {
                run::tell(report);
            }
        })?;
        run::tell(&loaded.notes);
        let (desired, fates) = self.desired.reloaded(loaded.config);
        let config = desired.effective();
        desired::check_room(&config).map_err(anyhow::Error::msg)?;
        self.advise(&config).await;
        self.apply(&config, maps).await?;
        orders::tell(&fates);
        self.desired = desired;
        self.keep_edits();
        self.since = SystemTime::now();
        Ok(run::services_line(&config))
    }

    /// Has the data plane be as this configuration says.
    pub(super) async fn apply(
        &mut self,
        config: &Config,
        maps: &mut Configured<'_>,
    ) -> anyhow::Result<()> {
        let choices = run::choices(config, self.options)?;
        // Before the first packet to a new server comes.
        let servers = run::real_servers(config);
        let new: BTreeSet<IpAddr> = servers.difference(&self.servers.borrow()).copied().collect();
        advice::on_ways(&new, &self.interfaces, self.netlink).await;
        neighbours::resolve_servers(&new, self.netlink).await;
        // From here on in one go, for turns are taken meanwhile.
        let seen = write::look(&self.ledger, maps)?;
        let change = self.ledger.next(config, &choices, &seen)?;
        let old = self.certain.then_some(&self.ledger.tables);
        if let Err(error) = write::apply(&change, old, maps) {
            self.certain = false;
            self.ledger.skip(&change);
            return Err(error.into());
        }
        self.certain = true;
        self.ledger = change.ledger;
        self.servers.replace(servers);
        Ok(())
    }

    async fn advise(&self, config: &Config) {
        advice::on_interfaces(config, &self.interfaces);
        match Addresses::read(self.netlink).await {
            Ok(addresses) => advice::on_addresses(config, &addresses),
            Err(error) => warn!("cannot list this host's addresses: {error}"),
        }
    }
}
