//! The steps of an input. Each has eight bytes, so that a fuzzer can change, repeat and exchange them:
//!
//! | byte | meaning |
//! |---|---|
//! | 0 | the action, in the order of [`Action`] |
//! | 1 | bit 0: IPv6; 1: full NAT; 2 and 3: kind of service; 4: the second client; 5: comes in on the servers' side |
//! | 2 | client port and other small numbers |
//! | 3 | TCP flags, or which of several |
//! | 4 | length of the payload |
//! | 5 | TTL, 0 for 64 |
//! | 6 | bits 0 and 1: VLAN tags; 2: no UDP checksum; 3: large; 4: don't fragment; 5: IP options; 4 to 7: which fragment |
//! | 7 | which entry of the connection table; which byte is damaged; how many raw bytes follow |

use crate::host::sample::{Kind, Method};

/// What happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A client's packet to a service.
    Request,
    /// A packet that an entry of the connection table is for.
    Entry,
    /// An ICMP error about a packet of a connection.
    Error,
    /// A fragment of a client's packet.
    RequestFragment,
    /// A fragment of a packet of a connection.
    EntryFragment,
    /// A client's packet with a byte changed.
    DamagedRequest,
    /// A packet of a connection with a byte changed.
    DamagedEntry,
    /// An ICMP error with a byte changed.
    DamagedError,
    /// The bytes that follow.
    Raw,
    /// A while.
    Milliseconds,
    /// A long while.
    Seconds,
    /// The controller collects what is over.
    Collect,
    /// A way changes.
    Route,
    /// A service loses or gets servers.
    Members,
    /// The connection table takes no more than so many entries.
    Capacity,
    /// Settings change.
    Settings,
}

impl Action {
    const ALL: [Self; 16] = [
        Self::Request,
        Self::Entry,
        Self::Error,
        Self::RequestFragment,
        Self::EntryFragment,
        Self::DamagedRequest,
        Self::DamagedEntry,
        Self::DamagedError,
        Self::Raw,
        Self::Milliseconds,
        Self::Seconds,
        Self::Collect,
        Self::Route,
        Self::Members,
        Self::Capacity,
        Self::Settings,
    ];
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) action: Action,
    who: u8,
    pub(super) port: u8,
    pub(super) flags: u8,
    pub(super) length: u8,
    pub(super) ttl: u8,
    pub(super) variant: u8,
    pub(super) place: u8,
}

impl Step {
    /// The next step, the raw bytes that belong to it, and the rest.
    pub(super) fn read(data: &[u8]) -> Option<(Self, &[u8], &[u8])> {
        let (&[action, who, port, flags, length, ttl, variant, place], rest) =
            data.split_first_chunk()?;
        let action = *Action::ALL.get(usize::from(action) % Action::ALL.len())?;
        let raw = if action == Action::Raw { usize::from(place).min(rest.len()) } else { 0 };
        let (raw, rest) = rest.split_at_checked(raw)?;
        Some((Self { action, who, port, flags, length, ttl, variant, place }, raw, rest))
    }

    pub(super) const fn over_ipv6(self) -> bool {
        self.who & 1 != 0
    }

    pub(super) const fn method(self) -> Method {
        if self.who & 2 == 0 { Method::Nat } else { Method::FullNat }
    }

    pub(super) const fn kind(self) -> Kind {
        let [tcp, persistent, udp, one_packet] = Kind::ALL;
        match self.who >> 2 & 3 {
            0 => tcp,
            1 => persistent,
            2 => udp,
            _ => one_packet,
        }
    }

    pub(super) const fn second_client(self) -> bool {
        self.who & 16 != 0
    }

    pub(super) const fn on_server_side(self) -> bool {
        self.who & 32 != 0
    }

    /// A larger number.
    pub(super) const fn word(self) -> u16 {
        u16::from_be_bytes([self.port, self.flags])
    }
}
