//! The attached interfaces while packets flow: the data path must know their addresses, and a user wants to
//! hear that one has gone.

use std::time::Duration;

use lvs_common::abi::{self, interface_flags};
use rtnetlink::Handle;
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

use crate::{
    bpf::{Error, InterfaceMap},
    net::{Addresses, Interface},
};

/// How often the interfaces are looked at.
const INTERVAL: Duration = Duration::from_secs(2);

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

/// Follows changed addresses and says what has gone. Never ends.
pub(super) async fn watch(
    map: &mut InterfaceMap,
    netlink: &Handle,
    mut interfaces: Vec<Interface>,
    mut addresses: Addresses,
) -> Result<(), Error> {
    let mut ticks = interval(INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let changed = match Addresses::read(netlink).await {
            Ok(now) if now != addresses => {
                addresses = now;
                true
            }
            Ok(_) => false,
            Err(error) => {
                warn!("cannot list this host's addresses: {error}");
                false
            }
        };
        let mut index = 0;
        while let Some(known) = interfaces.get_mut(index) {
            match known.again(netlink).await {
                Ok(Some(now)) => {
                    if now.name != known.name {
                        info!("interface `{}` is called `{}` now", known.name, now.name);
                    }
                    if now.mac != known.mac {
                        info!("interface `{}` has another MAC address now", now.name);
                    }
                    if changed || now.mac != known.mac {
                        note(map, &now, &addresses)?;
                    }
                    *known = now;
                    index += 1;
                }
                Err(error) => {
                    warn!("{error:#}");
                    index += 1;
                }
                Ok(None) => {
                    error!(
                        "interface `{}` has gone, and its packets are not balanced any more; restart xlvs \
                         when it is back",
                        known.name
                    );
                    // The kernel has removed the program with it.
                    interfaces.swap_remove(index);
                }
            }
        }
    }
}
