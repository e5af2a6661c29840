//! Having neighbours resolved.

use std::net::IpAddr;

use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use rtnetlink::Handle;

/// Has the kernel send an ARP request or neighbour solicitation for `address` on the link of `interface`, as `ip neigh
/// add … use` does; an entry that is resolved already is left as it is.
pub(crate) async fn resolve(
    netlink: &Handle,
    interface: u32,
    address: IpAddr,
) -> Result<(), rtnetlink::Error> {
    netlink
        .neighbours()
        .add(interface, address)
        .state(NeighbourState::None)
        .flags(NeighbourFlags::Use)
        .replace()
        .execute()
        .await
}
