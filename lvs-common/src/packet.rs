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

    /// The length of an IP packet whose header says `total`. A socket buffer may join segments to more than
    /// the header's 16 bits can tell; its header then says 0.
    fn ip_length(&self, total: u16) -> u32;

    /// Brings a transport checksum up to date after addresses and ports have changed by these differences
    /// (see [`crate::checksum`]): the field at `O` of `window`, which starts at `start` in the frame. The
    /// differences come apart because a checksum that is left to the network card covers only the
    /// addresses so far. This is the last access to a packet; the window is used up.
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut Self::Window<N>,
        start: usize,
        addresses: u16,
        ports: u16,
    );
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
