//! What the data path has counted.

use std::ops::{Add, Sub};

use lvs_common::abi::{Counter, Statistics};
use serde::Serialize;

use crate::bpf::{Error, PinnedMaps};

/// What was counted for a server or a service, over all CPUs. Bytes are those of the IP packets, as in IPVS. As a rate the
/// same per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Connections scheduled.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}

impl Counts {
    fn with(self, other: Self, of: impl Fn(u64, u64) -> u64) -> Self {
        Self {
            connections: of(self.connections, other.connections),
            in_packets: of(self.in_packets, other.in_packets),
            out_packets: of(self.out_packets, other.out_packets),
            in_bytes: of(self.in_bytes, other.in_bytes),
            out_bytes: of(self.out_bytes, other.out_bytes),
        }
    }

    /// The same as a rate, if that is what came in so many milliseconds.
    #[must_use]
    pub fn per_second(self, milliseconds: u64) -> Self {
        self.with(self, |count, _| per_second(count, milliseconds))
    }
}

/// So many in so many milliseconds, as a rate per second, rounded.
pub(super) fn per_second(count: u64, milliseconds: u64) -> u64 {
    let milliseconds = milliseconds.max(1);
    count.saturating_mul(1000).saturating_add(milliseconds / 2) / milliseconds
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.with(other, u64::wrapping_add)
    }
}

/// What has come since. Less than there was means that the counts were zeroed.
impl Sub for Counts {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.with(other, u64::saturating_sub)
    }
}

/// The counts of so many servers, by id.
pub(super) fn counts(maps: &PinnedMaps, servers: usize) -> Result<Vec<Counts>, Error> {
    maps.statistics.read(servers, |cpus| {
        cpus.iter().fold(Counts::default(), |sum, cpu| {
            let Statistics { connections, in_packets, in_bytes, out_packets, out_bytes } = *cpu;
            sum + Counts { connections, in_packets, out_packets, in_bytes, out_bytes }
        })
    })
}

/// Packets by what became of them, where it was not to be sent on: all counters, over all CPUs.
pub fn counters(maps: &PinnedMaps) -> Result<Vec<(Counter, u64)>, Error> {
    let count = |counter: Counter| {
        let cpus = maps.counters.get(&(counter as u32), 0);
        let cpus = cpus.map_err(|source| Error::Map { map: "COUNTERS", source })?;
        Ok((counter, cpus.iter().fold(0_u64, |sum, cpu| sum.wrapping_add(*cpu))))
    };
    Counter::ALL.into_iter().map(count).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_rounded_and_never_negative() {
        let counts = |connections| Counts { connections, ..Counts::default() };
        assert_eq!((counts(7) - counts(2)).per_second(2000), counts(3));
        assert_eq!((counts(2) - counts(7)).per_second(1000), counts(0));
        assert_eq!(counts(u64::MAX).per_second(0).connections, u64::MAX);
    }
}
