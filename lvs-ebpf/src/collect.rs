//! Programs that the controller runs with `BPF_PROG_TEST_RUN`: the clock, and collecting connections that are over. The
//! controller finds their keys by reading the table; an entry that packets may reach at any time can be ended exactly
//! only in the kernel.

use aya_ebpf::{EbpfContext as _, helpers::generated, macros::xdp, programs::XdpContext};
use lvs_common::{
    abi::{COLLECTED_AT_ONCE, Clock, Tuple, V4, V6},
    connection,
    env::{Env as _, Tables},
    ip::Ip,
    packet::{Packet as _, Window as _},
    wire,
};

use crate::{env::KernelEnv, maps::CLOCK, packet::XdpPacket};

/// Writes down what the data path's clock says, and `CLOCK_MONOTONIC`, in `CLOCK`.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs_clock(ctx: XdpContext) -> u32 {
    let env = KernelEnv::new(ctx.as_ptr(), 0);
    let Some(clock) = CLOCK.get_ptr_mut(0) else { return 1 };
    // SAFETY: the helper takes nothing.
    let monotonic = unsafe { generated::bpf_ktime_get_coarse_ns() };
    // SAFETY: valid and aligned; only this program writes it.
    unsafe { clock.write(Clock { now: env.now(), monotonic }) };
    0
}

/// Ends the IPv4 connections whose keys follow the Ethernet header if they are over; returns how many were.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs_collect4(ctx: XdpContext) -> u32 {
    let packet = XdpPacket::new(&ctx);
    collect::<V4>(&ctx, |at| {
        let key = packet.window::<16>(at)?;
        let words = [key.u32::<0>(), key.u32::<4>(), key.u32::<8>(), key.u32::<12>()];
        let [source, destination, ports, protocol] = words;
        let [source_port, destination_port]: [u16; 2] = zerocopy::transmute!(ports);
        Some(Tuple {
            source: source.to_ne_bytes(),
            destination: destination.to_ne_bytes(),
            source_port,
            destination_port,
            protocol,
        })
    })
}

/// The same for IPv6.
#[xdp(frags)]
#[expect(clippy::needless_pass_by_value, reason = "the form that aya's macro calls")]
fn xlvs_collect6(ctx: XdpContext) -> u32 {
    let packet = XdpPacket::new(&ctx);
    collect::<V6>(&ctx, |at| {
        let key = packet.window::<40>(at)?;
        let [source_port, destination_port]: [u16; 2] = zerocopy::transmute!(key.u32::<32>());
        Some(Tuple {
            source: zerocopy::transmute!([
                key.u32::<0>(),
                key.u32::<4>(),
                key.u32::<8>(),
                key.u32::<12>()
            ]),
            destination: zerocopy::transmute!([
                key.u32::<16>(),
                key.u32::<20>(),
                key.u32::<24>(),
                key.u32::<28>()
            ]),
            source_port,
            destination_port,
            protocol: key.u32::<36>(),
        })
    })
}

#[inline(always)]
fn collect<A: Ip>(ctx: &XdpContext, key: impl Fn(usize) -> Option<Tuple<A>>) -> u32
where
    KernelEnv: Tables<A>,
{
    let env = KernelEnv::new(ctx.as_ptr(), 0);
    let now = env.now();
    let mut collected = 0;
    for index in 0..COLLECTED_AT_ONCE {
        let Some(key) = key(wire::ETH_LEN + index * size_of::<Tuple<A>>()) else { break };
        if connection::collect(&env, &key, now) {
            collected += 1;
        }
    }
    collected
}
