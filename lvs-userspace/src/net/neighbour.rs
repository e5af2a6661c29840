//! Having neighbours resolved.

use std::{fs, io, net::IpAddr};

use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{
        NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourHeader, NeighbourMessage,
        NeighbourState,
    },
    route::RouteType,
};
use rtnetlink::packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE};

use super::exchange::{Answer, Question, exchange};

/// What the kernel has room for unless it is told otherwise (`gc_thresh3`).
const ROOM: usize = 1024;

/// Has the kernel send ARP requests or neighbour solicitations for addresses on the links of interfaces, as `ip neigh add …
/// use` does; entries that are resolved already are left as they are. Gives those that this failed for.
pub(crate) async fn resolve(
    neighbours: Vec<(u32, IpAddr)>,
) -> io::Result<Vec<(IpAddr, io::Error)>> {
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    let ask = |(interface, address): &(u32, IpAddr)| Ok(request(*interface, *address));
    let tell =
        |(_, address): &(u32, IpAddr), answer: Answer| answer.err().map(|error| (*address, error));
    let told = exchange(neighbours, Question { flags, ask, tell }).await?;
    Ok(told.into_iter().flatten().collect())
}

fn request(interface: u32, address: IpAddr) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header = NeighbourHeader {
        family,
        ifindex: interface,
        state: NeighbourState::None,
        flags: NeighbourFlags::Use,
        kind: RouteType::Unspec,
    };
    message.attributes.push(NeighbourAttribute::Destination(address));
    RouteNetlinkMessage::NewNeighbour(message)
}

/// How many neighbours of a family the kernel keeps at a time, `ipv4` or `ipv6`. (Other network namespaces than the first do
/// not tell.)
pub(crate) fn room_for_neighbours(family: &str) -> usize {
    let path = format!("/proc/sys/net/{family}/neigh/default/gc_thresh3");
    fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(ROOM)
}
