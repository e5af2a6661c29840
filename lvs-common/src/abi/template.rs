//! Persistence templates (`TEMPLATES4`, `TEMPLATES6`): which server a client must stay with, and until when.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{V4, V6};

/// A client of a persistent service: the key of the template tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(4))]
pub struct TemplateKey<A> {
    /// The client's address as on the wire, or as much of it as the service tells apart.
    pub client: A,
    /// [`Service::id`](super::Service::id) of the service.
    pub service: u32,
}

/// A persistence template: the value of the template tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Template {
    /// When it ends, in ns of the data path's clock, unless connections refer to it then.
    pub expires: u64,
    /// How many connections refer to it.
    pub connections: u32,
    /// For how many seconds a new connection prolongs it.
    pub timeout: u32,
    /// Index of the real server in `SERVERS`.
    pub server: u32,
    /// Tells it from others that were under the same key: [`Head::template`](super::Head::template) of its connections.
    pub generation: u32,
}

const _: () = assert!(size_of::<TemplateKey<V4>>() == 8);
const _: () = assert!(size_of::<TemplateKey<V6>>() == 20);
