//! The way to an address.

use std::net::IpAddr;

use futures_util::TryStreamExt as _;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteType};
use rtnetlink::{Handle, RouteMessageBuilder};

/// The interface and the neighbour through which packets to `destination` leave; `None` where it is this host itself.
pub(crate) async fn way_to(
    netlink: &Handle,
    destination: IpAddr,
) -> Result<Option<(u32, IpAddr)>, rtnetlink::Error> {
    let length = if destination.is_ipv4() { 32 } else { 128 };
    let mut request = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(destination, length)
        .map_err(|error| rtnetlink::Error::InvalidNla(error.to_string()))?
        .build();
    // The kernel wants neither scope nor type in a query for one route.
    request.header.kind = RouteType::Unspec;
    let mut answers = std::pin::pin!(netlink.route().get(request).execute());
    let Some(route) = answers.try_next().await? else { return Ok(None) };
    if route.header.kind != RouteType::Unicast {
        return Ok(None);
    }
    let mut interface = None;
    let mut neighbour = destination;
    for attribute in route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => neighbour = address.into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => neighbour = address.into(),
            _ => {}
        }
    }
    Ok(interface.map(|interface| (interface, neighbour)))
}
