//! Telling in a few instructions that a packet is not ours.

use crate::{
    abi::{Mark, Tuple},
    env::Env,
    ip::Ip,
};

/// Whether the packet may be one of ours: a request to a virtual service or a reply of a real server.
#[inline(always)]
pub fn may_be_ours<A: Ip, E: Env>(env: &E, tuple: &Tuple<A>) -> bool {
    env.marked(Mark::new(tuple.destination, tuple.destination_port, tuple.protocol))
        || env.marked(Mark::new(tuple.source, tuple.source_port, tuple.protocol))
        || env.marked(Mark::WIDE) && may_be_wide(env, tuple)
}

/// The same for services that take all ports of an address, whose servers answer from any, and for firewall marks.
#[inline(always)]
fn may_be_wide<A: Ip, E: Env>(env: &E, tuple: &Tuple<A>) -> bool {
    env.marked(Mark::new(tuple.destination, 0, tuple.protocol))
        || env.marked(Mark::new(tuple.source, 0, tuple.protocol))
        || env.mark() != 0
}
