//! How the model looks in JSON where the derived form would not do.

use std::{ops::RangeInclusive, time::Duration};

use serde::{Serialize, Serializer};

use super::{super::addresses::AddressRange, Family, Protocol, Scheduler};

/// In seconds.
pub(super) fn seconds<S: Serializer>(time: &Duration, out: S) -> Result<S::Ok, S::Error> {
    out.serialize_f64(time.as_secs_f64())
}

/// As `200-299`.
pub(super) fn ranges<S: Serializer>(
    ranges: &[RangeInclusive<u16>],
    out: S,
) -> Result<S::Ok, S::Error> {
    out.collect_seq(ranges.iter().map(|range| format!("{}-{}", range.start(), range.end())))
}

/// In hexadecimal digits.
#[expect(clippy::ref_option, reason = "serde gives the field as it is")]
pub(super) fn hex<S: Serializer>(bytes: &Option<[u8; 16]>, out: S) -> Result<S::Ok, S::Error> {
    bytes.map(|bytes| format!("{:032x}", u128::from_be_bytes(bytes))).serialize(out)
}

macro_rules! as_shown {
    ($($type:ty),*) => {$(
        /// As it is written.
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }
    )*};
}

as_shown!(Family, Protocol, Scheduler, AddressRange);
