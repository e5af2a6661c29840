//! Whether maps that are pinned are what this program's object asks for. aya opens a pinned map without a look at it.

use std::{fmt::Debug, path::Path};

use aya::{Pod, maps::MapInfo};
use aya_obj::Object;
use lvs_common::abi::{
    ABI_VERSION, Counter, Destination, DestinationKey, Flow, Fragment, FragmentKey, Identity,
    Interface, LedgerHead, Load, Neighbour, Place, Run, SchedulerState, Server, Service,
    ServiceKey, Settings, Statistics, Template, TemplateKey, Tuple, V4, V6,
};

use super::{Error, error::chain, maps, object, sys};

/// A number that is another one when any layout is: it goes by the version of the ABI, the size of each type, and the
/// names, order and widths of its fields, which are all in how a value of all ones is written for people.
pub(super) fn fingerprint() -> u64 {
    let mut hash = Fnv::new();
    hash.add(&format!("{ABI_VERSION} {:?}", Counter::ALL));
    describe::<Tuple<V4>>(&mut hash);
    describe::<Tuple<V6>>(&mut hash);
    describe::<Flow<V4>>(&mut hash);
    describe::<Flow<V6>>(&mut hash);
    describe::<ServiceKey<V4>>(&mut hash);
    describe::<ServiceKey<V6>>(&mut hash);
    describe::<TemplateKey<V4>>(&mut hash);
    describe::<TemplateKey<V6>>(&mut hash);
    describe::<FragmentKey<V4>>(&mut hash);
    describe::<FragmentKey<V6>>(&mut hash);
    describe::<Neighbour<V4>>(&mut hash);
    describe::<Neighbour<V6>>(&mut hash);
    describe::<Destination>(&mut hash);
    describe::<DestinationKey>(&mut hash);
    describe::<Fragment>(&mut hash);
    describe::<Identity>(&mut hash);
    describe::<Interface>(&mut hash);
    describe::<LedgerHead>(&mut hash);
    describe::<Load>(&mut hash);
    describe::<Place>(&mut hash);
    describe::<Run>(&mut hash);
    describe::<SchedulerState>(&mut hash);
    describe::<Server>(&mut hash);
    describe::<Service>(&mut hash);
    describe::<Settings>(&mut hash);
    describe::<Statistics>(&mut hash);
    describe::<Template>(&mut hash);
    // 0 stands for maps that have not been filled.
    hash.0.max(1)
}

fn describe<T: Pod + Debug>(hash: &mut Fnv) {
    hash.add(&format!("{} {:?}", size_of::<T>(), sys::ones::<T>()));
}

/// The hash FNV-1a, the same in every build.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// Compares the maps that are pinned in a directory with those of the object, some of which have another number of entries
/// than the object says; `None` for any number. The error says what differs and what to do.
pub(super) fn check(
    directory: &Path,
    entries: &[(&'static str, Option<u32>)],
) -> Result<(), Error> {
    let object = Object::parse(object::bytes()?).map_err(|error| Error::Object(chain(&error)))?;
    for name in maps::NAMES {
        let wanted = object.maps.get(name).ok_or_else(|| Error::no_map(name))?;
        let refuse = |reason: String| Error::Layout { path: directory.to_owned(), reason };
        let info = MapInfo::from_pin(directory.join(name)).map_err(|error| {
            refuse(format!("the map {name} cannot be opened: {}", chain(&error)))
        })?;
        let kind = info.map_type().map_err(|error| refuse(chain(&error)))? as u32;
        let entries = entries.iter().find(|(map, _)| *map == name);
        let entries = entries.map_or(Some(wanted.max_entries()), |(_, entries)| *entries);
        for (what, is, wanted) in [
            ("type", kind, Some(wanted.map_type())),
            ("size of keys", info.key_size(), Some(wanted.key_size())),
            ("size of values", info.value_size(), Some(wanted.value_size())),
            ("flags", info.map_flags(), Some(wanted.map_flags())),
        ] {
            if wanted.is_some_and(|wanted| wanted != is) {
                let wanted = wanted.unwrap_or_default();
                return Err(refuse(format!(
                    "the map {name} has another {what} ({is}, not {wanted})"
                )));
            }
        }
        if let Some(wanted) = entries.filter(|wanted| *wanted != info.max_entries()) {
            return Err(Error::Room { map: name, is: info.max_entries(), wanted });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_layout_shows_in_what_is_hashed() {
        #[derive(Clone, Copy, Debug)]
        #[expect(dead_code, reason = "only written for people")]
        struct One {
            port: u16,
            weight: u16,
        }
        #[derive(Clone, Copy, Debug)]
        #[expect(dead_code, reason = "only written for people")]
        struct Other {
            weight: u16,
            port: u16,
        }
        let text = format!("{:?}", [sys::ones::<u16>()]);
        assert_eq!(text, "[65535]");
        assert_ne!(
            format!("{:?}", One { port: u16::MAX, weight: u16::MAX }),
            format!("{:?}", Other { weight: u16::MAX, port: u16::MAX })
        );
        assert_eq!(fingerprint(), fingerprint());
        assert!(format!("{:?}", sys::ones::<Place>()).contains("last_weight: 4294967295"));
    }
}
