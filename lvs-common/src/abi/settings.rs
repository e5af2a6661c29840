//! What holds for all services: the one element of `SETTINGS`, and that of `CLOCK`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Settings::flags`].
pub mod settings_flags {
    /// Any TCP segment but a reset may open a connection, as with IPVS's sysctl `sloppy_tcp`: to take over the
    /// connections of another balancer.
    pub const SLOPPY_TCP: u32 = 1;
    /// Packets of a connection whose server was removed end it, instead of being dropped until the server comes back
    /// (sysctl `expire_nodest_conn`).
    pub const EXPIRE_NODEST: u32 = 2;
    /// A template whose server has weight 0 has ended (sysctl `expire_quiescent_template`).
    pub const EXPIRE_QUIESCENT: u32 = 4;
    /// There are services that take all ports of an address.
    pub const ALL_PORTS: u32 = 8;
    /// There are services by firewall mark, which the TC program finds by the packet's own mark too.
    pub const MARKS: u32 = 16;
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

/// The clock that the times in the tables are of, and `CLOCK_MONOTONIC` at the same moment, as they were when the
/// controller last had them read. Both go at the same pace; the difference is the same until the next boot.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Clock {
    /// The data path's clock in ns: the kernel's jiffies times their length.
    pub now: u64,
    /// `CLOCK_MONOTONIC` in ns.
    pub monotonic: u64,
}
