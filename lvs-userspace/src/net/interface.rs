//! Network interfaces by name.

use std::{collections::HashSet, fs, path::Path};

use anyhow::{Context as _, bail};
use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::Handle;

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

/// Opens a netlink socket in the current network namespace.
pub fn connect() -> anyhow::Result<Handle> {
    let (connection, handle, _) =
        rtnetlink::new_connection().context("cannot open a netlink socket")?;
    tokio::spawn(connection);
    Ok(handle)
}

impl Interface {
    /// Looks an interface up.
    pub async fn find(netlink: &Handle, name: &str) -> anyhow::Result<Self> {
        let found = netlink.link().get().match_name(name.to_owned()).execute().try_next().await;
        match found {
            Ok(Some(message)) => Self::from_message(name, &message),
            Ok(None) => {
                bail!("no interface `{name}`; `ip -br link` lists those in this network namespace")
            }
            Err(rtnetlink::Error::NetlinkError(error))
                if error.raw_code() == -libc::ENODEV || error.raw_code() == -libc::ERANGE =>
            {
                bail!("no interface `{name}`; `ip -br link` lists those in this network namespace")
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
