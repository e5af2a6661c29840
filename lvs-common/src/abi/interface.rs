//! The host's network as the data path needs it: attached interfaces (`INTERFACES`) and the neighbours in use
//! (`NEIGHBOURS4`, `NEIGHBOURS6`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Bits of [`Interface::flags`].
pub mod interface_flags {
    /// There are VLAN devices on it: frames with tags are theirs.
    pub const VLAN_DEVICES: u16 = 1;
}

/// An attached interface: the value of `INTERFACES`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(4))]
pub struct Interface {
    /// Its MAC address.
    pub mac: [u8; 6],
    /// Bits of [`interface_flags`].
    pub flags: u16,
    /// Its first IPv4 address, or zeros.
    pub address4: [u8; 4],
    /// Its first global IPv6 address, or zeros.
    pub address6: [u8; 16],
}

/// Values in the neighbour tables.
pub mod neighbour_state {
    /// In use; the kernel should confirm from time to time that it is still there.
    pub const IN_USE: u32 = 0;
    /// Wanted, and not resolved.
    pub const UNRESOLVED: u32 = 1;
}

/// A neighbour that the data path sends to: the key of the neighbour tables. The value is a number of
/// [`neighbour_state`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(4))]
pub struct Neighbour<A> {
    /// Its address, as on the wire.
    pub address: A,
    /// The interface on whose link it is.
    pub interface: u32,
}
