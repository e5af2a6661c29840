//! Access to the bytes of a frame, checked once per header.
//!
//! The engine first asks for a [`Window`]: `N` bytes from some offset, proven to lie inside the frame.
//! Inside a window every offset is a constant that the compiler checks, so that the verifier walks
//! one comparison per header and not one per field.

/// A frame that starts with its Ethernet header.
pub trait Packet {
    /// Access to `N` bytes that are known to be there.
    type Window<const N: usize>: Window;

    /// The `N` bytes from `offset` on, or `None` where the frame is shorter.
    fn window<const N: usize>(&self, offset: usize) -> Option<Self::Window<N>>;

    /// The length in bytes of an IPv4 packet at `offset` whose header says `total`. A socket buffer may join
    /// segments to more than the header's 16 bits can tell; its header then says 0.
    fn ip_length(&self, total: u16, offset: usize) -> u32;

    /// How long an IP packet of `length` bytes is at most once it is on a wire: a socket buffer may be cut to
    /// segments later, each with `headers` bytes of IP and transport headers.
    fn wire_length(&self, length: u32, headers: u32) -> u32;

    /// Brings a transport checksum up to date after addresses and ports have changed by these differences
    /// (see [`crate::checksum`]): the field at `O` of `window`, which starts at `start` in the frame. The
    /// differences come apart because a checksum that is left to the network card covers only the
    /// addresses so far. This is the last access to a packet; the window is used up.
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut Self::Window<N>,
        start: usize,
        change: Change,
    );

    /// The sum of an ICMP error that was rewritten changes by `difference`: what is under a checksum that the
    /// network card has worked out beside the data. Before the last access to a packet.
    fn note_change(&self, difference: u16);

    /// Cuts the frame to `length` bytes and then puts `room` bytes of any content before it. All windows and
    /// offsets from before are void. `false` where that cannot be done; the packet is of no use then.
    fn reshape(&mut self, length: u32, room: u32) -> bool;
}

/// How a transport checksum changes.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// By other addresses in the pseudo header.
    pub addresses: u16,
    /// By other ports.
    pub ports: u16,
    /// A sum of zero means that there is none (UDP over IPv4, RFC 768), and one that would be zero is written
    /// as its complement.
    pub zero_is_none: bool,
    /// The packet is IPv6: no header checksum balances the addresses.
    pub ipv6: bool,
}

/// A run of bytes inside a frame. `O` is an offset from its start; one that is out of the window does
/// not compile. Two windows may overlap: they are views of the same frame.
pub trait Window {
    /// The byte at `O`.
    fn u8<const O: usize>(&self) -> u8;
    /// The two bytes at `O` as they lie in memory; `u16::from_be` makes a port of them.
    fn u16<const O: usize>(&self) -> u16;
    /// The four bytes at `O` as they lie in memory.
    fn u32<const O: usize>(&self) -> u32;
    /// Writes the byte at `O`.
    fn set_u8<const O: usize>(&mut self, value: u8);
    /// Writes two bytes at `O` in memory order.
    fn set_u16<const O: usize>(&mut self, value: u16);
    /// Writes four bytes at `O` in memory order.
    fn set_u32<const O: usize>(&mut self, value: u32);
}
