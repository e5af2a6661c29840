//! What `cargo xtask bench` measures the engine with: an object of its own, which is never installed.
//!
//! NAT rewrites the packet in place, so that repeating one packet through `BPF_PROG_TEST_RUN` measures
//! nothing. The wrapper programs here therefore come first on every repetition: they restore the packet
//! from a template, put the next connection's addresses and ports into it, and tail-call the program
//! under test. `bench_nop` behind a wrapper is the wrapper's own cost, which is subtracted; the floor
//! programs do the least that any stateful balancer has to do.
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]
#![expect(unstable_features, reason = "inline assembly for BPF is not stable yet")]

mod floor;
mod maps;
mod wrapper;

use aya_ebpf::{
    bindings::xdp_action,
    macros::{classifier, xdp},
    programs::{TcContext, XdpContext},
};

use crate::maps::{PROGRAMS, PROGRAMS_TC, VARIATIONS4, VARIATIONS6};

/// What a TC program returns to drop a packet; here, that something is wrong.
const TC_SHOT: i32 = 2;
/// What it returns for "the next program, please".
const TC_NEXT: i32 = -1;

/// Before the program under test, IPv4.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_wrap4(ctx: XdpContext) -> u32 {
    let variation = |index| VARIATIONS4.get_ptr(index);
    if wrapper::restore4(ctx.data(), ctx.data_end(), variation).is_some() {
        // SAFETY: nothing here has a destructor.
        unsafe { PROGRAMS.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// Before the program under test, IPv6.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_wrap6(ctx: XdpContext) -> u32 {
    let variation = |index| VARIATIONS6.get_ptr(index);
    if wrapper::restore6(ctx.data(), ctx.data_end(), variation).is_some() {
        // SAFETY: as above.
        unsafe { PROGRAMS.tail_call(&ctx, 0) };
    }
    xdp_action::XDP_ABORTED
}

/// Before the TC program under test, IPv4.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_wrap4_tc(ctx: TcContext) -> i32 {
    let variation = |index| VARIATIONS4.get_ptr(index);
    if wrapper::restore4(ctx.data(), ctx.data_end(), variation).is_some() {
        // SAFETY: as above.
        unsafe { PROGRAMS_TC.tail_call(&ctx, 0) };
    }
    TC_SHOT
}

/// Nothing: what remains is the wrapper.
#[xdp(frags)]
fn bench_nop(_ctx: XdpContext) -> u32 {
    xdp_action::XDP_DROP
}

/// Nothing, for TC.
#[classifier]
fn bench_nop_tc(_ctx: TcContext) -> i32 {
    TC_NEXT
}

/// The floor for IPv4.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_floor4(ctx: XdpContext) -> u32 {
    match floor::look_up4(ctx.data(), ctx.data_end()) {
        Some(()) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_ABORTED,
    }
}

/// The floor for IPv6.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_floor6(ctx: XdpContext) -> u32 {
    match floor::look_up6(ctx.data(), ctx.data_end()) {
        Some(()) => xdp_action::XDP_DROP,
        None => xdp_action::XDP_ABORTED,
    }
}

/// The floor for IPv4 behind the TC wrapper.
#[classifier]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn bench_floor4_tc(ctx: TcContext) -> i32 {
    match floor::look_up4(ctx.data(), ctx.data_end()) {
        Some(()) => TC_NEXT,
        None => TC_SHOT,
    }
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
