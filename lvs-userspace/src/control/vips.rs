//! `--manage-vips`: the virtual addresses of the services are added to the interfaces, announced, and taken away again. The
//! kernel keeps whose an address is (`net/managed.rs`): one that somebody else has added is never touched, and after a kill
//! the next start knows its own. Which interfaces are this instance's, the pinned map `INTERFACES` says.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use rtnetlink::Handle;
use tokio::{
    task::spawn_blocking,
    time::{MissedTickBehavior, interval},
};
use tracing::{debug, info, warn};

use crate::{
    bpf::attached_indexes,
    net::{self, Addresses, Interface},
};

/// How often an address is announced, and how long apart: a frame may be lost.
const ANNOUNCEMENTS: usize = 3;
const ANNOUNCEMENT_INTERVAL: Duration = Duration::from_secs(1);

/// The announcement that an address belongs to, by its number: the last one, or none.
type Announcing = Arc<Mutex<HashMap<IpAddr, u64>>>;

/// Who adds and removes virtual addresses.
pub(super) struct Vips {
    netlink: Handle,
    /// Those that are to be there; `None` before packets flow, when nothing is done.
    wanted: Option<BTreeSet<IpAddr>>,
    /// Interfaces as they were when addresses on them were announced.
    seen: HashMap<u32, ([u8; 6], bool)>,
    /// Announcements that are under way: which one an address belongs to.
    announcing: Announcing,
    /// How many there were.
    announcements: u64,
    /// Why an address could not be added or removed the last time.
    trouble: HashMap<IpAddr, String>,
}

impl Vips {
    pub(super) fn new(netlink: &Handle) -> Self {
        Self {
            netlink: netlink.clone(),
            wanted: None,
            seen: HashMap::new(),
            announcing: Announcing::default(),
            announcements: 0,
            trouble: HashMap::new(),
        }
    }

    /// From here on these are to be there, on the interfaces that are attached; `None` if addresses are not managed. What an
    /// earlier run has added to any of its interfaces is its own too.
    pub(super) async fn begin(
        &mut self,
        wanted: Option<BTreeSet<IpAddr>>,
        attached: &[Interface],
        before: &BTreeSet<u32>,
    ) {
        let goes_on = |index: &u32| wanted.is_some() && is_on(attached, *index);
        let left: BTreeSet<u32> = before.iter().filter(|index| !goes_on(index)).copied().collect();
        if !left.is_empty() {
            match Addresses::read(&self.netlink).await {
                Ok(addresses) => remove_all(&self.netlink, &left, &addresses).await,
                Err(error) => warn!("cannot list this host's addresses: {error}"),
            }
        }
        self.wanted = wanted;
        self.refresh(attached).await;
    }

    /// Others are to be there.
    pub(super) async fn want(&mut self, wanted: BTreeSet<IpAddr>, attached: &[Interface]) {
        if self.wanted.is_some() {
            self.wanted = Some(wanted);
            self.refresh(attached).await;
        }
    }

    /// Has there be what is to be there, and announces it where a link has come up or has another MAC address.
    pub(super) async fn refresh(&mut self, attached: &[Interface]) {
        if self.wanted.is_none() {
            return;
        }
        match Addresses::read(&self.netlink).await {
            Ok(addresses) => self.settle(&addresses, attached).await,
            Err(error) => warn!("cannot list this host's addresses: {error}"),
        }
    }

    async fn settle(&mut self, addresses: &Addresses, attached: &[Interface]) {
        let Some(wanted) = self.wanted.clone() else { return };
        let ours: Vec<(u32, IpAddr)> = addresses
            .managed()
            .iter()
            .filter(|(index, _)| is_on(attached, *index))
            .copied()
            .collect();
        for (index, address) in &ours {
            if !wanted.contains(address) {
                self.remove(*index, *address).await;
            }
        }
        self.trouble.retain(|address, _| wanted.contains(address));
        let mut on: Vec<(&Interface, IpAddr)> = Vec::new();
        let missing = wanted.into_iter().filter(|address| !addresses.contains(*address));
        for (address, interface) in places(missing.collect(), addresses, attached).await {
            if self.add(interface, address).await {
                on.push((interface, address));
            }
        }
        for interface in attached {
            let now = (interface.mac, interface.carrier);
            let before = self.seen.insert(interface.index, now);
            if interface.carrier && before != Some(now) {
                let here = ours.iter().filter(|(index, address)| {
                    *index == interface.index
                        && self.wanted.as_ref().is_some_and(|wanted| wanted.contains(address))
                });
                on.extend(here.map(|(_, address)| (interface, *address)));
            }
        }
        self.seen.retain(|index, _| is_on(attached, *index));
        for interface in attached {
            let on = on.iter().filter(|(on, _)| on.index == interface.index);
            self.announce(interface, on.map(|(_, address)| *address).collect());
        }
    }

    async fn add(&mut self, interface: &Interface, address: IpAddr) -> bool {
        match net::add_managed(&self.netlink, interface.index, address).await {
            Ok(()) => {
                info!("added the virtual address {address} to `{}`", interface.name);
                self.trouble.remove(&address);
                true
            }
            // Somebody has been faster, and it is theirs; or the interface has just gone, which is told by who follows it.
            Err(rtnetlink::Error::NetlinkError(error))
                if [-libc::EEXIST, -libc::ENODEV].contains(&error.raw_code()) =>
            {
                false
            }
            Err(error) => {
                let reason = format!("cannot add {address} to `{}`: {error}", interface.name);
                self.complain(address, reason);
                false
            }
        }
    }

    async fn remove(&mut self, index: u32, address: IpAddr) {
        // Whoever has it next is not to be talked over.
        self.announcing.lock().unwrap_or_else(PoisonError::into_inner).remove(&address);
        match net::remove_managed(&self.netlink, index, address).await {
            Ok(()) => info!("removed the virtual address {address}"),
            Err(error) => self.complain(address, format!("cannot remove {address}: {error}")),
        }
    }

    /// Says what is wrong with an address, if that was not said before.
    fn complain(&mut self, address: IpAddr, reason: String) {
        if self.trouble.get(&address) != Some(&reason) {
            warn!("{reason}");
            self.trouble.insert(address, reason);
        }
    }

    /// Announces addresses several times.
    fn announce(&mut self, interface: &Interface, addresses: Vec<IpAddr>) {
        if addresses.is_empty() {
            return;
        }
        self.announcements += 1;
        let number = self.announcements;
        let mut announcing = self.announcing.lock().unwrap_or_else(PoisonError::into_inner);
        announcing.extend(addresses.into_iter().map(|address| (address, number)));
        tokio::spawn(announce(Arc::clone(&self.announcing), number, interface.clone()));
    }

    /// Removes all that is there.
    pub(super) async fn end(&mut self, attached: &[Interface]) {
        self.want(BTreeSet::new(), attached).await;
        self.wanted = None;
    }
}

/// Announces the addresses of an announcement until they belong to another one, or have gone.
async fn announce(announcing: Announcing, number: u64, interface: Interface) {
    let mut ticks = interval(ANNOUNCEMENT_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..ANNOUNCEMENTS {
        ticks.tick().await;
        let addresses: Vec<IpAddr> = {
            let announcing = announcing.lock().unwrap_or_else(PoisonError::into_inner);
            let these = announcing.iter().filter(|(_, of)| **of == number);
            these.map(|(address, _)| *address).collect()
        };
        if addresses.is_empty() {
            return;
        }
        let (link, these) = (interface.clone(), addresses.clone());
        let told = spawn_blocking(move || net::announce(&link, &these)).await;
        match told.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(()) => {
                for address in addresses {
                    debug!("announced {address} on `{}`", interface.name);
                }
            }
            Err(error) => {
                // They are announced again once the link is there.
                if !matches!(
                    error.raw_os_error(),
                    Some(libc::ENETDOWN | libc::ENODEV | libc::ENXIO)
                ) {
                    warn!("cannot announce virtual addresses on `{}`: {error}", interface.name);
                }
                break;
            }
        }
    }
    announcing.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, of| *of != number);
}

/// Where addresses belong, if anything is attached: on the interface whose network they are in, else on the one that the route
/// to them leads to, else on the first.
async fn places<'i>(
    missing: Vec<IpAddr>,
    addresses: &Addresses,
    attached: &'i [Interface],
) -> Vec<(IpAddr, &'i Interface)> {
    let Some(first) = attached.first() else { return Vec::new() };
    let near = |address: IpAddr| {
        let networks = attached.iter().filter_map(|interface| {
            addresses.network_of(interface.index, address).map(|length| (length, interface))
        });
        // Of equal ones the first: `max_by_key` takes the last.
        networks.rev().max_by_key(|(length, _)| *length).map(|(_, nearest)| nearest)
    };
    let (mut places, mut far) = (Vec::new(), Vec::new());
    for address in missing {
        match near(address) {
            Some(interface) => places.push((address, interface)),
            None => far.push(address),
        }
    }
    // Where the kernel does not tell, it is the first.
    let ways = net::ways_to(far.clone())
        .await
        .unwrap_or_else(|_| far.into_iter().map(|address| (address, Ok(None))).collect());
    places.extend(ways.into_iter().map(|(address, way)| {
        let index = way.ok().flatten().map(|(index, _)| index);
        let routed = attached.iter().find(|interface| Some(interface.index) == index);
        (address, routed.unwrap_or(first))
    }));
    places
}

fn is_on(attached: &[Interface], index: u32) -> bool {
    attached.iter().any(|interface| interface.index == index)
}

/// Removes what was added to interfaces.
async fn remove_all(netlink: &Handle, interfaces: &BTreeSet<u32>, addresses: &Addresses) {
    for (index, address) in addresses.managed() {
        if !interfaces.contains(index) {
            continue;
        }
        match net::remove_managed(netlink, *index, *address).await {
            Ok(()) => {
                info!("removed the virtual address {address}, which an earlier run has added");
            }
            Err(error) => warn!("cannot remove {address}: {error}"),
        }
    }
}

/// Removes what a controller that was killed has added to its interfaces, as its pins name them.
pub(super) fn remove_left(pin_dir: &Path) -> anyhow::Result<()> {
    let interfaces = attached_indexes(pin_dir);
    if interfaces.is_empty() {
        return Ok(());
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (netlink, _) = net::connect()?;
        let addresses = Addresses::read(&netlink).await;
        let addresses = addresses.context("cannot list this host's addresses")?;
        remove_all(&netlink, &interfaces, &addresses).await;
        Ok(())
    })
}
