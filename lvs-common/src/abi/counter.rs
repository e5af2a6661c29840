//! Why packets were passed or dropped: the elements of the per-CPU array `COUNTERS`.

/// One counter for each way through the data path that does not end in a redirect. The discriminant
/// is the index in `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Counter {
    /// Passed: not IPv4 (ARP, IPv6, VLAN …).
    NotIpv4 = 0,
    /// Passed: IPv4, but not TCP.
    NotTcp = 1,
    /// Passed: a fragment; the stack reassembles or forwards it.
    Fragment = 2,
    /// Passed: too short or inconsistent to be read as TCP over IPv4.
    Malformed = 3,
    /// Passed: neither of a connection nor addressed to a virtual service.
    NoService = 4,
    /// Passed: addressed to a virtual service, of no connection, and not a SYN.
    NotSyn = 5,
    /// Passed after the rewrite: the stack resolves the neighbour and forwards.
    HandedToStack = 6,
    /// Dropped: the service has no real server to choose.
    NoServer = 7,
    /// Dropped: the table of connections or templates is full.
    TableFull = 8,
    /// Dropped: another live connection uses the same client and server ports.
    TupleInUse = 9,
    /// Dropped: the TTL ends here.
    TtlExpired = 10,
    /// Dropped: no route to the next hop.
    NoRoute = 11,
    /// Dropped: IP forwarding is off on the interface.
    ForwardingDisabled = 12,
    /// Dropped: the way to the client is an interface that is not attached.
    NotAttached = 13,
    /// Dropped: the client's neighbour entry is not resolved yet; the controller was asked to.
    Unresolved = 14,
    /// Dropped: a new connection from an address that no client has (0/8, 127/8, multicast, reserved).
    MartianSource = 15,
    /// Passed: a new connection in a frame for another host, seen because the interface is promiscuous or
    /// the frame is a broadcast.
    OtherHost = 16,
}

impl Counter {
    /// All counters in the order of their index.
    pub const ALL: [Self; 17] = [
        Self::NotIpv4,
        Self::NotTcp,
        Self::Fragment,
        Self::Malformed,
        Self::NoService,
        Self::NotSyn,
        Self::HandedToStack,
        Self::NoServer,
        Self::TableFull,
        Self::TupleInUse,
        Self::TtlExpired,
        Self::NoRoute,
        Self::ForwardingDisabled,
        Self::NotAttached,
        Self::Unresolved,
        Self::MartianSource,
        Self::OtherHost,
    ];

    /// Its name in logs and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIpv4 => "pass-not-ipv4",
            Self::NotTcp => "pass-not-tcp",
            Self::Fragment => "pass-fragment",
            Self::Malformed => "pass-malformed",
            Self::NoService => "pass-no-service",
            Self::NotSyn => "pass-not-syn",
            Self::HandedToStack => "pass-handed-to-stack",
            Self::NoServer => "drop-no-server",
            Self::TableFull => "drop-table-full",
            Self::TupleInUse => "drop-tuple-in-use",
            Self::TtlExpired => "drop-ttl-expired",
            Self::NoRoute => "drop-no-route",
            Self::ForwardingDisabled => "drop-forwarding-disabled",
            Self::NotAttached => "drop-not-attached",
            Self::Unresolved => "drop-unresolved",
            Self::MartianSource => "drop-martian-source",
            Self::OtherHost => "pass-other-host",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_lists_every_counter_at_its_index() {
        for (index, counter) in Counter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, index, "{}", counter.name());
        }
    }
}
