//! What drivers can do with XDP, from the kernel: the generic netlink family `netdev` (Linux 6.3 and newer,
//! `Documentation/netlink/specs/netdev.yaml`), for which there is no crate.

use futures_util::TryStreamExt as _;
use genetlink::GenetlinkHandle;
use netlink_packet_core::{
    DecodeError, DefaultNla, Emitable, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload, Nla as _,
    NlasIterator, Parseable as _, ParseableParametrized, parse_u64,
};
use netlink_packet_generic::{GenlFamily, GenlHeader, GenlMessage};

/// `NETDEV_CMD_DEV_GET`.
const DEV_GET: u8 = 1;
/// `NETDEV_A_DEV_IFINDEX` and `NETDEV_A_DEV_XDP_FEATURES`.
const IFINDEX: u16 = 1;
const XDP_FEATURES: u16 = 3;

/// A message about a device: its attributes.
#[derive(Clone, Debug)]
struct Device(Vec<DefaultNla>);

impl GenlFamily for Device {
    fn family_name() -> &'static str {
        "netdev"
    }

    fn command(&self) -> u8 {
        DEV_GET
    }

    fn version(&self) -> u8 {
        1
    }
}

impl Emitable for Device {
    fn buffer_len(&self) -> usize {
        self.0.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.0.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for Device {
    fn parse_with_param(buffer: &[u8], _: GenlHeader) -> Result<Self, DecodeError> {
        let attributes = NlasIterator::new(buffer).map(|nla| DefaultNla::parse(&nla?));
        attributes.collect::<Result<_, _>>().map(Self)
    }
}

/// What a device can do with XDP at the moment, in the flags of `netdev_xdp_act`; `None` where the kernel does not say.
pub(super) async fn xdp_features(netlink: &mut GenetlinkHandle, index: u32) -> Option<u64> {
    let question = Device(vec![DefaultNla::new(IFINDEX, index.to_ne_bytes().to_vec())]);
    let mut message = NetlinkMessage::from(GenlMessage::from_payload(question));
    message.header.flags = NLM_F_REQUEST;
    let mut answers = netlink.request(message).await.ok()?;
    while let Ok(Some(answer)) = answers.try_next().await {
        if let NetlinkPayload::InnerMessage(message) = answer.payload {
            return features(&message.payload.0);
        }
    }
    None
}

fn features(attributes: &[DefaultNla]) -> Option<u64> {
    let attribute = attributes.iter().find(|attribute| attribute.kind() == XDP_FEATURES)?;
    let mut value = vec![0; attribute.value_len()];
    attribute.emit_value(&mut value);
    parse_u64(&value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_read_from_an_answer() {
        let answer = Device(vec![
            DefaultNla::new(IFINDEX, 7_u32.to_ne_bytes().to_vec()),
            DefaultNla::new(XDP_FEATURES, 0x23_u64.to_ne_bytes().to_vec()),
        ]);
        let mut bytes = vec![0; answer.buffer_len()];
        answer.emit(&mut bytes);
        let header = GenlHeader { cmd: DEV_GET, version: 1 };
        let read = Device::parse_with_param(&bytes, header).unwrap();
        assert_eq!(features(&read.0), Some(0x23));
        assert_eq!(features(&[]), None);
    }
}
