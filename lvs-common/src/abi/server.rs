//! Real servers (`SERVERS`) and their counts (`STATISTICS`); both indexed by the server's id.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Server::flags`].
pub mod server_flags {
    /// The slot is in use; without it the server has been removed.
    pub const AVAILABLE: u16 = 1;
}

/// A real server of one service: an element of `SERVERS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Server {
    /// Address, as on the wire.
    pub address: [u8; 4],
    /// Port, host order.
    pub port: u16,
    /// Bits of [`server_flags`].
    pub flags: u16,
    /// Weight; 0 takes no new connections but those of persistent clients.
    pub weight: u32,
    /// [`Service::id`](super::Service::id) of the service that it belongs to.
    pub service: u32,
}

/// What one CPU has counted for a server: an element of the per-CPU array `STATISTICS`. Bytes are
/// those of the IP packets, as in IPVS.
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
