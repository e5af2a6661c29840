//! The interfaces while packets flow: the data path must know their addresses, one that was not there or comes back is
//! attached, and a user wants to hear that one has gone.

use std::{cell::RefCell, collections::BTreeSet, net::IpAddr, time::Duration};

use anyhow::bail;
use lvs_common::abi::{self, interface_flags};
use rtnetlink::Handle;
use tokio::{
    sync::{Mutex, watch},
    time::{MissedTickBehavior, interval},
};
use tracing::{error, info, warn};

use super::vips::Vips;
use crate::{
    bpf::{Attachment, Error, InterfaceMap, Pins, Programs, refuse_occupied},
    net::{Addresses, Events, Interface},
};

/// How often the interfaces are looked at when nothing is heard of them: what the kernel tells may get lost.
const INTERVAL: Duration = Duration::from_secs(2);

/// An interface that is asked for.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Its name on the command line.
    name: String,
    /// What is attached; `None` while there is no such interface.
    attached: Option<Interface>,
    /// Why it could not be attached the last time.
    refused: Option<String>,
}

/// Finds the interfaces of the command line. Those that are not there are waited for while packets flow, but one must be.
pub(super) async fn find(netlink: &Handle, names: &[String]) -> anyhow::Result<Vec<Wanted>> {
    let mut wanted: Vec<Wanted> = Vec::new();
    for name in names {
        let attached = Interface::look(netlink, name).await?;
        // Given twice, perhaps once by an alternative name.
        let known = wanted.iter().any(|known| match (&known.attached, &attached) {
            (Some(known), Some(this)) => known.index == this.index,
            _ => known.name == *name,
        });
        if !known {
            wanted.push(Wanted { name: name.clone(), attached, refused: None });
        }
    }
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|wanted| wanted.attached.is_none())
        .map(|wanted| wanted.name.as_str())
        .collect();
    if missing.len() == wanted.len() {
        bail!(
            "no interface `{}`; `ip -br link` lists those in this network namespace",
            missing.join("`, `")
        );
    }
    for name in missing {
        warn!("no interface `{name}` yet; it is attached as soon as it is there");
    }
    Ok(wanted)
}

/// Those that are attached.
pub(super) fn there(wanted: &[Wanted]) -> Vec<Interface> {
    wanted.iter().filter_map(|wanted| wanted.attached.clone()).collect()
}

/// Tells the data path that an interface is attached, and under which addresses.
pub(super) fn note(
    map: &mut InterfaceMap,
    interface: &Interface,
    addresses: &Addresses,
) -> Result<(), Error> {
    let (address4, address6) = addresses.of_interface(interface.index);
    let flags =
        if addresses.has_vlans(interface.index) { interface_flags::VLAN_DEVICES } else { 0 };
    let value = abi::Interface { mac: interface.mac, flags, address4, address6 };
    map.insert(interface.index, value, 0).map_err(|source| Error::Map { map: "INTERFACES", source })
}

/// Has the data path forget all other interfaces.
pub(super) fn keep_only(map: &mut InterfaceMap, interfaces: &[Interface]) -> Result<(), Error> {
    let known: Vec<u32> = map.keys().filter_map(Result::ok).collect();
    let attached = |index: &u32| interfaces.iter().any(|interface| interface.index == *index);
    known.iter().filter(|index| !attached(index)).try_for_each(|index| remove(map, *index))
}

fn remove(map: &mut InterfaceMap, index: u32) -> Result<(), Error> {
    match map.remove(&index) {
        Err(aya::maps::MapError::KeyNotFound) => Ok(()),
        result => result.map_err(|source| Error::Map { map: "INTERFACES", source }),
    }
}

/// Who follows the interfaces.
pub(super) struct Follower<'f> {
    pub(super) netlink: &'f Handle,
    pub(super) wanted: &'f RefCell<Vec<Wanted>>,
    pub(super) addresses: Addresses,
    /// Where others hear of new addresses.
    pub(super) told: watch::Sender<BTreeSet<IpAddr>>,
    pub(super) attachment: &'f mut Attachment,
    pub(super) pins: &'f Pins,
    /// Who adds virtual addresses to them.
    pub(super) vips: &'f Mutex<Vips>,
}

impl Follower<'_> {
    /// Attaches to what comes, says what has gone, and follows changed names and addresses. Never ends.
    pub(super) async fn follow(
        &mut self,
        map: &mut InterfaceMap,
        programs: &mut Programs,
        mut events: Events,
    ) -> Result<(), Error> {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = events.next() => {}
            }
            self.pins.refuse_removed()?;
            let changed = match Addresses::read(self.netlink).await {
                Ok(now) if now != self.addresses => {
                    self.addresses = now;
                    self.told.send_replace(self.addresses.all());
                    true
                }
                Ok(_) => false,
                Err(error) => {
                    warn!("cannot list this host's addresses: {error}");
                    false
                }
            };
            let before = self.wanted.borrow().clone();
            let mut after = Vec::new();
            for wanted in &before {
                let now = match &wanted.attached {
                    Some(interface) => self.look_again(wanted, interface, map, changed).await?,
                    None => self.look_for(wanted, &before, map, programs).await?,
                };
                after.push(now);
            }
            let attached = there(&after);
            if attached.len() < there(&before).len() {
                // What was detached is attached again at once.
                ticks.reset_immediately();
            }
            self.wanted.replace(after);
            self.vips.lock().await.refresh(&attached).await;
        }
    }

    /// An interface that is attached.
    async fn look_again(
        &mut self,
        wanted: &Wanted,
        known: &Interface,
        map: &mut InterfaceMap,
        changed: bool,
    ) -> Result<Wanted, Error> {
        match known.again(self.netlink).await {
            Ok(Some(now)) => {
                if now.name != known.name {
                    info!("interface `{}` is called `{}` now", known.name, now.name);
                    self.attachment.rename(&known.name, &now.name);
                }
                if now.mac != known.mac {
                    info!("interface `{}` has another MAC address now", now.name);
                }
                if self.attachment.is_lost(&now) {
                    error!(
                        "interface `{}`: somebody has detached the link, or removed its pin; it is attached again",
                        now.name
                    );
                    self.attachment.forget(&now);
                    remove(map, now.index)?;
                    return Ok(Wanted { attached: None, ..wanted.clone() });
                }
                if changed || now.mac != known.mac {
                    note(map, &now, &self.addresses)?;
                }
                Ok(Wanted { attached: Some(now), ..wanted.clone() })
            }
            Err(error) => {
                warn!("{error:#}");
                Ok(wanted.clone())
            }
            Ok(None) => {
                error!(
                    "interface `{}` has gone, and its packets are not balanced any more; it is attached again when \
                     there is one of the name `{}`",
                    known.name, wanted.name
                );
                // The kernel has removed the program with it.
                self.attachment.forget(known);
                remove(map, known.index)?;
                Ok(Wanted { attached: None, ..wanted.clone() })
            }
        }
    }

    /// One that is not.
    async fn look_for(
        &mut self,
        wanted: &Wanted,
        others: &[Wanted],
        map: &mut InterfaceMap,
        programs: &mut Programs,
    ) -> Result<Wanted, Error> {
        let found = match Interface::look(self.netlink, &wanted.name).await {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(Wanted { refused: None, ..wanted.clone() }),
            Err(error) => return Ok(refused(wanted, &format!("{error:#}"))),
        };
        if others
            .iter()
            .filter_map(|other| other.attached.as_ref())
            .any(|other| other.index == found.index)
        {
            return Ok(wanted.clone());
        }
        note(map, &found, &self.addresses)?;
        let attached = refuse_occupied(self.pins, std::slice::from_ref(&found))
            .and_then(|()| self.attachment.add(programs, &found));
        if let Err(error) = attached {
            remove(map, found.index)?;
            return Ok(refused(wanted, &error.to_string()));
        }
        info!("interface `{}` is there: {} attached", found.name, self.attachment.mode);
        if !found.up {
            warn!("interface `{0}` is down; `ip link set dev {0} up`", found.name);
        }
        Ok(Wanted { name: wanted.name.clone(), attached: Some(found), refused: None })
    }
}

/// Says why an interface is not attached, if that was not said before.
fn refused(wanted: &Wanted, reason: &str) -> Wanted {
    if wanted.refused.as_deref() != Some(reason) {
        error!("interface `{}` is there, but not balanced: {reason}", wanted.name);
    }
    Wanted { refused: Some(reason.to_owned()), ..wanted.clone() }
}
