//! Offloads and queues of an interface, as `ethtool -k` and `-l` show them.

use std::collections::BTreeSet;

use ::ethtool::{
    EthtoolAttr, EthtoolChannelAttr, EthtoolFeatureAttr, EthtoolHandle, EthtoolMessage,
};
use futures_util::TryStreamExt as _;

/// The offloads that are on, by the kernel's names; none where the interface has no such thing.
pub(super) async fn features(ethtool: &mut EthtoolHandle, name: &str) -> BTreeSet<String> {
    let mut on = BTreeSet::new();
    let Ok(answers) = ethtool.feature().get(Some(name)).execute().await else { return on };
    let mut answers = std::pin::pin!(answers);
    while let Ok(Some(message)) = answers.try_next().await {
        let EthtoolMessage { nlas, .. } = message.payload;
        for attribute in nlas {
            if let EthtoolAttr::Feature(EthtoolFeatureAttr::Active(bits)) = attribute {
                on.extend(bits.into_iter().filter(|bit| bit.value).map(|bit| bit.name));
            }
        }
    }
    on
}

/// Queues for reception, in use and possible: those for both directions, or for this one.
pub(super) async fn queues(ethtool: &mut EthtoolHandle, name: &str) -> Option<(u32, u32)> {
    let answers = ethtool.channel().get(Some(name)).execute().await.ok()?;
    let mut answers = std::pin::pin!(answers);
    let (mut used, mut most) = (0, 0);
    while let Ok(Some(message)) = answers.try_next().await {
        for attribute in message.payload.nlas {
            match attribute {
                EthtoolAttr::Channel(
                    EthtoolChannelAttr::CombinedCount(count) | EthtoolChannelAttr::RxCount(count),
                ) => used += count,
                EthtoolAttr::Channel(EthtoolChannelAttr::CombinedMax(count)) => most += count,
                _ => {}
            }
        }
    }
    (used > 0 && most > 0).then_some((used, most))
}
