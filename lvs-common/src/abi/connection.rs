//! The connection tables `CONNECTIONS4` and `CONNECTIONS6`: two entries per connection, one for each
//! direction, each keyed by the tuple that this direction's packets carry and holding all that they need.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::address::{Address, V4, V6};
use crate::connection::ticks;

/// The 5-tuple of one direction: the key of the connection tables. 16 bytes for IPv4, 40 for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C, align(4))]
pub struct Tuple<A> {
    /// Source address as on the wire.
    pub source: A,
    /// Destination address as on the wire.
    pub destination: A,
    /// Source port, host order.
    pub source_port: u16,
    /// Destination port, host order.
    pub destination_port: u16,
    /// IP protocol number, 6 for TCP, 17 for UDP. A whole word: padding would have to be zeroed for each
    /// packet.
    pub protocol: u32,
}

impl<A: Address> Tuple<A> {
    /// All zeros: a free slot among the half-open connections.
    pub const NONE: Self = Self {
        source: A::UNSPECIFIED,
        destination: A::UNSPECIFIED,
        source_port: 0,
        destination_port: 0,
        protocol: 0,
    };

    /// The tuple of a packet that goes the other way.
    #[inline(always)]
    #[must_use]
    pub const fn turned(&self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            protocol: self.protocol,
        }
    }
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

/// Bits of [`Head::flags`].
pub mod flow_flags {
    /// A persistence template chose the server, so a new SYN on a closed connection keeps it.
    pub const CONTROLLED: u8 = 1;
    /// One-packet scheduling: there is no entry for the client's direction and nothing to count.
    pub const ONE_PACKET: u8 = 2;
    /// Full NAT: the client's address was replaced too, so that towards the server this host's stack cannot
    /// help (the packet's source is one of its own addresses).
    pub const FULL_NAT: u8 = 4;
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

/// The word of a flow that changes by compare-and-swap: a state change happens once, whichever CPUs see the
/// packets. The entry of the client's direction decides; the other one holds a copy for the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C, align(4))]
pub struct Head {
    /// A number of [`TcpState`](crate::tcp::TcpState), [`UDP`](crate::connection::UDP) or
    /// [`ENDED`](crate::connection::ENDED).
    pub state: u8,
    /// [`Direction`] of the packets that match the key.
    pub direction: u8,
    /// Bits of [`flow_flags`].
    pub flags: u8,
    /// Of a connection that a template controls: the last eight bits of its
    /// [`generation`](super::Template::generation).
    pub template: u8,
}

impl Head {
    /// Whether the packets of this flow go to the real server.
    #[inline(always)]
    #[must_use]
    pub const fn to_server(self) -> bool {
        self.direction == Direction::ToServer as u8
    }
}

/// [`Limits::half_open`] of a connection that has no slot.
pub const NO_SLOT: u32 = 0x00ff_ffff;

/// What bounds a connection: two numbers of 24 bits each, in the six bytes that the entry has for them. Each is stored
/// without a look at the other, which another CPU may be changing. A time-out has 31 days at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Limits {
    /// How long the entry lives after [`Flow::seen`], in seconds: the time-out of its state. The low 16 bits.
    pub timeout: u16,
    /// The slot of a half-open connection in `HALF_OPEN4` or `HALF_OPEN6`, or [`NO_SLOT`]. The low 16 bits.
    pub half_open: u16,
    /// The time-out's high 8 bits.
    pub timeout_high: u8,
    /// The slot's high 8 bits.
    pub half_open_high: u8,
}

impl Limits {
    /// A time-out in seconds and a slot, of which the low 24 bits count.
    #[inline(always)]
    #[must_use]
    pub const fn new(timeout: u32, half_open: u32) -> Self {
        let (timeout, timeout_high) = split(timeout);
        let (half_open, half_open_high) = split(half_open);
        Self { timeout, half_open, timeout_high, half_open_high }
    }

    /// How long the entry lives after [`Flow::seen`], in seconds.
    #[inline(always)]
    #[must_use]
    pub const fn timeout(self) -> u32 {
        self.timeout as u32 | (self.timeout_high as u32) << 16
    }

    /// The slot of a half-open connection, or [`NO_SLOT`].
    #[inline(always)]
    #[must_use]
    pub const fn half_open(self) -> u32 {
        self.half_open as u32 | (self.half_open_high as u32) << 16
    }
}

/// The two parts that a number has in [`Limits`].
#[inline(always)]
#[must_use]
pub const fn split(number: u32) -> (u16, u8) {
    (number as u16, (number >> 16) as u8)
}

/// One direction of a connection: the value of the connection tables. 56 bytes for IPv4, with which a table entry takes
/// 128 bytes of memory, the kernel's own part included; 80 for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C, align(4))]
pub struct Flow<A> {
    /// Source address after the rewrite, as on the wire.
    pub source: A,
    /// Destination address after the rewrite, as on the wire.
    pub destination: A,
    /// Source port after the rewrite, host order.
    pub source_port: u16,
    /// Destination port after the rewrite, host order.
    pub destination_port: u16,
    /// What the new addresses add to the sums of the IPv4 and the transport header (memory order).
    pub address_difference: u16,
    /// What the new ports add to the sum of the transport checksum, beside the addresses (memory order).
    pub port_difference: u16,
    /// The next hop, valid for a second after `hop_checked`.
    pub hop: NextHop,
    /// When the last packet of this direction passed, in [ticks](crate::connection::ticks) of 2^20 ns of the data
    /// path's clock, modulo 2^32.
    pub seen: u32,
    /// When the next hop was last looked up, in ticks; 0 for never.
    pub hop_checked: u32,
    /// Index of the real server in `SERVERS`, `LOADS` and `STATISTICS`.
    pub server: u32,
    /// Its time-out, and the slot of a half-open one.
    pub limits: Limits,
    /// The largest IP packet that the next hop takes, in bytes.
    pub mtu: u16,
    /// State, direction and flags.
    pub head: Head,
}

/// Ticks in a second, rounded up: 10^9 / 2^20.
const TICKS_PER_SECOND: u32 = 954;

impl<A: Address> Flow<A> {
    /// The tuple that packets of this flow carry once rewritten, turned round: the key of the
    /// other direction.
    #[inline(always)]
    #[must_use]
    pub const fn reverse_key(&self, protocol: u32) -> Tuple<A> {
        Tuple {
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
        let idle = ticks(now).wrapping_sub(self.seen);
        // Another CPU's clock may be a tick ahead.
        idle > self.limits.timeout().wrapping_mul(TICKS_PER_SECOND) && idle < u32::MAX - 16
    }

    /// When the entry's time ended, or `now` if it has not (ns).
    #[inline(always)]
    #[must_use]
    pub const fn end(&self, now: u64) -> u64 {
        if !self.ended(now) {
            return now;
        }
        let idle = ticks(now).wrapping_sub(self.seen);
        let over = idle.wrapping_sub(self.limits.timeout().wrapping_mul(TICKS_PER_SECOND));
        now.wrapping_sub((over as u64) << 20)
    }

    /// Whether the packets of this flow go to the real server.
    #[inline(always)]
    #[must_use]
    pub const fn to_server(&self) -> bool {
        self.head.to_server()
    }
}

// No padding anywhere: the fields' sizes add up.
const _: () = assert!(size_of::<Tuple<V4>>() == 2 * 4 + 8);
const _: () = assert!(size_of::<Tuple<V6>>() == 2 * 16 + 8);
const _: () = assert!(size_of::<Flow<V4>>() == 2 * 4 + 8 + 16 + 16 + 4 + 4);
const _: () = assert!(size_of::<Flow<V6>>() == 2 * 16 + 8 + 16 + 16 + 4 + 4);
