//! ICMP errors of our own: the sender is told, in terms of the packet that it has sent.

use lvs_common::{
    abi::Counter,
    host::{
        Frame, Protocol, Tag,
        sample::{CLIENT_SIDE, Kind, SERVER_SIDE, Sample},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};

use crate::world::{TO_CLIENT, TO_SERVER, World, everywhere, reply, with_full_nat, with_nat};

everywhere! {
    a_service_without_server_answers_port_unreachable,
    the_end_of_the_ttl_is_told_by_the_interface,
    an_interface_without_address_lends_the_destinations,
    a_packet_too_large_for_the_way_to_the_server_is_told_the_mtu,
    a_reply_too_large_for_the_way_to_the_client_is_told_the_mtu,
    the_error_has_the_tags_of_the_packet,
    options_and_an_odd_length_are_quoted_right,
    errors_are_limited_in_each_second,
    no_error_is_sent_about_an_error,
    only_a_first_fragment_is_answered,
    what_is_shorter_than_its_header_says_is_left_to_the_stack,
}

with_nat! {
    a_large_packet_that_may_be_cut_is_left_to_the_stack,
}

with_full_nat! {
    a_large_packet_is_refused_whether_it_may_be_cut_or_not,
}

/// How much of a packet is quoted.
const QUOTE: usize = 128;

const NO_SERVER: [[u8; 2]; 2] = [[3, 3], [1, 4]];
const EXPIRED: [[u8; 2]; 2] = [[11, 0], [3, 0]];
const TOO_BIG: [[u8; 2]; 2] = [[3, 4], [2, 0]];

/// Checks that this frame is answered with that error by `speaker`.
fn answered<A: Sample>(
    world: &World<A>,
    sent: &Frame<A>,
    back: Verdict,
    kinds: [[u8; 2]; 2],
    rest: u32,
    speaker: A,
) {
    let (verdict, error) = world.send(sent);
    assert_eq!(verdict, back);
    let mut packet = sent.packet().unwrap();
    packet.truncate(QUOTE);
    packet.truncate(packet.len() & !1);
    let [from, to] = sent.macs;
    let kind = if A::VERSION == 4 { kinds[0] } else { kinds[1] };
    let expected = Frame {
        macs: [to, from],
        tags: sent.tags.clone(),
        class: 0xc0,
        identification: 0,
        dont_fragment: A::VERSION == 4,
        ..Frame::icmp(speaker, sent.source, kind, rest, &packet)
    };
    assert_eq!(error, expected);
    let inner = error.quoted().unwrap();
    assert_eq!((inner.from(), inner.to(), inner.ttl), (sent.from(), sent.to(), sent.ttl));
}

fn a_service_without_server_answers_port_unreachable<A: Sample>(mut world: World<A>) {
    for kind in [Kind::Tcp, Kind::Udp, Kind::OnePacket, Kind::Persistent] {
        world.change_service(kind, |service| service.members = 0);
        let syn = world.request(kind, 40000, SYN);
        answered(&world, &syn, TO_CLIENT, NO_SERVER, 0, A::VIP);
    }
    assert_eq!(world.env.counted(Counter::NoServer), 4);
    assert_eq!(world.env.counted(Counter::ErrorSent), 4);
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn the_end_of_the_ttl_is_told_by_the_interface<A: Sample>(world: World<A>) {
    let last = |frame: Frame<A>| Frame { ttl: 1, ..frame };
    let [towards_clients, towards_servers] = A::OWN;
    for (kind, flags) in [(Kind::Tcp, SYN), (Kind::Udp, 0), (Kind::OnePacket, 0)] {
        let first = last(world.request(kind, 39999, flags));
        answered(&world, &first, TO_CLIENT, EXPIRED, 0, towards_clients);
    }
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
    let seen = world.open(Kind::Tcp, 40000);
    let data = Frame { payload: vec![1; 301], ..world.segment(40000, ACK) };
    answered(&world, &last(data), TO_CLIENT, EXPIRED, 0, towards_clients);
    let answer = last(reply(&seen, ACK));
    answered(&world, &answer, TO_SERVER, EXPIRED, 0, towards_servers);
    assert_eq!(world.env.counted(Counter::TtlExpired), 5);
    let statistics = world.env.statistics.borrow();
    let of_server = statistics[&world.server(Kind::Tcp, 1)];
    assert_eq!((of_server.in_packets, of_server.out_packets), (2, 1), "they went nowhere");
}

fn an_interface_without_address_lends_the_destinations<A: Sample>(mut world: World<A>) {
    let interface = world.env.interfaces.get_mut(&CLIENT_SIDE).unwrap();
    (interface.address4, interface.address6) = ([0; 4], [0; 16]);
    let last = Frame { ttl: 1, ..world.segment(40000, SYN) };
    answered(&world, &last, TO_CLIENT, EXPIRED, 0, A::VIP);
}

fn a_packet_too_large_for_the_way_to_the_server_is_told_the_mtu<A: Sample>(world: World<A>) {
    world.set_mtu(SERVER_SIDE, 1400);
    let large =
        |frame: Frame<A>| Frame { payload: vec![3; 1400], dont_fragment: A::VERSION == 4, ..frame };
    let own = A::OWN[0];
    for (kind, flags) in [(Kind::Tcp, SYN), (Kind::Udp, 0), (Kind::OnePacket, 0)] {
        let first = large(world.request(kind, 39999, flags));
        answered(&world, &first, TO_CLIENT, TOO_BIG, 1400, own);
    }
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
    world.open(Kind::Tcp, 40000);
    answered(&world, &large(world.segment(40000, ACK)), TO_CLIENT, TOO_BIG, 1400, own);
    assert_eq!(world.env.counted(Counter::TooBig), 4);
    // As large as it may be.
    let headers = if A::VERSION == 4 { 40 } else { 60 };
    let fits = Frame { payload: vec![3; 1400 - headers], ..large(world.segment(40000, ACK)) };
    assert_eq!(world.send(&fits).0, TO_SERVER);
}

fn a_reply_too_large_for_the_way_to_the_client_is_told_the_mtu<A: Sample>(world: World<A>) {
    world.set_mtu(CLIENT_SIDE, 1300);
    let seen = world.open(Kind::Tcp, 40000);
    let (_, datagram) = world.send(&world.datagram(40000));
    for answer in [reply(&seen, ACK), reply(&datagram, 0)] {
        let answer = Frame { payload: vec![3; 1300], dont_fragment: A::VERSION == 4, ..answer };
        answered(&world, &answer, TO_SERVER, TOO_BIG, 1300, A::OWN[1]);
    }
}

fn the_error_has_the_tags_of_the_packet<A: Sample>(mut world: World<A>) {
    world.change_service(Kind::Tcp, |service| service.members = 0);
    for tags in [vec![Tag::vlan(7)], vec![Tag::provider(100), Tag::vlan(7)]] {
        let syn = Frame { tags, ..world.segment(40000, SYN) };
        answered(&world, &syn, TO_CLIENT, NO_SERVER, 0, A::VIP);
    }
}

fn options_and_an_odd_length_are_quoted_right<A: Sample>(mut world: World<A>) {
    world.change_service(Kind::Tcp, |service| service.members = 0);
    for length in [0, 1, 2, 3, 67, 68, 69, 88, 89, 500] {
        let mut syn = Frame {
            payload: (0..=u8::MAX).cycle().take(length).collect(),
            ..world.segment(40000, SYN)
        };
        answered(&world, &syn, TO_CLIENT, NO_SERVER, 0, A::VIP);
        if A::VERSION == 4 {
            syn.options = vec![1; 40];
            answered(&world, &syn, TO_CLIENT, NO_SERVER, 0, A::VIP);
        }
    }
}

fn errors_are_limited_in_each_second<A: Sample>(mut world: World<A>) {
    world.env.errors_per_second = 3;
    world.change_service(Kind::Udp, |service| service.members = 0);
    let send =
        |world: &World<A>| world.send_bytes(CLIENT_SIDE, &world.datagram(40000).bytes().unwrap()).0;
    for _ in 0..2 {
        for _ in 0..3 {
            assert_eq!(send(&world), TO_CLIENT);
        }
        assert_eq!(send(&world), Verdict::Drop(Counter::ErrorLimited));
        assert_eq!(send(&world), Verdict::Drop(Counter::ErrorLimited));
        world.pass_seconds(1);
    }
    assert_eq!(world.env.counted(Counter::NoServer), 10);
    assert_eq!(world.env.counted(Counter::ErrorSent), 6);
    assert_eq!(world.env.counted(Counter::ErrorLimited), 4);
}

fn no_error_is_sent_about_an_error<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    let kind = if A::VERSION == 4 { [3, 3] } else { [1, 4] };
    let error =
        Frame { ttl: 1, ..Frame::icmp(A::ROUTER, seen.source, kind, 0, &seen.packet().unwrap()) };
    let (verdict, _) = world.send(&error);
    assert_eq!(verdict, Verdict::Drop(Counter::TtlExpired));
    assert_eq!(world.env.counted(Counter::ErrorSent), 0);
}

fn only_a_first_fragment_is_answered<A: Sample>(world: World<A>) {
    world.send(&world.datagram(40000));
    let whole =
        Frame { ttl: 1, identification: 9, payload: vec![5; 1000], ..world.datagram(40000) };
    let fragments = whole.fragments(512).unwrap();
    let (verdict, error) = world.send_bytes(CLIENT_SIDE, &fragments[0]);
    assert_eq!(verdict, TO_CLIENT);
    let error = Frame::<A>::read(&error).unwrap();
    assert_eq!(error.payload, fragments[0][14..14 + QUOTE]);
    let (verdict, _) = world.send_bytes(CLIENT_SIDE, &fragments[1]);
    assert_eq!(verdict, Verdict::Drop(Counter::TtlExpired));
    assert_eq!(world.env.counted(Counter::ErrorSent), 1);
}

fn what_is_shorter_than_its_header_says_is_left_to_the_stack<A: Sample>(world: World<A>) {
    let whole = Frame { ttl: 1, payload: vec![3; 60], ..world.segment(40000, SYN) };
    let bytes = whole.bytes().unwrap();
    assert_eq!(world.send_bytes(CLIENT_SIDE, &bytes).0, TO_CLIENT);
    let headers = bytes.len() - whole.payload.len();
    let (verdict, left) = world.send_bytes(CLIENT_SIDE, &bytes[..headers]);
    assert_eq!((verdict, left.as_slice()), (Verdict::Pass(Counter::Malformed), &bytes[..headers]));
    assert_eq!(world.env.counted(Counter::ErrorSent), 1);
}

/// IPv4 without "don't fragment": the stack cuts what it forwards, but no replies, whose source it holds for its own.
fn a_large_packet_that_may_be_cut_is_left_to_the_stack<A: Sample>(world: World<A>) {
    if A::VERSION == 4 {
        world.set_mtu(SERVER_SIDE, 1400);
        for first in [true, false] {
            let large = Frame { payload: vec![3; 1400], ..world.datagram(40000) };
            let (verdict, seen) = world.send(&large);
            assert_eq!(verdict, Verdict::Pass(Counter::HandedToStack), "{first}");
            let expected = Frame { destination: seen.destination, ports: seen.ports, ..large };
            assert_eq!(seen, expected);
        }
        assert_eq!(world.total_load(), (0, 1));
    }
}

fn a_large_packet_is_refused_whether_it_may_be_cut_or_not<A: Sample>(world: World<A>) {
    world.set_mtu(SERVER_SIDE, 1400);
    let large = Frame { payload: vec![3; 1400], ..world.datagram(40000) };
    answered(&world, &large, TO_CLIENT, TOO_BIG, 1400, A::OWN[0]);
    assert_eq!(large.protocol, Protocol::Udp);
}
