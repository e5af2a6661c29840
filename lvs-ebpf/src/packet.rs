//! [`Packet`] on the contexts of the two program types.

use aya_ebpf::{
    EbpfContext as _,
    bindings::{BPF_F_MARK_MANGLED_0, BPF_F_PSEUDO_HDR},
    helpers::generated,
    programs::{TcContext, XdpContext},
};
use lvs_common::{
    checksum,
    packet::{Change, Packet, Window as _},
};

use crate::frame::{Frame, FrameWindow};

/// A frame in an XDP program. Its checksums are complete.
pub(crate) struct XdpPacket<'c> {
    ctx: &'c XdpContext,
    frame: Frame,
}

impl<'c> XdpPacket<'c> {
    #[inline(always)]
    pub(crate) fn new(ctx: &'c XdpContext) -> Self {
        Self { ctx, frame: Frame::new(ctx.data(), ctx.data_end()) }
    }
}

impl Packet for XdpPacket<'_> {
    type Window<const N: usize> = FrameWindow<N>;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<FrameWindow<N>> {
        self.frame.window(offset)
    }

    #[inline(always)]
    fn ip_length(&self, total: u16, _offset: usize) -> u32 {
        total.into()
    }

    #[inline(always)]
    fn wire_length(&self, length: u32, _headers: u32) -> u32 {
        length
    }

    #[inline(always)]
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        window: &mut FrameWindow<N>,
        _start: usize,
        change: Change,
    ) {
        let old = window.u16::<O>();
        if !change.zero_is_none {
            window.set_u16::<O>(checksum::apply(old, change.addresses, change.ports));
        } else if old != 0 {
            window.set_u16::<O>(checksum::apply_nonzero(old, change.addresses, change.ports));
        }
    }

    #[inline(always)]
    fn note_change(&self, _difference: u16) {}

    #[inline(always)]
    fn reshape(&mut self, length: u32, room: u32) -> bool {
        let ctx = self.ctx.as_ptr().cast();
        // SAFETY: the context is the program's own.
        let now = unsafe { generated::bpf_xdp_get_buff_len(ctx) } as i32;
        // SAFETY: as above; the helpers check what is asked of them, and no pointer from before is used again.
        let cut = unsafe { generated::bpf_xdp_adjust_tail(ctx, length.cast_signed() - now) };
        if cut != 0 {
            return false;
        }
        // SAFETY: as above.
        let grown = unsafe { generated::bpf_xdp_adjust_head(ctx, -room.cast_signed()) };
        self.frame = Frame::new(self.ctx.data(), self.ctx.data_end());
        grown == 0
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
    fn ip_length(&self, total: u16, offset: usize) -> u32 {
        // The header has been read, so that the buffer is longer than the offset. (A floor of 0 would be a constant, and
        // the verifier of Linux 6.1 does not see that 0 is less than a header's length: it walks on into nonsense.)
        if total == 0 { self.ctx.len().wrapping_sub(offset as u32) } else { total.into() }
    }

    #[inline(always)]
    fn wire_length(&self, length: u32, headers: u32) -> u32 {
        // SAFETY: the kernel passes a valid context.
        let segment = unsafe { (*self.ctx.skb.skb).gso_size };
        if segment == 0 { length } else { headers + segment }
    }

    #[inline(always)]
    fn update_checksum<const N: usize, const O: usize>(
        &self,
        _window: &mut FrameWindow<N>,
        start: usize,
        change: Change,
    ) {
        // With a length of 0 in the flags, the helper adds a difference. It knows whether the buffer's
        // checksum is complete, still to be filled in, or kept beside the data.
        let offset = (start + O) as u32;
        let zero = if change.zero_is_none { BPF_F_MARK_MANGLED_0 } else { 0 };
        for (difference, flags) in [(change.addresses, BPF_F_PSEUDO_HDR), (change.ports, 0)] {
            // SAFETY: the context is the program's own; the helper checks the offset.
            unsafe {
                generated::bpf_l4_csum_replace(
                    self.ctx.as_ptr().cast(),
                    offset,
                    0,
                    u64::from(difference),
                    u64::from(flags | zero),
                )
            };
        }
        if change.ipv6 {
            // The helper takes it that a header checksum balances the addresses, as IPv4's does.
            self.note_change(change.addresses);
        }
    }

    #[inline(always)]
    fn note_change(&self, difference: u16) {
        // Where the card has not added the data up, there is nothing to keep, and the helper says so.
        // SAFETY: as above.
        let _not_kept =
            unsafe { generated::bpf_csum_update(self.ctx.as_ptr().cast(), difference.into()) };
    }

    #[inline(always)]
    fn reshape(&mut self, length: u32, room: u32) -> bool {
        let skb = self.ctx.as_ptr().cast();
        // SAFETY: the context is the program's own; the helpers check what is asked of them, and no pointer from
        // before is used again.
        let cut = unsafe { generated::bpf_skb_change_tail(skb, length, 0) };
        if cut != 0 {
            return false;
        }
        // SAFETY: as above.
        let grown = unsafe { generated::bpf_skb_change_head(skb, room, 0) };
        if grown != 0 || self.ctx.pull_data(length + room).is_err() {
            return false;
        }
        self.frame = Frame::new(self.ctx.data(), self.ctx.data_end());
        true
    }
}
