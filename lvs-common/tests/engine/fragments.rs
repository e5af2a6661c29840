//! Fragments follow their first one.

use lvs_common::{
    abi::Counter,
    host::{
        Frame,
        sample::{CLIENT_SIDE, Kind, SERVER_SIDE, Sample},
    },
    pipeline::Verdict,
    tcp::flags::ACK,
};

use crate::world::{
    TO_CLIENT, TO_SERVER, World, as_client_sees, as_server_sees, everywhere, reply,
};

everywhere! {
    fragments_follow_their_first_one_in_any_order_and_both_ways,
    tcp_is_followed_too,
    two_datagrams_may_be_on_the_way_at_once,
    a_fragment_before_its_first_one_passes_and_is_counted,
    fragments_of_what_is_not_ours_pass,
    fragments_of_other_protocols_pass,
    a_first_one_is_forgotten_after_half_a_minute,
    fragments_of_an_ended_connection_pass,
    a_first_fragment_without_its_ports_passes,
}

/// A datagram of four fragments.
fn large<A: Sample>(frame: Frame<A>, identification: u32) -> (Frame<A>, Vec<Vec<u8>>) {
    let payload = (0..1500_u16).map(|n| n as u8).collect();
    let whole = Frame { payload, identification, ..frame };
    let fragments = whole.fragments(400).unwrap();
    assert_eq!(fragments.len(), 4);
    (whole, fragments)
}

/// All orders of the fragments in which the first one is the first.
const ORDERS: [[usize; 4]; 6] =
    [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3], [0, 2, 3, 1], [0, 3, 1, 2], [0, 3, 2, 1]];

/// Sends the fragments in that order, all of which must take this way.
fn send_all<A: Sample>(
    world: &World<A>,
    side: u32,
    fragments: &[Vec<u8>],
    order: [usize; 4],
    way: Verdict,
) -> Frame<A> {
    let after = order.map(|place| {
        let (verdict, bytes) = world.send_bytes(side, &fragments[place]);
        assert_eq!(verdict, way, "{place} of {order:?}");
        bytes
    });
    Frame::join(&after).unwrap()
}

fn fragments_follow_their_first_one_in_any_order_and_both_ways<A: Sample>(world: World<A>) {
    for (number, order) in (0..).zip(ORDERS) {
        let (question, fragments) = large(world.datagram(40000), 100 + number);
        let seen = send_all(&world, CLIENT_SIDE, &fragments, order, TO_SERVER);
        assert_eq!(seen, as_server_sees(&question, &seen));
        let (answer, fragments) = large(reply(&seen, 0), 200 + number);
        let back = send_all(&world, SERVER_SIDE, &fragments, order, TO_CLIENT);
        assert_eq!(back, as_client_sees(&answer, &question));
    }
    let statistics = world.env.statistics.borrow()[&world.server(Kind::Udp, 1)];
    assert_eq!(
        (statistics.connections, statistics.in_packets, statistics.out_packets),
        (1, 24, 24)
    );
}

fn tcp_is_followed_too<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    let (segment, fragments) = large(world.segment(40000, ACK), 100);
    let after = send_all(&world, CLIENT_SIDE, &fragments, ORDERS[3], TO_SERVER);
    assert_eq!(after, as_server_sees(&segment, &seen));
}

fn two_datagrams_may_be_on_the_way_at_once<A: Sample>(world: World<A>) {
    let (one, of_one) = large(world.datagram(40000), 1);
    let (other, of_other) = large(world.datagram(40001), 2);
    let mut seen_one = Vec::new();
    let mut seen_other = Vec::new();
    for (first, second) in of_one.iter().zip(&of_other) {
        seen_one.push(world.send_bytes(CLIENT_SIDE, first).1);
        seen_other.push(world.send_bytes(CLIENT_SIDE, second).1);
    }
    let (seen_one, seen_other) =
        (Frame::join(&seen_one).unwrap(), Frame::join(&seen_other).unwrap());
    assert_eq!(seen_one, as_server_sees(&one, &seen_one));
    assert_eq!(seen_other, as_server_sees(&other, &seen_other));
    assert_ne!(seen_one.destination, seen_other.destination);
}

fn a_fragment_before_its_first_one_passes_and_is_counted<A: Sample>(world: World<A>) {
    let (_, fragments) = large(world.datagram(40000), 100);
    for later in &fragments[1..] {
        let (verdict, after) = world.send_bytes(CLIENT_SIDE, later);
        assert_eq!((verdict, &after), (Verdict::Pass(Counter::Fragment), later));
    }
    assert_eq!(world.env.counted(Counter::Fragment), 3);
    assert_eq!(world.send_bytes(CLIENT_SIDE, &fragments[0]).0, TO_SERVER);
    assert_eq!(world.send_bytes(CLIENT_SIDE, &fragments[2]).0, TO_SERVER);
}

fn fragments_of_what_is_not_ours_pass<A: Sample>(world: World<A>) {
    let stranger = Frame::udp((World::<A>::client(), 40000), (A::VIP, 53), b"");
    let (_, fragments) = large(stranger, 100);
    let counters = [Counter::NoService, Counter::Fragment, Counter::Fragment, Counter::Fragment];
    for (fragment, counter) in fragments.iter().zip(counters) {
        let (verdict, after) = world.send_bytes(CLIENT_SIDE, fragment);
        assert_eq!((verdict, &after), (Verdict::Pass(counter), fragment));
    }
    let (_, fragments) = large(world.segment(40000, ACK), 101);
    let counters = [Counter::NotSyn, Counter::Fragment, Counter::Fragment, Counter::Fragment];
    for (fragment, counter) in fragments.iter().zip(counters) {
        let (verdict, after) = world.send_bytes(CLIENT_SIDE, fragment);
        assert_eq!((verdict, &after), (Verdict::Pass(counter), fragment));
    }
}

fn fragments_of_other_protocols_pass<A: Sample>(world: World<A>) {
    let echo = if A::VERSION == 4 { [8, 0] } else { [128, 0] };
    let ping = Frame::icmp(World::<A>::client(), A::VIP, echo, 0, &[0; 1492]);
    let (_, fragments) = large(ping, 100);
    for fragment in &fragments {
        let (verdict, after) = world.send_bytes(CLIENT_SIDE, fragment);
        assert_eq!((verdict, &after), (Verdict::Pass(Counter::OtherProtocol), fragment));
    }
}

fn a_first_one_is_forgotten_after_half_a_minute<A: Sample>(world: World<A>) {
    let (_, fragments) = large(world.datagram(40000), 100);
    assert_eq!(world.send_bytes(CLIENT_SIDE, &fragments[0]).0, TO_SERVER);
    world.pass_seconds(30);
    assert_eq!(world.send_bytes(CLIENT_SIDE, &fragments[1]).0, TO_SERVER);
    world.pass_seconds(1);
    let (verdict, after) = world.send_bytes(CLIENT_SIDE, &fragments[2]);
    assert_eq!((verdict, &after), (Verdict::Pass(Counter::Fragment), &fragments[2]));
}

fn fragments_of_an_ended_connection_pass<A: Sample>(world: World<A>) {
    let (_, fragments) = large(world.datagram(40000), 100);
    assert_eq!(world.send_bytes(CLIENT_SIDE, &fragments[0]).0, TO_SERVER);
    A::tables(&world.env).flows.borrow_mut().clear();
    let (verdict, after) = world.send_bytes(CLIENT_SIDE, &fragments[1]);
    assert_eq!((verdict, &after), (Verdict::Pass(Counter::Fragment), &fragments[1]));
}

fn a_first_fragment_without_its_ports_passes<A: Sample>(world: World<A>) {
    let (_, fragments) = large(world.datagram(40000), 100);
    let header = if A::VERSION == 4 { 14 + 20 } else { 14 + 48 };
    for length in header..header + 8 {
        let (verdict, after) = world.send_bytes(CLIENT_SIDE, &fragments[0][..length]);
        assert_eq!(verdict, Verdict::Pass(Counter::Malformed));
        assert_eq!(after, fragments[0][..length]);
    }
}
