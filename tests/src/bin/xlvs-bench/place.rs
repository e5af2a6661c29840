//! Where it happens: a namespace with a side for clients and one for servers, and neighbours that are
//! always resolved.

use std::fmt::Write as _;

use anyhow::Result;
use lvs_tests::{netns::Netns, scratch::Scratch};

use crate::case::{Case, Family};

/// The interface towards the clients.
pub(crate) const CLIENT_SIDE: &str = "c0";
/// The interface towards the servers.
pub(crate) const SERVER_SIDE: &str = "s0";

/// Does the work inside a namespace that is made for this case, and prepared with more `ip` commands.
pub(crate) fn with<T: Send>(
    case: Case,
    more: &[String],
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let scratch = Scratch::new()?;
    let netns = Netns::new(scratch.name())?;
    netns.ip(&[
        "link add c0 type veth peer name c1",
        "link add s0 type veth peer name s1",
        "link set c0 up",
        "link set c1 up",
        "link set s0 up",
        "link set s1 up",
    ])?;
    match case.family {
        Family::V4 => netns.set("ipv4/ip_forward", "1")?,
        Family::V6 => {
            for interface in ["all", "default", "c0", "s0"] {
                netns.set(&format!("ipv6/conf/{interface}/disable_ipv6"), "0")?;
            }
            netns.set("ipv6/conf/all/forwarding", "1")?;
        }
    }
    netns.ip(&addresses(case.family))?;
    netns.ip(more)?;
    netns.run(work)
}

/// The `ip` commands for one family. All clients live behind one router.
fn addresses(family: Family) -> Vec<String> {
    let (own, router, clients, inside, bits, option) = match family {
        Family::V4 => ("172.16.0.1/24", "172.16.0.2", "10.0.0.0/8", "192.168.1.1/24", 32, ""),
        Family::V6 => ("fd00:1::1/64", "fd00:1::2", "fd10::/16", "fd00:2::1/64", 128, " nodad"),
    };
    let mut lines = vec![
        format!("addr add {own} dev {CLIENT_SIDE}{option}"),
        format!("addr add {}/{bits} dev {CLIENT_SIDE}{option}", family.virtual_address()),
        format!("addr add {inside} dev {SERVER_SIDE}{option}"),
        format!("neigh replace {router} lladdr 02:00:00:00:01:01 dev {CLIENT_SIDE} nud permanent"),
        format!("route add {clients} via {router}"),
    ];
    for address in family.local_addresses() {
        lines.push(format!("addr add {address}/{bits} dev {SERVER_SIDE}{option}"));
    }
    for (number, server) in family.servers().enumerate() {
        let mut line = format!("neigh replace {server} lladdr 02:00:00:00:02:{number:02x}");
        let _ = write!(line, " dev {SERVER_SIDE} nud permanent");
        lines.push(line);
    }
    lines
}
