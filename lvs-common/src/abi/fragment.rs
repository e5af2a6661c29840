//! Fragments (`FRAGMENTS4`, `FRAGMENTS6`): the ports that only a datagram's first fragment carries.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{V4, V6};

/// What the fragments of one datagram have in common (RFC 791, RFC 8200 section 4.5): the key of the fragment
/// tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(4))]
pub struct FragmentKey<A> {
    /// Source address as on the wire.
    pub source: A,
    /// Destination address as on the wire.
    pub destination: A,
    /// The datagram's identification, as on the wire.
    pub identification: u32,
    /// IP protocol number of what is fragmented.
    pub protocol: u32,
}

/// What the first fragment has told: the value of the fragment tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Fragment {
    /// When the first fragment passed, in ns.
    pub seen: u64,
    /// Source port, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub destination_port: u16,
    /// Always zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<FragmentKey<V4>>() == 16);
const _: () = assert!(size_of::<FragmentKey<V6>>() == 40);
