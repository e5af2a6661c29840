//! The kernel shell: entry points, maps and helpers around the engine in `lvs-common`. No logic lives here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for BPF is not stable yet")]

// The name under which aya-log's macros look for `macro_support`.
extern crate self as aya_log_ebpf;

mod env;
mod frame;
mod log;
mod maps;
mod packet;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lvs_common::pipeline::{self, Verdict};

use crate::{
    env::KernelEnv,
    log::{debug, macro_support},
    packet::{TcPacket, XdpPacket},
};

/// "Let the next program see it": `TC_ACT_UNSPEC`, which tcx calls `TCX_NEXT`.
const TC_NEXT: i32 = -1;
/// Drop it.
const TC_SHOT: i32 = 2;
/// The longest headers that the engine reads: Ethernet, IPv4 with all options, TCP.
const HEADERS: u32 = 14 + 60 + 20;

/// The XDP program on each attached interface.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs(ctx: XdpContext) -> u32 {
    let env = KernelEnv::new(ctx.as_ptr(), ctx.ingress_ifindex() as u32);
    match pipeline::process(&XdpPacket::new(&ctx), &env) {
        Verdict::Redirect(interface) => env::redirect(interface).cast_unsigned(),
        Verdict::Pass(_) => xdp_action::XDP_PASS,
        Verdict::Drop(counter) => {
            // The level is constant at load time: with logging off the verifier removes this.
            debug!(&ctx, "dropped: reason {}", counter as u32);
            xdp_action::XDP_DROP
        }
    }
}

/// The TC program at the ingress of each attached interface, where XDP cannot be used.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs_tc(ctx: TcContext) -> i32 {
    let skb = ctx.skb.skb;
    // SAFETY: the kernel passes a valid context.
    let skb = unsafe { &*skb };
    // A VLAN tag is kept beside the frame, which looks like an untagged one.
    if skb.vlan_present != 0 {
        return TC_NEXT;
    }
    let linear = (ctx.data_end() - ctx.data()) as u32;
    let wanted = ctx.len().min(HEADERS);
    if linear < wanted && ctx.pull_data(wanted).is_err() {
        return TC_NEXT;
    }
    let env = KernelEnv::new(ctx.as_ptr(), skb.ifindex);
    match pipeline::process(&TcPacket::new(&ctx), &env) {
        Verdict::Redirect(interface) => env::redirect(interface),
        Verdict::Pass(_) => TC_NEXT,
        Verdict::Drop(counter) => {
            debug!(&ctx, "dropped: reason {}", counter as u32);
            TC_SHOT
        }
    }
}

/// A panic that the compiler could not rule out becomes a loop, which the verifier refuses: a missing
/// check shows at load time.
#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
