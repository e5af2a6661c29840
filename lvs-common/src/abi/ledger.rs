//! What the controller must know to go on with maps that another one has written (`LEDGER`, `IDENTITIES`, `PLACES`), and
//! what listings show of the virtual services. The data path reads none of it. The service tables alone would not name the
//! services: a firewall mark has many keys there, and may have taken the only key of another service.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::Service;

/// Bits of [`Identity::flags`].
pub mod identity_flags {
    /// The service is there. Without it, only servers that were removed keep their places.
    pub const PRESENT: u32 = 1;
    /// `flag-3` of a scheduler, which none reads (`IP_VS_SVC_F_SCHED3`).
    pub const FLAG_3: u32 = 2;
}

/// Which service has a number: the value of `IDENTITIES`, whose key is [`Service::id`](super::Service::id). It stays while
/// servers of the service keep their places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Identity {
    /// The same as in the service tables, once a change is finished; nothing when the service has gone.
    pub service: Service,
    /// The virtual address as on the wire; IPv4 in the first four bytes. Zeros for a mark.
    pub address: [u8; 16],
    /// The firewall mark, or 0.
    pub mark: u32,
    /// The virtual port, host order; 0 for all, and for a mark.
    pub port: u16,
    /// IP protocol number; 0 for a mark.
    pub protocol: u8,
    /// 4 or 6.
    pub version: u8,
    /// By what its templates were made: [`Service::granularity`](super::Service::granularity).
    pub granularity: u32,
    /// For which scheduler its entries of `DESTINATIONS` are: a number of [`scheduler`](super::scheduler).
    pub scheduler: u32,
    /// Bits of [`identity_flags`].
    pub flags: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Who has a place among the servers: an element of `PLACES`, beside that of `SERVERS`. A server that is not
/// [`AVAILABLE`](super::server_flags::AVAILABLE) there has been removed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(4))]
pub struct Place {
    /// 1 while the place is somebody's, 0 when it is free.
    pub held: u32,
    /// Its server's age: the newer of two of a service has the greater number.
    pub order: u32,
    /// Its server's weight, or if that is 0 the last one that was not.
    pub last_weight: u32,
    /// When its server was removed, in seconds of `CLOCK_BOOTTIME`; 0 if it has not been.
    pub removed: u32,
}

/// What holds for the whole ledger: the one element of `LEDGER`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C, align(8))]
pub struct LedgerHead {
    /// Fingerprint of all layouts. 0 until the maps have been filled for the first time.
    pub layout: u64,
    /// The number of the next new service.
    pub next_service: u32,
    /// The place at which the search for the next server's begins.
    pub next_server: u32,
    /// In which halves of `MEMBERS`, `RUNS` and `LOCALS` the lists are, or where they are moving: 0 or 1.
    pub half: u32,
    /// How many places of `SERVERS` have ever been taken: those behind them are free.
    pub places: u32,
}
