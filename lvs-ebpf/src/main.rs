//! The kernel shell: entry points, maps and helpers around the engine in `lvs-common`. No logic lives here.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for BPF is not stable yet")]

// The name under which aya-log's macros look for `macro_support`.
extern crate self as aya_log_ebpf;

mod atomic;
mod collect;
mod env;
mod fib;
mod flow;
mod frame;
mod log;
mod maps;
mod packet;
mod remembered;
mod trace;

use aya_ebpf::{
    EbpfContext as _,
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};
use lvs_common::{
    abi::{Counter, Stage},
    env::Env as _,
    pipeline::{self, Verdict},
};

use crate::{
    env::KernelEnv,
    log::{debug, macro_support},
    maps::{STAGES, STAGES_TC, TRACE_SLOT},
    packet::{TcPacket, XdpPacket},
};

/// "Let the next program see it": `TC_ACT_UNSPEC`, which tcx calls `TCX_NEXT`.
const TC_NEXT: i32 = -1;
/// Drop it.
const TC_SHOT: i32 = 2;
/// The longest headers that the engine reads: Ethernet with two tags, IPv4 with all options, TCP; and as much again for
/// an ICMP error's quote.
const HEADERS: u32 = 192;

/// The XDP program on each attached interface.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs(ctx: XdpContext) -> u32 {
    let env = KernelEnv::new(ctx.as_ptr(), ctx.ingress_ifindex() as u32);
    let verdict = pipeline::enter(&XdpPacket::new(&ctx), &env);
    if let Verdict::Redirect(interface) = verdict {
        // Nothing to tell: the fast path decides nothing.
        return env::redirect(interface).cast_unsigned();
    }
    xdp_action(&ctx, &env, verdict)
}

/// What to return from an XDP program.
#[inline(always)]
fn xdp_action(ctx: &XdpContext, env: &KernelEnv, verdict: Verdict) -> u32 {
    let (action, interface) = match verdict {
        Verdict::Redirect(interface) => (xdp_action::XDP_REDIRECT, interface),
        Verdict::Pass(_) => (xdp_action::XDP_PASS, 0),
        Verdict::Drop(counter) => {
            // The level is constant at load time: with logging off the verifier removes this.
            debug!(ctx, "dropped: reason {}", counter as u32);
            (xdp_action::XDP_DROP, 0)
        }
        Verdict::Next(stage) => {
            // SAFETY: nothing here has to be dropped.
            unsafe { STAGES.tail_call(ctx, stage as u32) };
            // It does not return, unless the program is not there.
            env.count(Counter::Internal);
            (xdp_action::XDP_DROP, 0)
        }
    };
    if trace::is_due(action.cast_signed(), interface) {
        // SAFETY: as above.
        unsafe { STAGES.tail_call(ctx, TRACE_SLOT) };
    }
    if interface == 0 { action } else { env::redirect(interface).cast_unsigned() }
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
    let env = KernelEnv::new(ctx.as_ptr(), skb.ifindex).with_mark(skb.mark);
    let verdict = pipeline::enter(&TcPacket::new(&ctx), &env);
    tc_action(&ctx, &env, verdict)
}

/// What to return from a TC program.
#[inline(always)]
fn tc_action(ctx: &TcContext, env: &KernelEnv, verdict: Verdict) -> i32 {
    let (action, interface) = match verdict {
        Verdict::Redirect(interface) => (TC_NEXT, interface),
        Verdict::Pass(_) => (TC_NEXT, 0),
        Verdict::Drop(counter) => {
            debug!(ctx, "dropped: reason {}", counter as u32);
            (TC_SHOT, 0)
        }
        Verdict::Next(stage) => {
            // SAFETY: as in `xdp_action`.
            unsafe { STAGES_TC.tail_call(ctx, stage as u32) };
            env.count(Counter::Internal);
            (TC_SHOT, 0)
        }
    };
    if trace::is_due(action, interface) {
        // SAFETY: as above.
        unsafe { STAGES_TC.tail_call(ctx, TRACE_SLOT) };
    }
    if interface == 0 { action } else { env::redirect(interface) }
}

/// Tells what is traced, and then does what the traced program would have done.
#[xdp(frags)]
fn xlvs_trace(_ctx: XdpContext) -> u32 {
    match trace::tell() {
        Some((action, 0)) => action.cast_unsigned(),
        Some((_, interface)) => env::redirect(interface).cast_unsigned(),
        None => xdp_action::XDP_PASS,
    }
}

/// The same for TC.
#[classifier]
fn xlvs_tc_trace(_ctx: TcContext) -> i32 {
    match trace::tell() {
        Some((action, 0)) => action,
        Some((_, interface)) => env::redirect(interface),
        None => TC_NEXT,
    }
}

/// The programs of the other stages. Their names are `xlvs_` or `xlvs_tc_` and the name of the stage.
macro_rules! stages {
    ($($xdp:ident $tc:ident $stage:ident;)+) => {
        $(
            #[xdp(frags)]
            fn $xdp(ctx: XdpContext) -> u32 {
                let env = KernelEnv::new(ctx.as_ptr(), ctx.ingress_ifindex() as u32);
                let verdict = pipeline::stage(Stage::$stage, &mut XdpPacket::new(&ctx), &env);
                xdp_action(&ctx, &env, verdict)
            }

            #[classifier]
            fn $tc(ctx: TcContext) -> i32 {
                // SAFETY: the kernel passes a valid context.
                let skb = unsafe { &*ctx.skb.skb };
                let env = KernelEnv::new(ctx.as_ptr(), skb.ifindex).with_mark(skb.mark);
                let verdict = pipeline::stage(Stage::$stage, &mut TcPacket::new(&ctx), &env);
                tc_action(&ctx, &env, verdict)
            }
        )+
    };
}

stages! {
    xlvs_sort xlvs_tc_sort Sort;
    xlvs_follow4 xlvs_tc_follow4 Follow4;
    xlvs_follow6 xlvs_tc_follow6 Follow6;
    xlvs_open4 xlvs_tc_open4 Open4;
    xlvs_open6 xlvs_tc_open6 Open6;
    xlvs_choose4 xlvs_tc_choose4 Choose4;
    xlvs_choose6 xlvs_tc_choose6 Choose6;
    xlvs_plan4 xlvs_tc_plan4 Plan4;
    xlvs_plan6 xlvs_tc_plan6 Plan6;
    xlvs_conn4 xlvs_tc_conn4 Connect4;
    xlvs_conn6 xlvs_tc_conn6 Connect6;
    xlvs_icmp4 xlvs_tc_icmp4 Icmp4;
    xlvs_icmp6 xlvs_tc_icmp6 Icmp6;
    xlvs_frag4 xlvs_tc_frag4 Fragment4;
    xlvs_frag6 xlvs_tc_frag6 Fragment6;
    xlvs_fault4 xlvs_tc_fault4 Fault4;
    xlvs_fault6 xlvs_tc_fault6 Fault6;
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
