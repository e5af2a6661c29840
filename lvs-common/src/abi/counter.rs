//! Why packets were passed or dropped: the elements of the per-CPU array `COUNTERS`.

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fate {
    /// Packets that went to the stack.
    Passed,
    /// Packets that went nowhere.
    Dropped,
    /// Something that happened beside a packet's own fate.
    Noted,
}

/// One counter for each way through the data path that does not end in a redirect. The discriminant
/// is the index in `COUNTERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Counter {
    /// Passed: neither IPv4 nor IPv6 (ARP and others).
    NotIp = 0,
    /// Passed: neither TCP nor UDP nor an ICMP error about one of them.
    OtherProtocol = 1,
    /// Passed: IPv6 with an extension header other than that of fragments.
    ExtensionHeader = 2,
    /// Passed: a fragment whose datagram's first one has not passed here: not ours, or too early.
    Fragment = 3,
    /// Passed: too short or inconsistent to be read.
    Malformed = 4,
    /// Passed: neither of a connection nor addressed to a virtual service.
    NoService = 5,
    /// Passed: addressed to a virtual service, of no connection, and not a SYN.
    NotSyn = 6,
    /// Passed: a new connection in a frame for another host, seen because the interface is promiscuous or
    /// the frame is a broadcast.
    OtherHost = 7,
    /// Passed: rewritten; the stack resolves the neighbour, or cuts the packet in fragments, and forwards.
    HandedToStack = 8,
    /// Dropped: the service has no real server to choose; the client gets a port unreachable.
    NoServer = 9,
    /// Dropped: the table of connections or templates is full.
    TableFull = 10,
    /// Dropped: another live connection uses the same client and server ports.
    TupleInUse = 11,
    /// Dropped: full NAT found no free source port towards the server.
    NoPort = 12,
    /// Dropped: full NAT, and the interface towards the server has no address of the family.
    NoLocalAddress = 13,
    /// Dropped: the TTL or hop limit ends here; the sender gets a time exceeded.
    TtlExpired = 14,
    /// Dropped: longer than the next link takes; the sender gets a fragmentation needed or packet too big.
    TooBig = 15,
    /// Dropped: no route to the next hop.
    NoRoute = 16,
    /// Dropped: IP forwarding is off on the interface.
    ForwardingDisabled = 17,
    /// Dropped: the way out is an interface that is not attached.
    NotAttached = 18,
    /// Dropped: the neighbour is not resolved yet; the controller was asked to see to it.
    Unresolved = 19,
    /// Dropped: a new connection from an address that no client has.
    MartianSource = 20,
    /// Dropped: a part of the data path is missing or has failed; never seen in a sound installation.
    Internal = 21,
    /// Noted: a half-open connection has given its place to a newer one.
    HalfOpenEvicted = 22,
    /// Noted: an ICMP error was sent.
    ErrorSent = 23,
    /// Noted: an ICMP error was not sent because of its rate limit.
    ErrorLimited = 24,
    /// Passed: a tagged frame on an interface with VLAN devices, one of which takes it.
    VlanDevice = 25,
    /// Dropped: the connection's real server was removed; should it come back, the connection goes on.
    ServerGone = 26,
}

impl Counter {
    /// All counters in the order of their index.
    pub const ALL: [Self; 27] = [
        Self::NotIp,
        Self::OtherProtocol,
        Self::ExtensionHeader,
        Self::Fragment,
        Self::Malformed,
        Self::NoService,
        Self::NotSyn,
        Self::OtherHost,
        Self::HandedToStack,
        Self::NoServer,
        Self::TableFull,
        Self::TupleInUse,
        Self::NoPort,
        Self::NoLocalAddress,
        Self::TtlExpired,
        Self::TooBig,
        Self::NoRoute,
        Self::ForwardingDisabled,
        Self::NotAttached,
        Self::Unresolved,
        Self::MartianSource,
        Self::Internal,
        Self::HalfOpenEvicted,
        Self::ErrorSent,
        Self::ErrorLimited,
        Self::VlanDevice,
        Self::ServerGone,
    ];

    /// What becomes of the packets that it counts.
    #[inline(always)]
    #[must_use]
    pub const fn fate(self) -> Fate {
        match self {
            Self::NotIp
            | Self::OtherProtocol
            | Self::ExtensionHeader
            | Self::Fragment
            | Self::Malformed
            | Self::NoService
            | Self::NotSyn
            | Self::OtherHost
            | Self::HandedToStack
            | Self::VlanDevice => Fate::Passed,
            Self::NoServer
            | Self::ServerGone
            | Self::TableFull
            | Self::TupleInUse
            | Self::NoPort
            | Self::NoLocalAddress
            | Self::TtlExpired
            | Self::TooBig
            | Self::NoRoute
            | Self::ForwardingDisabled
            | Self::NotAttached
            | Self::Unresolved
            | Self::MartianSource
            | Self::Internal => Fate::Dropped,
            Self::HalfOpenEvicted | Self::ErrorSent | Self::ErrorLimited => Fate::Noted,
        }
    }

    /// Its name in logs and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotIp => "pass-not-ip",
            Self::OtherProtocol => "pass-other-protocol",
            Self::ExtensionHeader => "pass-extension-header",
            Self::Fragment => "pass-fragment",
            Self::Malformed => "pass-malformed",
            Self::NoService => "pass-no-service",
            Self::NotSyn => "pass-not-syn",
            Self::OtherHost => "pass-other-host",
            Self::HandedToStack => "pass-handed-to-stack",
            Self::NoServer => "drop-no-server",
            Self::TableFull => "drop-table-full",
            Self::TupleInUse => "drop-tuple-in-use",
            Self::NoPort => "drop-no-port",
            Self::NoLocalAddress => "drop-no-local-address",
            Self::TtlExpired => "drop-ttl-expired",
            Self::TooBig => "drop-too-big",
            Self::NoRoute => "drop-no-route",
            Self::ForwardingDisabled => "drop-forwarding-disabled",
            Self::NotAttached => "drop-not-attached",
            Self::Unresolved => "drop-unresolved",
            Self::MartianSource => "drop-martian-source",
            Self::Internal => "drop-internal",
            Self::HalfOpenEvicted => "note-half-open-evicted",
            Self::ErrorSent => "note-error-sent",
            Self::ErrorLimited => "note-error-limited",
            Self::VlanDevice => "pass-vlan-device",
            Self::ServerGone => "drop-server-gone",
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

    #[test]
    fn the_name_tells_the_fate() {
        for counter in Counter::ALL {
            let head = match counter.fate() {
                Fate::Passed => "pass-",
                Fate::Dropped => "drop-",
                Fate::Noted => "note-",
            };
            assert!(counter.name().starts_with(head), "{}", counter.name());
        }
    }
}
