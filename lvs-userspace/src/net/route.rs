//! The ways to addresses.

use std::{io, net::IpAddr};

use netlink_packet_route::{
    RouteNetlinkMessage,
    route::{RouteAddress, RouteAttribute, RouteMessage, RouteType},
};
use rtnetlink::RouteMessageBuilder;

use super::exchange::{Answer, Question, exchange};

/// The interface and the neighbour through which packets leave; `None` where the address is this host itself.
pub(crate) type Way = io::Result<Option<(u32, IpAddr)>>;

/// The ways to these addresses, in the same order, by the kernel's own choice.
pub(crate) async fn ways_to(destinations: Vec<IpAddr>) -> io::Result<Vec<(IpAddr, Way)>> {
    let ask = |destination: &IpAddr| request(*destination);
    let tell = |destination: &IpAddr, answer: Answer| {
        let way = answer.map(|message| match message {
            Some(RouteNetlinkMessage::NewRoute(route)) => way(*destination, &route),
            _ => None,
        });
        (*destination, way)
    };
    exchange(destinations, Question { flags: 0, ask, tell }).await
}

/// The way to one address.
pub(crate) async fn way_to(destination: IpAddr) -> Way {
    let mut ways = ways_to(vec![destination]).await?;
    ways.pop().map_or(Ok(None), |(_, way)| way)
}

fn request(destination: IpAddr) -> io::Result<RouteNetlinkMessage> {
    let length = if destination.is_ipv4() { 32 } else { 128 };
    let mut request = RouteMessageBuilder::<IpAddr>::new()
        .destination_prefix(destination, length)
        .map_err(io::Error::other)?
        .build();
    // The kernel wants neither scope nor type in a query for one route.
    request.header.kind = RouteType::Unspec;
    Ok(RouteNetlinkMessage::GetRoute(request))
}

fn way(destination: IpAddr, route: &RouteMessage) -> Option<(u32, IpAddr)> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut interface = None;
    let mut neighbour = destination;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => neighbour = (*address).into(),
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => neighbour = (*address).into(),
            _ => {}
        }
    }
    interface.map(|interface| (interface, neighbour))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn many_ways_are_asked_for_at_once() {
        // The kernel takes them in several parts; loopback is there on each host.
        let all: Vec<IpAddr> = (1..100).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
        let ways = ways_to(all.clone()).await.unwrap();
        assert_eq!(ways.iter().map(|(address, _)| *address).collect::<Vec<_>>(), all);
        assert!(ways.iter().all(|(_, way)| matches!(way, Ok(None))), "{ways:?}");
        assert!(ways_to(Vec::new()).await.unwrap().is_empty());
    }
}
