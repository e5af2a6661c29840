//! [`Packet`] on the contexts of the two program types.

use aya_ebpf::{
    EbpfContext as _,
    bindings::BPF_F_PSEUDO_HDR,
    helpers::generated,
    programs::{TcContext, XdpContext},
};
use lvs_common::{
    checksum,
    packet::{Packet, Window as _},
    wire,
};

use crate::frame::{Frame, FrameWindow};

/// A frame in an XDP program. Its checksums are complete.
pub(crate) struct XdpPacket(Frame);

impl XdpPacket {
    #[inline(always)]
    pub(crate) fn new(ctx: &XdpContext) -> Self {
        Self(Frame::new(ctx.data(), ctx.data_end()))
    }
}

impl Packet for XdpPacket {
    type Window<const N: usize> = FrameWindow<N>;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<FrameWindow<N>> {
        self.0.window(offset)
    }

    #[inline(always)]
    fn ip_length(&self, total: u16) -> u32 {
        total.into()
    }

    #[inline(always)]
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut FrameWindow<N>,
        _start: usize,
        addresses: u16,
        ports: u16,
    ) {
        window.set_u16::<O>(checksum::apply(window.u16::<O>(), addresses, ports));
    }
}

/// A frame in a TC program: a socket buffer, whose checksum may be left to the network card.
pub(crate) struct TcPacket<'c> {
    ctx: &'c TcContext,
    frame: Frame,
}

impl<'c> TcPacket<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c TcContext) -> Self {
        Self { ctx, frame: Frame::new(ctx.data(), ctx.data_end()) }
    }
}

impl Packet for TcPacket<'_> {
    type Window<const N: usize> = FrameWindow<N>;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<FrameWindow<N>> {
        self.frame.window(offset)
    }

    #[inline(always)]
    fn ip_length(&self, total: u16) -> u32 {
        if total == 0 { self.ctx.len().saturating_sub(wire::IPV4 as u32) } else { total.into() }
    }

    #[inline(always)]
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        _window: &mut FrameWindow<N>,
        start: usize,
        addresses: u16,
        ports: u16,
    ) {
        // With a length of 0 in the flags, the helper adds a difference. It knows whether the buffer's
        // checksum is complete, still to be filled in, or kept beside the data.
        let offset = (start + O) as u32;
        for (difference, flags) in [(addresses, u64::from(BPF_F_PSEUDO_HDR)), (ports, 0)] {
            // SAFETY: the context is the program's own; the helper checks the offset.
            unsafe {
                generated::bpf_l4_csum_replace(
                    self.ctx.as_ptr().cast(),
                    offset,
                    0,
                    u64::from(difference),
                    flags,
                )
            };
        }
    }
}
