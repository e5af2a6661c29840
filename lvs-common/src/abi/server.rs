//! Real servers (`SERVERS`), their connections (`LOADS`) and counts (`STATISTICS`), all indexed by the server's
//! id.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Server::flags`].
pub mod server_flags {
    /// The slot is in use; without it the server has been removed.
    pub const AVAILABLE: u16 = 1;
    /// The address is IPv6.
    pub const IPV6: u16 = 2;
    /// No lower threshold is asked for: [`Server::lower`](super::Server::lower) is the default.
    pub const DEFAULT_LOWER: u16 = 4;
}

/// A real server of one service: an element of `SERVERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Server {
    /// Address, as on the wire; IPv4 in the first four bytes.
    pub address: [u8; 16],
    /// Port, host order.
    pub port: u16,
    /// Bits of [`server_flags`].
    pub flags: u16,
    /// Weight; 0 takes no new connections but those of persistent clients.
    pub weight: u32,
    /// [`Service::id`](super::Service::id) of the service that it belongs to.
    pub service: u32,
    /// Upper threshold: with so many connections the server is overloaded; 0 for none.
    pub upper: u32,
    /// Lower threshold: with fewer connections it is no longer; never 0 where the upper one is not
    /// ([`default_lower`](Self::default_lower)).
    pub lower: u32,
    /// [`Service::granularity`](super::Service::granularity) of its service.
    pub granularity: u32,
}

impl Server {
    /// None at all.
    pub const NONE: Self = Self {
        address: [0; 16],
        port: 0,
        flags: 0,
        weight: 0,
        service: 0,
        upper: 0,
        lower: 0,
        granularity: 0,
    };

    /// [`lower`](Self::lower) where none is asked for: three quarters of the upper threshold, rounded up.
    #[must_use]
    pub const fn default_lower(upper: u32) -> u32 {
        upper - upper / 4
    }
}

/// The connections of a server, shared by all CPUs: an element of `LOADS`. The first two fields change by one
/// atomic addition to the 64 bits that they are, so that a connection is never counted in neither or both.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct Load {
    /// Connections in the other states, and all of UDP (ipvsadm's `InActConn`).
    pub inactive: u32,
    /// Connections in `ESTABLISHED`, `SYN_SENT`, `SYN_RECV` and `SYNACK` (ipvsadm's `ActiveConn`).
    pub active: u32,
    /// The upper threshold that the server has reached; 0 while it is not overloaded.
    pub overload: u32,
    /// Always zero.
    pub reserved: u32,
    /// Full NAT: how many source ports have been asked for; the next search starts there.
    pub port_cursor: u64,
}

impl Load {
    /// What one inactive connection adds to the 64 bits.
    pub const INACTIVE: u64 = 1;
    /// What one active connection adds.
    pub const ACTIVE: u64 = 1 << 32;

    /// All connections that the first 64 bits count.
    #[inline(always)]
    #[must_use]
    pub const fn total(counts: u64) -> u32 {
        (counts as u32).wrapping_add((counts >> 32) as u32)
    }
}

/// What one CPU has counted for a server: an element of the per-CPU array `STATISTICS`. Bytes are
/// those of the IP packets, as in IPVS. A service's counts are the sums over its servers.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Statistics {
    /// Connections scheduled to the server.
    pub connections: u64,
    /// Packets from clients.
    pub in_packets: u64,
    /// Bytes from clients.
    pub in_bytes: u64,
    /// Packets to clients.
    pub out_packets: u64,
    /// Bytes to clients.
    pub out_bytes: u64,
}
