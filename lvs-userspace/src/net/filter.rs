//! Where a BPF filter sits at the ingress hook of an interface, on kernels that have no tcx: the kernel does not know such
//! a filter by its program, but by a priority and a handle (`tc-bpf(8)`, `net/sched/cls_bpf.c`).

use std::collections::BTreeMap;

use futures_util::TryStreamExt as _;
use netlink_packet_route::tc::{TcAttribute, TcFilterBpfOption, TcMessage, TcOption};
use rtnetlink::Handle;

use super::Interface;

/// The place of a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    /// The lower, the earlier it comes.
    pub priority: u16,
    /// Tells filters of one priority apart.
    pub handle: u32,
}

/// The filters with a program of this name, by interface index. Interfaces without a queueing discipline for it have none.
pub(crate) async fn filters(
    netlink: &Handle,
    interfaces: &[Interface],
    program: &str,
) -> BTreeMap<u32, Filter> {
    let mut found = BTreeMap::new();
    for interface in interfaces {
        let Ok(index) = i32::try_from(interface.index) else { continue };
        let mut messages = netlink.traffic_filter(index).get().ingress().execute();
        while let Ok(Some(message)) = messages.try_next().await {
            if let Some(filter) = of_program(&message, program) {
                found.insert(interface.index, filter);
            }
        }
    }
    found
}

/// The place that a message tells of, if it is that of a filter with this program.
fn of_program(message: &TcMessage, program: &str) -> Option<Filter> {
    let names = message.attributes.iter().any(|attribute| {
        let TcAttribute::Options(options) = attribute else { return false };
        options.iter().any(|option| {
            matches!(option, TcOption::Bpf(TcFilterBpfOption::ProgName(name)) if name == program)
        })
    });
    // The priority is the upper half of the field, the protocol the lower one.
    let priority = u16::try_from(message.header.info >> 16).ok()?;
    names.then(|| Filter { priority, handle: message.header.handle.into() })
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::tc::TcHandle;

    use super::*;

    fn message(name: &str) -> TcMessage {
        let mut message = TcMessage::default();
        message.header.info = 7 << 16 | 0x0300;
        message.header.handle = TcHandle::from(3);
        let name = TcOption::Bpf(TcFilterBpfOption::ProgName(name.to_owned()));
        message.attributes =
            vec![TcAttribute::Kind("bpf".to_owned()), TcAttribute::Options(vec![name])];
        message
    }

    #[test]
    fn a_filter_is_known_by_the_name_of_its_program() {
        let ours = Some(Filter { priority: 7, handle: 3 });
        assert_eq!(of_program(&message("xlvs_tc"), "xlvs_tc"), ours);
        assert_eq!(of_program(&message("others"), "xlvs_tc"), None);
        assert_eq!(of_program(&TcMessage::default(), "xlvs_tc"), None);
    }
}
