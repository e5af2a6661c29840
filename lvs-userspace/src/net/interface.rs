//! Network interfaces by name.

use std::{collections::HashSet, fs, future::pending, path::Path, pin::Pin};

use anyhow::{Context as _, bail};
use futures_util::{FutureExt as _, Stream, StreamExt as _, TryStreamExt as _};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use rtnetlink::{Handle, MulticastGroup};

/// An interface as it was when it was looked up.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its index.
    pub index: u32,
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Whether it is up.
    pub up: bool,
    /// Whether its link is there too, so that frames go out.
    pub carrier: bool,
    /// The ids of the XDP programs on it.
    pub xdp_programs: Vec<u32>,
    /// Whether the XDP program on it is in the stack, not in the driver.
    pub xdp_in_stack: bool,
    kind: Option<InfoKind>,
}

/// The indexes of the interfaces in this network namespace that have VLAN devices on them.
pub(crate) async fn vlan_parents(netlink: &Handle) -> Result<HashSet<u32>, rtnetlink::Error> {
    let mut parents = HashSet::new();
    let mut links = std::pin::pin!(netlink.link().get().execute());
    while let Some(link) = links.try_next().await? {
        if kind(&link) != Some(InfoKind::Vlan) {
            continue;
        }
        parents.extend(link.attributes.iter().filter_map(|attribute| match attribute {
            LinkAttribute::Link(parent) => Some(*parent),
            _ => None,
        }));
    }
    Ok(parents)
}

/// What kind of device a link is, if the kernel says so.
fn kind(link: &LinkMessage) -> Option<InfoKind> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => infos.iter().find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.clone()),
            _ => None,
        }),
        _ => None,
    })
}

/// What the kernel says of the XDP programs on a link.
fn xdp(message: &LinkMessage) -> impl Iterator<Item = &LinkXdp> {
    let of = message.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::Xdp(attributes) => Some(attributes),
        _ => None,
    });
    of.flatten()
}

/// Opens netlink sockets in the current network namespace: one to ask with, and one that tells when interfaces come, go or
/// change.
pub(crate) fn connect() -> anyhow::Result<(Handle, Events)> {
    let (connection, handle, _) =
        rtnetlink::new_connection().context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    // Of its own, so that many events keep no answer waiting.
    let (connection, _, messages) = rtnetlink::new_multicast_connection(&[MulticastGroup::Link])
        .context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    Ok((handle, Events { messages: Box::pin(messages.map(drop)) }))
}

/// What the kernel tells of interfaces.
pub(crate) struct Events {
    messages: Pin<Box<dyn Stream<Item = ()>>>,
}

impl Events {
    /// Waits until something has happened, and takes all of it. Waits for ever should there be no more.
    pub(crate) async fn next(&mut self) {
        if self.messages.next().await.is_none() {
            pending::<()>().await;
        }
        while let Some(Some(())) = self.messages.next().now_or_never() {}
    }
}

impl Interface {
    /// Looks an interface up by its name; `None` if there is none.
    pub async fn look(netlink: &Handle, name: &str) -> anyhow::Result<Option<Self>> {
        let found = netlink.link().get().match_name(name.to_owned()).execute().try_next().await;
        match found {
            Ok(Some(message)) => Self::from_message(name, &message).map(Some),
            Ok(None) => Ok(None),
            Err(rtnetlink::Error::NetlinkError(error))
                if error.raw_code() == -libc::ENODEV || error.raw_code() == -libc::ERANGE =>
            {
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| format!("cannot look up interface `{name}`")),
        }
    }

    /// Looks an interface up again that may have another name now; `None` if it is gone.
    pub async fn again(&self, netlink: &Handle) -> anyhow::Result<Option<Self>> {
        let found = netlink.link().get().match_index(self.index).execute().try_next().await;
        match found {
            Ok(Some(message)) => {
                let name = message.attributes.iter().find_map(|attribute| match attribute {
                    LinkAttribute::IfName(name) => Some(name.as_str()),
                    _ => None,
                });
                Self::from_message(name.unwrap_or(&self.name), &message).map(Some)
            }
            Ok(None) => Ok(None),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => {
                Ok(None)
            }
            Err(error) => {
                Err(error).with_context(|| format!("cannot look up interface `{}`", self.name))
            }
        }
    }

    fn from_message(name: &str, message: &LinkMessage) -> anyhow::Result<Self> {
        if !matches!(message.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback)
        {
            bail!("interface `{name}` carries no Ethernet frames; xlvs needs those");
        }
        let mac = message.attributes.iter().find_map(|attribute| match attribute {
            LinkAttribute::Address(address) => address.as_slice().try_into().ok(),
            _ => None,
        });
        Ok(Self {
            name: name.to_owned(),
            index: message.header.index,
            mac: mac.with_context(|| format!("interface `{name}` has no MAC address"))?,
            up: message.header.flags.contains(LinkFlags::Up),
            carrier: message.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
            xdp_programs: xdp(message)
                .filter_map(|attribute| match attribute {
                    LinkXdp::ProgId(id) | LinkXdp::DrvProgId(id) | LinkXdp::SkbProgId(id) => {
                        Some(*id)
                    }
                    _ => None,
                })
                .collect(),
            xdp_in_stack: xdp(message)
                .any(|attribute| matches!(attribute, LinkXdp::Attached(XdpAttached::SocketBuffer))),
            kind: kind(message),
        })
    }

    /// Whether it is one end of a virtual Ethernet pair.
    #[must_use]
    pub fn is_veth(&self) -> bool {
        self.kind == Some(InfoKind::Veth)
    }

    /// Whether packets of a family (`ipv4` or `ipv6`) that come in on it are forwarded; `None` where the kernel does
    /// not say.
    #[must_use]
    pub fn forwards(&self, family: &str) -> Option<bool> {
        let path = Path::new("/proc/sys/net").join(family).join("conf").join(&self.name);
        fs::read_to_string(path.join("forwarding")).ok().map(|text| text.trim() == "1")
    }
}
