//! From what a configuration says to what the maps hold: at the start, whenever SIGHUP asks for it, and whenever the health
//! of a server changes. A file that cannot be used changes nothing. Edits come on top of the file, as long as they still
//! apply (`desired.rs`), and the health of the servers on top of both.

use std::{
    cell::RefCell, collections::BTreeSet, fs, future::pending, mem::take, net::IpAddr, sync::Arc,
};

use anyhow::anyhow;
use sd_notify::NotifyState;
use tokio::{
    signal::unix::Signal,
    sync::{Mutex, mpsc, watch},
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{
    advice, answers, capabilities,
    desired::{self, Desired},
    edit::ServerName,
    interfaces::{self, Wanted},
    ledger::{Change, Ledger},
    memory, neighbours, orders,
    run::{self, Options},
    said::{Said, Topic},
    socket::Order,
    status::StatusFile,
    tables::Choices,
    vips::Vips,
    watchdog::Watchdog,
    write,
};
use crate::{
    bpf::{self, Configured},
    config::{self, Config, Loaded},
    exit::Failure,
    health::{self, Endpoint, Health, Past},
    net::{self, Addresses},
};

/// The configuration that is in use, and what follows from it.
pub(super) struct Running<'r> {
    pub(super) options: &'r Options,
    pub(super) interfaces: &'r RefCell<Vec<Wanted>>,
    pub(super) netlink: &'r rtnetlink::Handle,
    /// The addresses of the real servers, up or down, in their order, for who keeps the ways to them resolved.
    pub(super) servers: &'r RefCell<Vec<IpAddr>>,
    /// What the file says, and what was edited since.
    pub(super) desired: Desired,
    /// What is to be in use, which is the same unless that has failed, and what else was chosen then.
    pub(super) wanted: Option<(Desired, Choices)>,
    /// What is checked.
    pub(super) checked: Option<Arc<Config>>,
    /// Which servers are up; checks begin with the first configuration.
    pub(super) health: Option<Health>,
    /// Whether packets flowed when the controller started, and what was known then.
    pub(super) attached: bool,
    pub(super) past: Past,
    /// This host's addresses.
    pub(super) addresses: watch::Receiver<BTreeSet<IpAddr>>,
    /// The virtual addresses that nobody on this host answers for.
    pub(super) strange: BTreeSet<IpAddr>,
    /// Who adds virtual addresses, and takes them away.
    pub(super) vips: &'r Mutex<Vips>,
    pub(super) ledger: Ledger,
    /// Whether the ledger is what the maps hold: not after a failure.
    pub(super) certain: bool,
    /// What others are told.
    pub(super) status: StatusFile,
    /// What was said of the configuration.
    pub(super) said: Said,
}

impl Running<'_> {
    /// Reads the file again whenever the signal comes, does what is asked for on the control socket, and follows the health
    /// of the servers. Never ends.
    pub(super) async fn keep(
        &mut self,
        hangup: &mut Signal,
        orders: &mut mpsc::Receiver<Order>,
        mut maps: Configured<'_>,
    ) {
        let mut watchdog = Watchdog::new();
        let mut rested = Instant::now();
        loop {
            tokio::select! {
                () = watchdog.pat() => {}
                _ = hangup.recv() => {
                    let _told = self.reread("SIGHUP", false, &mut maps).await;
                }
                pools = changed(&mut self.health, rested) => {
                    let begun = Instant::now();
                    self.follow_health(pools, &mut maps);
                    // Where very many servers go and come, half of the time is for others.
                    rested = Instant::now() + begun.elapsed();
                }
                Ok(()) = self.addresses.changed() => {
                    if let Some(health) = &mut self.health {
                        health.set_addresses(&self.addresses.borrow_and_update());
                    }
                    self.note_addresses().await;
                }
                Some(order) = orders.recv() => self.obey(order, &mut maps).await,
            }
        }
    }

    /// Reads the file again, and tells everybody what has come of it.
    pub(super) async fn reread(
        &mut self,
        why: &str,
        discard_edits: bool,
        maps: &mut Configured<'_>,
    ) -> Result<String, Failure> {
        self.status.begun();
        info!("{why}: reading {} again", self.options.config.display());
        let reloading = NotifyState::monotonic_usec_now();
        run::notify(
            &[Some(NotifyState::Reloading), reloading.ok()]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>(),
        );
        let mut shown = String::new();
        let result = self.reload(discard_edits, maps, &mut shown).await;
        match &result {
            Ok(line) => {
                info!("reloaded: {line}");
                self.status.reloaded(line, shown);
                run::notify(&[NotifyState::Ready, NotifyState::Status(line)]);
            }
            Err(failure) => {
                error!("{:#}", failure.error);
                let line = if self.certain {
                    let age = self.status.age();
                    format!("nothing has changed: the configuration of {age} s ago goes on")
                } else {
                    "parts of the new configuration may be in use; a reload that succeeds puts that right".to_owned()
                };
                error!("{line}");
                self.status.failed(failure, &line, shown);
                run::notify(&[NotifyState::Ready, NotifyState::Status(&line)]);
            }
        }
        result
    }

    /// `shown` is what there is to say about the file and the edits, for who has asked for it.
    async fn reload(
        &mut self,
        discard_edits: bool,
        maps: &mut Configured<'_>,
        shown: &mut String,
    ) -> Result<String, Failure> {
        let path = &self.options.config;
        // One that nobody writes to would keep everything waiting.
        if fs::metadata(path).is_ok_and(|is| !is.is_file() && !is.is_dir()) {
            let reason = anyhow!("cannot read {} again: it is not a file", path.display());
            return Err(Failure::configuration(reason));
        }
        let (config_id, policy) = (&self.options.config_id, &self.options.policy);
        let loaded = config::load(path, config_id, policy).map_err(|error| {
            if let config::Failure::Invalid(report) = &error {
                run::tell(report);
                *shown = report.render(false);
            }
            Failure::configuration(error)
        })?;
        let Loaded { config, notes } = loaded.balanced();
        *shown = notes.render(false);
        capabilities::check_health(&config).await?;
        self.said.tell_of_file(&notes);
        // It has the whole text.
        drop(notes);
        let (desired, fates) = self.desired.reloaded(config, discard_edits);
        desired::check_room(&desired.effective()).map_err(anyhow::Error::msg)?;
        let line = self.take(desired, maps).await?;
        orders::tell(&fates, &mut self.said);
        orders::show(&fates, shown);
        Ok(line)
    }

    /// The same for a file that was just read, at the start too: with advice about it.
    pub(super) async fn take(
        &mut self,
        desired: Desired,
        maps: &mut Configured<'_>,
    ) -> Result<String, Failure> {
        self.advise(&desired.effective()).await;
        let result = self.put(desired, maps).await;
        // What reading a large file took, and the configuration before.
        bpf::give_back_memory();
        result
    }

    /// Has what the file and the edits say be in use, and tells how much that is. Start, reload and edit all come here: what
    /// else has a say in the configuration has it between the first line and the second.
    pub(super) async fn put(
        &mut self,
        desired: Desired,
        maps: &mut Configured<'_>,
    ) -> Result<String, Failure> {
        let config = desired.effective();
        let line = run::services_line(&config);
        self.apply(desired.clone(), &config, maps).await?;
        self.desired = desired;
        self.keep_edits();
        if self.options.manage_vips {
            let wanted = answers::virtual_addresses(&self.desired.effective());
            let attached = interfaces::there(&self.interfaces.borrow());
            self.vips.lock().await.want(wanted, &attached).await;
        }
        self.note_addresses().await;
        Ok(line)
    }

    /// Has the maps hold what the file and the edits come to, which is `config`, as far as the servers are up.
    async fn apply(
        &mut self,
        mut desired: Desired,
        config: &Config,
        maps: &mut Configured<'_>,
    ) -> Result<(), Failure> {
        let choices = run::choices(config, self.options, &mut self.said)?;
        // Before the first packet to a new server comes.
        let servers = run::real_servers(config);
        let new: Vec<IpAddr> = {
            let old = self.servers.borrow();
            let is_new = |server: &IpAddr| old.binary_search(server).is_err();
            servers.iter().copied().filter(is_new).collect()
        };
        match net::ways_to(new).await {
            Ok(ways) => {
                advice::on_ways(&ways, &interfaces::there(&self.interfaces.borrow()));
                neighbours::resolve_ways(&ways).await;
            }
            Err(error) => warn!("the kernel does not tell the ways to the real servers: {error}"),
        }
        if !self.certain {
            self.look_again(maps)?;
        }
        // Nobody is checked or told for a configuration that does not fit, with all servers up.
        let seen = write::look(&self.ledger, maps)?;
        let change = self.ledger.next(config, &choices, &seen)?;
        let file = Arc::clone(desired.file());
        self.check(&file);
        if let Some(health) = &mut self.health {
            for (service, ServerName { address, port }) in desired.came_again() {
                health.came_again(service, Endpoint { address, port });
            }
        }
        self.keep_memory();
        self.servers.replace(servers);
        let whole =
            self.health.as_ref().is_none_or(|health| health::all_serve(&file, health.state()));
        self.wanted = Some((desired, choices));
        // With all servers up it is this very change. (Nothing was waited for since.)
        if whole { self.make(change, maps) } else { self.write(maps) }
    }

    /// Has what a file says be checked. Edits have no say in it.
    fn check(&mut self, file: &Arc<Config>) {
        let local = self.addresses.borrow_and_update().clone();
        match &mut self.health {
            Some(_) if self.checked.as_ref().is_some_and(|checked| Arc::ptr_eq(checked, file)) => {}
            Some(health) => health.reload(file, &local),
            None if self.attached => {
                let health = Health::go_on(file, &local, &take(&mut self.past));
                match health.down() {
                    0 => {}
                    1 => info!("1 real server is down, as before: `xlvs list` says why"),
                    down => info!("{down} real servers are down, as before: `xlvs list` says why"),
                }
                self.health = Some(health);
            }
            None => self.health = Some(Health::start_quietly(file, &local)),
        }
        self.checked = Some(Arc::clone(file));
    }

    /// The health of a server has changed; `pools` is whether the data path has to know.
    fn follow_health(&mut self, pools: bool, maps: &mut Configured<'_>) {
        // Before the maps: whoever is killed in between leaves what the next one needs to finish it.
        self.keep_memory();
        if pools && let Err(failure) = self.write(maps) {
            error!("{:#}", failure.error);
            error!(
                "what a health check has found is in use only in parts; the next change puts that right"
            );
        }
    }

    /// Has a restart know what checks have found.
    fn keep_memory(&mut self) {
        if let Some(health) = &mut self.health {
            memory::save(&self.options.runtime_dir, health);
        }
    }

    /// Has the maps hold what is wanted.
    fn write(&mut self, maps: &mut Configured<'_>) -> Result<(), Failure> {
        if !self.certain {
            self.look_again(maps)?;
        }
        let Some(((desired, choices), health)) = self.wanted.as_ref().zip(self.health.as_ref())
        else {
            return Ok(());
        };
        let config = desired.serving(health.state());
        // From here on in one go, for turns are taken meanwhile.
        let seen = write::look(&self.ledger, maps)?;
        let change = self.ledger.next(&config, choices, &seen)?;
        self.make(change, maps)
    }

    /// Makes a change.
    fn make(&mut self, change: Change, maps: &mut Configured<'_>) -> Result<(), Failure> {
        if let Err(error) = write::apply(&change, &self.ledger.tables, maps) {
            self.certain = false;
            return Err(error.into());
        }
        self.ledger = change.ledger;
        Ok(())
    }

    /// After a change that has failed half-way: as after a controller that was killed.
    fn look_again(&mut self, maps: &Configured<'_>) -> Result<(), Failure> {
        self.ledger = Ledger::adopt(write::dump(maps)?, write::sizes(maps));
        self.certain = true;
        Ok(())
    }

    /// Says which virtual addresses are here no more, or are here again. Those that are managed are looked after already.
    async fn note_addresses(&mut self) {
        if self.options.manage_vips {
            return;
        }
        match Addresses::read(self.netlink).await {
            Ok(local) => {
                let config = self.desired.effective();
                let wanted = answers::virtual_addresses(&config);
                let now =
                    answers::unanswered(wanted.clone(), |address| local.contains(address)).await;
                advice::on_strange_addresses(&self.strange, &now, &wanted);
                self.strange = now;
            }
            Err(error) => warn!("cannot list this host's addresses: {error}"),
        }
    }

    async fn advise(&mut self, config: &Config) {
        let interfaces = interfaces::there(&self.interfaces.borrow());
        self.said.tell(Topic::Interfaces, advice::on_interfaces(config, &interfaces));
        match Addresses::read(self.netlink).await {
            Ok(addresses) => {
                self.said.tell(Topic::Addresses, advice::on_addresses(config, &addresses).await);
            }
            Err(error) => warn!("cannot list this host's addresses: {error}"),
        }
    }
}

/// Waits for a change of health, but not before this moment, and tells whether the data path has to know; without checks
/// for ever.
async fn changed(health: &mut Option<Health>, rested: Instant) -> bool {
    sleep_until(rested).await;
    match health {
        Some(health) => health.changed().await,
        None => pending().await,
    }
}
