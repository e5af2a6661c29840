//! What is not ours, and what is refused.

use lvs_common::{
    abi::Counter,
    host::{
        Extension, Frame,
        sample::{CLIENT_SIDE, Sample},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};

use crate::world::{TO_SERVER, World, everywhere, with_nat};

everywhere! {
    what_is_not_ours_passes_untouched,
    what_cannot_be_read_passes_untouched,
    nobody_gets_a_connection_under_a_name_that_no_client_has,
    frames_for_other_hosts_open_nothing,
    the_filter_costs_no_packet,
}

with_nat! {
    ipv6_extension_headers_pass_untouched,
    ipv4_headers_that_contradict_themselves_pass_untouched,
}

/// Sends bytes that must pass untouched.
fn passes<A: Sample>(world: &World<A>, bytes: &[u8], counter: Counter) {
    let (verdict, after) = world.send_bytes(CLIENT_SIDE, bytes);
    assert_eq!(verdict, Verdict::Pass(counter), "{bytes:02x?}");
    assert_eq!(after, bytes);
}

fn what_is_not_ours_passes_untouched<A: Sample>(world: World<A>) {
    let client = (World::<A>::client(), 40000);
    for frame in [
        Frame::new(client, (A::VIP, 22), SYN),
        Frame::udp(client, (A::VIP, 53), b"not here"),
        Frame::new((A::SERVERS[1], 22), client, ACK),
        Frame::new((A::CLIENTS[1], 1), client, SYN),
    ] {
        world.expect_pass(&frame, Verdict::Pass(Counter::NoService));
    }
    let other_protocol = Frame { ..world.segment(40000, SYN) };
    let mut bytes = other_protocol.bytes().unwrap();
    bytes[if A::VERSION == 4 { 23 } else { 20 }] = 132;
    passes(&world, &bytes, Counter::OtherProtocol);
    let mut arp = world.segment(40000, SYN).bytes().unwrap();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    passes(&world, &arp, Counter::NotIp);
    passes(&world, &[0; 14], Counter::NotIp);
    passes(&world, &[], Counter::NotIp);
    assert_eq!(world.entries(), 0);
}

fn what_cannot_be_read_passes_untouched<A: Sample>(world: World<A>) {
    for frame in [world.segment(40000, SYN), world.datagram(40000)] {
        let whole = frame.bytes().unwrap();
        let headers = whole.len() - frame.payload.len();
        for length in 14..headers {
            passes(&world, &whole[..length], Counter::Malformed);
        }
        let mut version = whole.clone();
        version[14] = 0x25;
        passes(&world, &version, Counter::Malformed);
    }
    assert_eq!(world.entries(), 0);
}

fn nobody_gets_a_connection_under_a_name_that_no_client_has<A: Sample>(world: World<A>) {
    let strangers: Vec<A> = if A::VERSION == 4 {
        [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 5], [255; 4]]
            .map(|a| {
                let mut wide = [0; 16];
                wide[..4].copy_from_slice(&a);
                A::narrow(wide)
            })
            .to_vec()
    } else {
        let mut loopback = [0; 16];
        loopback[15] = 1;
        let mut link_local = [0; 16];
        link_local[..2].copy_from_slice(&[0xfe, 0x80]);
        [[0; 16], loopback, link_local, [0xff; 16]].map(A::narrow).to_vec()
    };
    for source in strangers {
        let syn = Frame { source, ..world.segment(40000, SYN) };
        assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::MartianSource), "{source:?}");
    }
    // The balancer's own addresses have no route.
    for source in [A::VIP, A::OWN[0]] {
        let syn = Frame { source, ..world.segment(40000, SYN) };
        assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::NoRoute), "{source:?}");
    }
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn frames_for_other_hosts_open_nothing<A: Sample>(world: World<A>) {
    let macs = |mac| {
        let syn = world.segment(40000, SYN);
        Frame { macs: [syn.macs[0], mac], ..syn }
    };
    for mac in [[2, 0, 0, 0, 0, 0x99], [0xff; 6]] {
        world.expect_pass(&macs(mac), Verdict::Pass(Counter::OtherHost));
    }
    let vrrp = if A::VERSION == 4 { 1 } else { 2 };
    assert_eq!(world.send(&macs([0, 0, 0x5e, 0, vrrp, 7])).0, TO_SERVER);
}

fn the_filter_costs_no_packet<A: Sample>(mut world: World<A>) {
    world.env.unfiltered = true;
    world.expect_pass(
        &Frame::new((World::<A>::client(), 1), (A::VIP, 22), SYN),
        Verdict::Pass(Counter::NoService),
    );
    assert_eq!(world.send(&world.segment(40000, SYN)).0, TO_SERVER);
}

fn ipv6_extension_headers_pass_untouched<A: Sample>(world: World<A>) {
    if A::VERSION == 6 {
        for (number, length) in [(0, 6), (60, 14), (43, 6)] {
            let extensions = vec![Extension { number, content: vec![0; length] }];
            for frame in [world.segment(40000, SYN), world.datagram(40000)] {
                let frame = Frame { extensions: extensions.clone(), ..frame };
                passes(&world, &frame.bytes().unwrap(), Counter::ExtensionHeader);
            }
        }
    }
}

fn ipv4_headers_that_contradict_themselves_pass_untouched<A: Sample>(world: World<A>) {
    if A::VERSION == 4 {
        let whole = world.segment(40000, SYN).bytes().unwrap();
        for (place, value) in [(14, 0x44), (17, 39), (17, 19), (14, 0x4f)] {
            let mut bytes = whole.clone();
            bytes[place] = value;
            passes(&world, &bytes, Counter::Malformed);
        }
    }
}
