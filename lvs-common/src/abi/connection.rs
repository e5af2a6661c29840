//! The connection table `CONNECTIONS4`: two entries per connection, one for each direction, each
//! keyed by the tuple that this direction's packets carry and holding all that they need.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// The 5-tuple of one direction over IPv4: the key of `CONNECTIONS4`. 16 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Tuple4 {
    /// Source address as on the wire.
    pub source: [u8; 4],
    /// Destination address as on the wire.
    pub destination: [u8; 4],
    /// Source port, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub destination_port: u16,
    /// IP protocol number, 6 for TCP. A whole word: padding would have to be zeroed for each packet.
    pub protocol: u32,
}

/// Where a packet leaves: interface and both MAC addresses in the order of the Ethernet header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct NextHop {
    /// Index of the egress interface; 0 while none is known.
    pub interface: u32,
    /// MAC address of the next hop.
    pub destination_mac: [u8; 6],
    /// MAC address of the egress interface.
    pub source_mac: [u8; 6],
}

impl NextHop {
    /// No next hop yet.
    pub const NONE: Self = Self { interface: 0, destination_mac: [0; 6], source_mac: [0; 6] };
}

/// Bits of [`Flow4::flags`].
pub mod flow_flags {
    /// A persistence template chose the server, so a new SYN on a closed connection keeps it.
    pub const CONTROLLED: u8 = 1;
}

/// Which way the packets of a flow go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Direction {
    /// From the client to the real server.
    ToServer = 0,
    /// From the real server to the client.
    ToClient = 1,
}

/// One direction of a connection: the value of `CONNECTIONS4`. 64 bytes, one cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(8))]
pub struct Flow4 {
    /// Source address after the rewrite, as on the wire.
    pub source: [u8; 4],
    /// Destination address after the rewrite, as on the wire.
    pub destination: [u8; 4],
    /// Source port after the rewrite, host order.
    pub source_port: u16,
    /// Destination port after the rewrite, host order.
    pub destination_port: u16,
    /// What the new addresses add to the sums of the IPv4 and the TCP header (memory order).
    pub address_difference: u16,
    /// What the new ports add to the sum of the TCP checksum, beside the addresses (memory order).
    pub port_difference: u16,
    /// The next hop, valid for a second after `hop_checked`.
    pub hop: NextHop,
    /// When the next hop was last looked up, in ns; 0 for never.
    pub hop_checked: u64,
    /// When the last packet of this direction passed, in ns.
    pub seen: u64,
    /// How long the entry lives after `seen`, in seconds: the time-out of its state.
    pub timeout: u32,
    /// Index of the real server in `SERVERS` and `STATISTICS`.
    pub server: u32,
    /// [`Service::id`](super::Service::id) of the virtual service.
    pub service: u32,
    /// TCP state as [`TcpState`](crate::tcp::TcpState) numbers it.
    pub state: u8,
    /// [`Direction`] of the packets that match the key.
    pub direction: u8,
    /// Bits of [`flow_flags`].
    pub flags: u8,
    /// Always zero.
    pub reserved: u8,
}

impl Flow4 {
    /// The tuple that packets of this flow carry once rewritten, turned round: the key of the
    /// other direction.
    #[inline(always)]
    #[must_use]
    pub const fn reverse_key(&self, protocol: u32) -> Tuple4 {
        Tuple4 {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol,
        }
    }

    /// Whether the entry's time had ended at `now` (ns); an ended entry counts as absent.
    #[inline(always)]
    #[must_use]
    pub const fn ended(&self, now: u64) -> bool {
        now.saturating_sub(self.seen) > self.timeout as u64 * 1_000_000_000
    }

    /// Whether the packets of this flow go to the real server.
    #[inline(always)]
    #[must_use]
    pub const fn to_server(&self) -> bool {
        self.direction == Direction::ToServer as u8
    }
}

const _: () = assert!(size_of::<Tuple4>() == 16);
const _: () = assert!(size_of::<Flow4>() == 64);
