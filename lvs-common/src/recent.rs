//! The ways to real servers that were found a moment ago. Connections to the same server take the same way, so that of all
//! new connections in a second one looks the route up. (IPVS keeps the route of a server too, whoever its clients are:
//! `__ip_vs_get_out_rt` in `ip_vs_xmit.c`.)
//!
//! Each CPU has places of its own, chosen by a hash of the server's address; what is in a place says itself what it is
//! good for, so that nobody has to clear it when servers come and go. A connection takes over the time of the look-up
//! with the way: nothing gets older than [`connection::is_fresh`] allows.

use crate::{
    abi::NextHop,
    connection,
    env::{Env, RecentHandle as _, Tables},
    forward::{self, Fate, Heading, Way},
    ip::Ip,
    scheduler::hash,
};

const BITS: u32 = 12;

/// Places of a CPU in each family.
pub const PLACES: usize = 1 << BITS;

/// A way that was found; all zeros where there is none.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(4))]
pub struct Recent<A> {
    /// Where it leads.
    pub destination: A,
    /// Index of the interface that the packet came in on for which it was looked up.
    pub ingress: u32,
    /// The packet's protocol, and above it its type of service or traffic class.
    pub kind: u32,
    /// When, in [ticks](connection::ticks); 0 for never.
    pub checked: u32,
    /// Interface and MAC addresses.
    pub hop: NextHop,
    /// The largest IP packet that the way takes.
    pub mtu: u32,
}

impl<A: Ip> Recent<A> {
    /// None.
    pub const NONE: Self = Self {
        destination: A::UNSPECIFIED,
        ingress: 0,
        kind: 0,
        checked: 0,
        hop: NextHop::NONE,
        mtu: 0,
    };
}

impl<A: Ip> Recent<A> {
    /// Whether it is good for these packets.
    #[inline(always)]
    fn serves(&self, destination: A, ingress: u32, kind: u32, now: u64) -> bool {
        self.ingress == ingress
            && self.kind == kind
            && self.destination.is(destination)
            && connection::is_fresh(self.checked, now)
    }
}

/// The way of a new connection's packets to the server, and when it was looked up (ticks). It has no next hop before.
#[inline(always)]
pub fn to_server<A: Ip, E: Env + Tables<A>>(
    env: &E,
    flow: &Heading<A>,
    protocol: u32,
    class: u8,
    now: u64,
) -> (Way, u32) {
    let destination = flow.destination();
    let ingress = env.ingress();
    let kind = u32::from(class) << 8 | protocol & 0xff;
    let place = Tables::<A>::recent(env, hash::hash_32(hash::folded(destination), BITS));
    if let Some(recent) = &place
        && recent.get(|recent| recent.serves(destination, ingress, kind, now))
    {
        let (hop, mtu, checked) = recent.get(|recent| (recent.hop, recent.mtu, recent.checked));
        return (Way::out(hop, mtu as u16), checked);
    }
    let way = forward::look_up(env, flow, protocol, class);
    let checked = connection::ticks(now);
    if let Some(recent) = &place
        && way.fate == Fate::Out
    {
        let (hop, mtu) = (way.hop, way.mtu.into());
        recent.set(&Recent { destination, ingress, kind, checked, hop, mtu });
    }
    (way, checked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::V4;

    #[test]
    fn a_way_serves_the_same_packets_for_a_second() {
        const DESTINATION: V4 = [10, 0, 0, 1];
        let now = 5_000_000_000;
        let checked = connection::ticks(now);
        let recent =
            Recent { destination: DESTINATION, ingress: 2, kind: 6, checked, ..Recent::NONE };
        assert!(recent.serves(DESTINATION, 2, 6, now));
        assert!(recent.serves(DESTINATION, 2, 6, now + 900_000_000));
        assert!(!recent.serves(DESTINATION, 2, 6, now + 1_100_000_000));
        assert!(!recent.serves([10, 0, 0, 2], 2, 6, now));
        assert!(!recent.serves(DESTINATION, 3, 6, now));
        assert!(!recent.serves(DESTINATION, 2, 0x2806, now));
        assert!(!Recent::<V4>::NONE.serves([0; 4], 0, 0, now));
    }
}
