//! What holds for all services: the one element of `SETTINGS`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Settings::flags`].
pub mod settings_flags {
    /// Any TCP segment but a reset may open a connection, as with IPVS's sysctl `sloppy_tcp`: to take over the
    /// connections of another balancer.
    pub const SLOPPY_TCP: u32 = 1;
}

/// Settings of the data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Settings {
    /// Time-outs in seconds by state: the TCP states in the order of their numbers, then UDP at
    /// [`UDP`](crate::connection::UDP).
    pub timeouts: [u32; 16],
    /// Full NAT: how many ports are in `PORTS`.
    pub ports: u32,
    /// Slots in `HALF_OPEN4`, and as many in `HALF_OPEN6`.
    pub half_open: u32,
    /// Bits of [`settings_flags`].
    pub flags: u32,
}
