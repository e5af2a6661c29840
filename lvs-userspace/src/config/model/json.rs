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
pub(super) fn hex<S: Serializer>(bytes: &Option<[u8; 16]>, out: S) -> Result<S::Ok, S::Error> {
    bytes
        .map(|bytes| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        .serialize(out)
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
