//! What listings show of the virtual services (`CATALOGUE`): the controller writes it for whoever reads the pinned maps,
//! the data path never looks at it. The service tables alone would not do: a firewall mark has many keys there, and may
//! have taken the only key of another service.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Service;

/// Bits of [`Catalogued::flags`].
pub mod catalogue_flags {
    /// The service is of IPv6.
    pub const IPV6: u8 = 1;
    /// `flag-3` of a scheduler, which none reads (`IP_VS_SVC_F_SCHED3`).
    pub const FLAG_3: u8 = 2;
}

/// A virtual service with its name: the value of `CATALOGUE` under [`Service::id`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Catalogued {
    /// The same as in the service tables.
    pub service: Service,
    /// The virtual address, as on the wire, IPv4 in the first four bytes; zeros with a firewall mark.
    pub address: [u8; 16],
    /// The firewall mark, or 0.
    pub mark: u32,
    /// The virtual port, host order; 0 for all of them, and with a firewall mark.
    pub port: u16,
    /// IP protocol number; 0 with a firewall mark.
    pub protocol: u8,
    /// Bits of [`catalogue_flags`].
    pub flags: u8,
}
