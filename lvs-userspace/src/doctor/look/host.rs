//! The host's network: settings, addresses, routes, and IPVS.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    path::Path,
    thread::available_parallelism,
};

use anyhow::Context as _;
use futures_util::TryStreamExt as _;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use rtnetlink::Handle;

use super::{Unseen, interfaces::Link, text};
use crate::{
    config::Protocol,
    doctor::facts::{Address, Host, Interface, IpvsService},
    net,
};

/// Settings of the whole network namespace.
const GLOBAL: [&str; 6] = [
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/rp_filter",
    "net/ipv4/conf/all/send_redirects",
    "net/ipv4/neigh/default/gc_thresh3",
    "net/ipv6/neigh/default/gc_thresh3",
];

/// Settings of an interface, before and after its name.
const OF_INTERFACE: [(&str, &str); 5] = [
    ("net/ipv4/conf", "forwarding"),
    ("net/ipv6/conf", "forwarding"),
    ("net/ipv4/conf", "rp_filter"),
    ("net/ipv4/conf", "send_redirects"),
    ("net/ipv6/conf", "accept_ra"),
];

/// Addresses that nobody has (RFC 5737, RFC 3849): the way to them is the default route.
const NOBODY: [IpAddr; 2] = [
    IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)),
];

/// The services of IPVS in this network namespace.
const IPVS: &str = "/proc/net/ip_vs";

pub(super) async fn read(
    netlink: &Handle,
    links: &HashMap<u32, Link>,
    interfaces: &[Interface],
    unseen: &mut Unseen,
) -> anyhow::Result<Host> {
    let messages: Vec<AddressMessage> = netlink
        .address()
        .get()
        .execute()
        .try_collect()
        .await
        .context("cannot list this host's addresses")?;
    let mut default_routes = [None; 2];
    for (route, nobody) in default_routes.iter_mut().zip(NOBODY) {
        *route = net::way_to(nobody).await.ok().flatten().map(|(index, _)| index);
    }
    let ports = match net::ports_for_full_nat() {
        Ok(ports) => Some(ports.len()),
        Err(error) => {
            unseen.push(("ports for full NAT", format!("{error:#}")));
            None
        }
    };
    let netfilter = Path::new("/proc/sys/net/netfilter/nf_conntrack_count");
    Ok(Host {
        settings: settings(interfaces),
        addresses: messages.iter().filter_map(address).collect(),
        unanswered: BTreeSet::new(),
        default_routes,
        names: links.values().map(|link| (link.index, link.name.clone())).collect(),
        cpus: available_parallelism().map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(1)),
        ports,
        conntrack: text(netfilter).is_some_and(|count| count != "0"),
        ipvs: text(IPVS).map(|table| ipvs(&table)).unwrap_or_default(),
    })
}

fn settings(interfaces: &[Interface]) -> HashMap<String, String> {
    let of_interfaces = interfaces.iter().flat_map(|interface| {
        OF_INTERFACE.map(|(before, after)| format!("{before}/{}/{after}", interface.name))
    });
    let paths = GLOBAL.iter().map(ToString::to_string).chain(of_interfaces);
    paths.filter_map(|path| Some((path.clone(), text(format!("/proc/sys/{path}"))?))).collect()
}

fn address(message: &AddressMessage) -> Option<Address> {
    let flags = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    let flags = flags.unwrap_or(AddressFlags::Permanent);
    let unfit = AddressFlags::Tentative | AddressFlags::Dadfailed;
    Some(Address {
        address: net::local_address(message)?,
        length: message.header.prefix_len,
        interface: message.header.index,
        global: message.header.scope == AddressScope::Universe && !flags.intersects(unfit),
        dynamic: !flags.contains(AddressFlags::Permanent),
    })
}

/// The services in `/proc/net/ip_vs` (`ip_vs_info_seq_show()` in the kernel's `ip_vs_ctl.c`): addresses and ports in
/// hexadecimal, those of IPv6 in brackets.
fn ipvs(table: &str) -> Vec<IpvsService> {
    let service = |line: &str| {
        let mut words = line.split_whitespace();
        let (kind, place) = (words.next()?, words.next()?);
        let protocol = match kind {
            "FWM" => return Some(IpvsService::Mark(u32::from_str_radix(place, 16).ok()?)),
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => return None,
        };
        let (address, port) = place.rsplit_once(':')?;
        let address = match address.strip_prefix('[') {
            Some(address) => address.strip_suffix(']')?.parse::<Ipv6Addr>().ok()?.into(),
            None => IpAddr::V4(u32::from_str_radix(address, 16).ok()?.into()),
        };
        Some(IpvsService::Address(protocol, address, u16::from_str_radix(port, 16).ok()?))
    };
    table.lines().filter_map(service).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ipvs_is_read() {
        let table = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  \
            -> RemoteAddress:Port Forward Weight ActiveConn InActConn\nTCP  0A400102:2710 rr  persistent 10 FFFFFFFF\n  \
            -> C0A80164:1F99      Masq    1      0          0\nUDP  [fd00:0064:0000:0000:0000:0000:0000:0002]:0035 rr\n\
            FWM  00000007 wlc\n";
        let four = "10.64.1.2".parse().unwrap();
        let six = "fd00:64::2".parse().unwrap();
        assert_eq!(
            ipvs(table),
            [
                IpvsService::Address(Protocol::Tcp, four, 10000),
                IpvsService::Address(Protocol::Udp, six, 53),
                IpvsService::Mark(7),
            ]
        );
    }
}
