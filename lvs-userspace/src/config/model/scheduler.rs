//! Schedulers.

use std::fmt;

use serde::Serialize;

/// A way to choose the real server of a new connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheduler {
    /// `rr`: one after the other.
    RoundRobin,
    /// `wrr`: one after the other, as often as their weights say.
    WeightedRoundRobin,
    /// `lc`: the one with the fewest connections.
    LeastConnections,
    /// `wlc`: the one with the fewest connections for its weight.
    WeightedLeastConnections,
    /// `sh`: by a table that the client's address points into.
    SourceHash,
    /// `dh`: by a table that the service's address points into.
    DestinationHash,
    /// `lblc`: the one that the destination had last, unless it is overloaded.
    LocalityLeastConnections,
    /// `lblcr`: the least loaded of those that the destination had.
    LocalityLeastConnectionsReplicated,
    /// `sed`: the one that would have the fewest active connections for its weight with this one.
    ShortestExpectedDelay,
    /// `nq`: one without active connections, else as `sed`.
    NeverQueue,
    /// `mh`: as `sh`, by a Maglev table, which changes little when servers come and go.
    MaglevHash,
    /// `fo`: the one with the greatest weight.
    Failover,
    /// `ovf`: the one with the greatest weight that has no more active connections than that.
    Overflow,
    /// `twos`: the less loaded of two at random.
    TwoChoices,
}

/// The flags of a scheduler that reads them: `sh` and `mh` the first two, none the third.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
pub struct SchedulerFlags {
    /// `sh-fallback`, `mh-fallback`, `flag-1`: another server takes the place of one that takes no connections.
    pub fallback: bool,
    /// `sh-port`, `mh-port`, `flag-2`: the client's port counts as well.
    pub port: bool,
    /// `flag-3`.
    pub flag_3: bool,
}

impl Scheduler {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::RoundRobin,
        Self::WeightedRoundRobin,
        Self::LeastConnections,
        Self::WeightedLeastConnections,
        Self::SourceHash,
        Self::DestinationHash,
        Self::LocalityLeastConnections,
        Self::LocalityLeastConnectionsReplicated,
        Self::ShortestExpectedDelay,
        Self::NeverQueue,
        Self::MaglevHash,
        Self::Failover,
        Self::Overflow,
        Self::TwoChoices,
    ];
}

/// IPVS's name.
impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::RoundRobin => "rr",
            Self::WeightedRoundRobin => "wrr",
            Self::LeastConnections => "lc",
            Self::WeightedLeastConnections => "wlc",
            Self::SourceHash => "sh",
            Self::DestinationHash => "dh",
            Self::LocalityLeastConnections => "lblc",
            Self::LocalityLeastConnectionsReplicated => "lblcr",
            Self::ShortestExpectedDelay => "sed",
            Self::NeverQueue => "nq",
            Self::MaglevHash => "mh",
            Self::Failover => "fo",
            Self::Overflow => "ovf",
            Self::TwoChoices => "twos",
        })
    }
}
