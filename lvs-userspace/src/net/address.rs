//! The addresses of this host.

use std::{
    collections::HashSet,
    net::{IpAddr, Ipv4Addr},
};

use futures_util::TryStreamExt as _;
use netlink_packet_route::address::AddressAttribute;
use rtnetlink::Handle;

/// All IPv4 addresses of the interfaces in this network namespace.
pub(crate) async fn local_ipv4(netlink: &Handle) -> Result<HashSet<Ipv4Addr>, rtnetlink::Error> {
    let mut addresses = HashSet::new();
    let mut messages = std::pin::pin!(netlink.address().get().execute());
    while let Some(message) = messages.try_next().await? {
        // On a point-to-point link `Address` is the other end, and `Local` this one.
        for attribute in message.attributes {
            if let AddressAttribute::Local(IpAddr::V4(address)) = attribute {
                addresses.insert(address);
            }
        }
    }
    Ok(addresses)
}
