//! Persistence templates (`TEMPLATES4`): which server a client must stay with, and until when.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// A client of a persistent service: the key of `TEMPLATES4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct TemplateKey4 {
    /// The client's address, as on the wire.
    pub client: [u8; 4],
    /// [`Service::id`](super::Service::id) of the service.
    pub service: u32,
}

/// A persistence template: the value of `TEMPLATES4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Template4 {
    /// When it ends, in ns of the monotonic clock.
    pub expires: u64,
    /// Index of the real server in `SERVERS`.
    pub server: u32,
    /// Always zero.
    pub reserved: u32,
}
