//! The kernel shell: entry points, maps and helpers around the engine in `lvs-common`. No logic lives here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for BPF is not stable yet")]

mod env;
mod maps;
mod packet;

use aya_ebpf::{bindings::xdp_action, macros::xdp, programs::XdpContext};
use aya_log_ebpf::debug;
use lvs_common::pipeline::{self, Verdict};

use crate::{env::KernelEnv, packet::XdpPacket};

/// The program on each attached interface.
#[xdp(frags)]
pub fn xlvs(ctx: XdpContext) -> u32 {
    let env = KernelEnv::new(&ctx);
    match pipeline::process(&XdpPacket::new(&ctx), &env) {
        Verdict::Redirect(interface) => env::redirect(interface),
        Verdict::Pass(_) => xdp_action::XDP_PASS,
        Verdict::Drop(counter) => {
            // Constant at load time: with logging off the verifier removes the branch.
            debug!(&ctx, "dropped: reason {}", counter as u32);
            xdp_action::XDP_DROP
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
