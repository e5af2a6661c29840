//! Virtual addresses that xlvs adds to interfaces itself. The kernel keeps with each address who has added it
//! (`IFA_PROTO`, since Linux 5.18), so that there is nothing to remember and nothing that could be wrong after a kill.

use std::net::IpAddr;

use netlink_packet_route::{
    AddressFamily,
    address::{AddressAttribute, AddressFlags, AddressMessage, AddressProtocol, CacheInfo},
};
use rtnetlink::Handle;

/// Our number: `ip addr show proto 120`. The kernel has 1 to 3 for itself, keepalived 18.
const PROTOCOL: AddressProtocol = AddressProtocol::Other(120);

/// The length of a prefix that is one address.
const fn whole(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// Whether an address is one of those.
pub(super) fn is_managed(message: &AddressMessage) -> bool {
    message.attributes.contains(&AddressAttribute::Protocol(PROTOCOL))
}

/// Adds an address to an interface, as one of ours. In IPv6 it can be used at once, and the host's own packets do not take
/// it for their source; as keepalived does.
pub(crate) async fn add_managed(
    netlink: &Handle,
    interface: u32,
    address: IpAddr,
) -> Result<(), rtnetlink::Error> {
    let mut request = netlink.address().add(interface, address, whole(address));
    let attributes = &mut request.message_mut().attributes;
    attributes.push(AddressAttribute::Protocol(PROTOCOL));
    if address.is_ipv6() {
        attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        let mut life = CacheInfo::default();
        life.ifa_valid = u32::MAX;
        attributes.push(AddressAttribute::CacheInfo(life));
    }
    request.execute().await
}

/// Removes such an address. That it is not there is as good.
pub(crate) async fn remove_managed(
    netlink: &Handle,
    interface: u32,
    address: IpAddr,
) -> Result<(), rtnetlink::Error> {
    let mut message = AddressMessage::default();
    message.header.family =
        if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = whole(address);
    message.header.index = interface;
    message.attributes.push(AddressAttribute::Local(address));
    match netlink.address().del(message).execute().await {
        Err(rtnetlink::Error::NetlinkError(error))
            if error.raw_code() == -libc::EADDRNOTAVAIL || error.raw_code() == -libc::ENODEV =>
        {
            Ok(())
        }
        result => result,
    }
}
