//! ICMP errors about packets of connections, translated in both directions; `Frame::read` checks the outer and
//! `Frame::quoted` the inner checksums.

use lvs_common::{
    abi::Counter,
    env::{Reach, Route},
    host::{
        Frame, Protocol,
        sample::{CLIENT_MAC, Kind, SERVER_MAC, SERVER_SIDE, Sample, unresolved},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};

use crate::world::{TO_CLIENT, TO_SERVER, World, everywhere, forwarded, reply, with_nat};

everywhere! {
    errors_about_a_clients_packet_reach_the_client_and_speak_of_its_own_packet,
    errors_about_a_reply_reach_the_server_and_speak_of_its_own_packet,
    short_quotes_are_translated,
    a_datagram_without_checksum_is_quoted_without_one,
    errors_about_one_packet_services_are_translated,
    errors_count_for_the_server,
    what_is_no_error_about_a_connection_passes_untouched,
    errors_about_an_ended_connection_pass_untouched,
    errors_without_a_way_are_dropped,
    errors_within_a_fragment_header_or_quoting_a_later_fragment_pass,
    bytes_behind_the_error_are_not_touched,
}

with_nat! {
    errors_towards_an_unresolved_server_go_through_the_stack,
}

/// Type, code and rest of the errors that are translated.
fn errors<A: Sample>() -> Vec<([u8; 2], u32)> {
    if A::VERSION == 4 {
        vec![([3, 4], 1400), ([3, 3], 0), ([3, 13], 0), ([4, 0], 0), ([11, 0], 0)]
    } else {
        vec![([2, 0], 1400), ([1, 4], 0), ([1, 1], 0), ([3, 0], 0), ([4, 1], 6)]
    }
}

/// A packet without what belongs to its frame, as an error quotes it.
fn quoted<A: Sample>(frame: &Frame<A>) -> Frame<A> {
    let blank = Frame::new(frame.from(), frame.to(), 0);
    Frame { macs: blank.macs, tags: vec![], ..frame.clone() }
}

/// Packets of both protocols with some payload, and how their servers see them.
fn connections<A: Sample>(world: &World<A>) -> Vec<(Frame<A>, Frame<A>)> {
    world.open(Kind::Tcp, 40000);
    [world.segment(40000, ACK), world.datagram(40000)]
        .into_iter()
        .map(|frame| Frame { payload: (0..99).collect(), ..frame })
        .map(|frame| {
            let (verdict, seen) = world.send(&frame);
            assert_eq!(verdict, TO_SERVER);
            (frame, seen)
        })
        .collect()
}

fn errors_about_a_clients_packet_reach_the_client_and_speak_of_its_own_packet<A: Sample>(
    world: World<A>,
) {
    for (sent, seen) in connections(&world) {
        let packet = seen.packet().unwrap();
        for speaker in [seen.destination, A::ROUTER] {
            for (kind, rest) in errors::<A>() {
                let error = Frame::icmp(speaker, seen.source, kind, rest, &packet);
                let (verdict, translated) = world.send(&error);
                assert_eq!(verdict, TO_CLIENT);
                let expected = Frame {
                    source: A::VIP,
                    destination: sent.source,
                    payload: translated.payload.clone(),
                    ..forwarded(&error, CLIENT_MAC)
                };
                assert_eq!(translated, expected);
                // One hop further than when the client sent it.
                let expected = Frame { ttl: sent.ttl - 1, ..quoted(&sent) };
                assert_eq!(translated.quoted().unwrap(), expected);
            }
        }
    }
}

fn errors_about_a_reply_reach_the_server_and_speak_of_its_own_packet<A: Sample>(world: World<A>) {
    for (sent, seen) in connections(&world) {
        let answer = Frame { payload: (0..99).collect(), ..reply(&seen, ACK) };
        let (_, answer_seen) = world.send(&answer);
        let packet = answer_seen.packet().unwrap();
        for speaker in [sent.source, A::CLIENTS[1]] {
            for (kind, rest) in errors::<A>() {
                let error = Frame::icmp(speaker, A::VIP, kind, rest, &packet);
                let (verdict, translated) = world.send(&error);
                assert_eq!(verdict, TO_SERVER);
                let expected = Frame {
                    // NAT leaves a router's own name on its error.
                    source: if world.full_nat() { seen.source } else { speaker },
                    destination: seen.destination,
                    payload: translated.payload.clone(),
                    ..forwarded(&error, SERVER_MAC)
                };
                assert_eq!(translated, expected);
                let expected = Frame { ttl: answer.ttl - 1, ..quoted(&answer) };
                assert_eq!(translated.quoted().unwrap(), expected);
            }
        }
    }
}

/// RFC 792 asks for the header and eight bytes; a router may quote no more.
fn short_quotes_are_translated<A: Sample>(world: World<A>) {
    for (sent, seen) in connections(&world) {
        let packet = seen.packet().unwrap();
        let header =
            packet.len() - seen.payload.len() - if sent.protocol == Protocol::Tcp { 20 } else { 8 };
        for quote in [8, 9, 17, 18, 19, 20, 21, 50, packet.len() - header] {
            if header + quote > packet.len() {
                continue;
            }
            let (kind, rest) = errors::<A>()[0];
            let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &packet[..header + quote]);
            let (verdict, translated) = world.send(&error);
            assert_eq!(verdict, TO_CLIENT);
            let inner = translated.quoted().unwrap();
            assert_eq!((inner.from(), inner.to()), (sent.from(), sent.to()));
            let whole = Frame { ttl: sent.ttl - 1, ..quoted(&sent) }.packet().unwrap();
            // Half a checksum is left as it is.
            let compared = header + if quote == 17 { 16 } else { quote };
            assert_eq!(translated.payload[..compared], whole[..compared], "{quote}");
        }
    }
}

fn a_datagram_without_checksum_is_quoted_without_one<A: Sample>(world: World<A>) {
    if A::VERSION == 4 {
        let sent = Frame { protocol: Protocol::UnsummedUdp, ..world.datagram(40000) };
        let (_, seen) = world.send(&sent);
        let error = Frame::icmp(A::ROUTER, seen.source, [3, 3], 0, &seen.packet().unwrap());
        let (verdict, translated) = world.send(&error);
        assert_eq!(verdict, TO_CLIENT);
        assert_eq!(translated.quoted().unwrap(), Frame { ttl: 63, ..quoted(&sent) });
    }
}

fn errors_about_one_packet_services_are_translated<A: Sample>(world: World<A>) {
    let sent = world.request(Kind::OnePacket, 40000, 0);
    let (_, seen) = world.send(&sent);
    let (kind, rest) = errors::<A>()[1];
    let error = Frame::icmp(seen.destination, seen.source, kind, rest, &seen.packet().unwrap());
    let (verdict, translated) = world.send(&error);
    assert_eq!((verdict, translated.destination), (TO_CLIENT, sent.source));
    assert_eq!(translated.quoted().unwrap(), Frame { ttl: 63, ..quoted(&sent) });
}

fn errors_count_for_the_server<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &seen.packet().unwrap());
    world.send(&error);
    let statistics = world.env.statistics.borrow()[&world.server(Kind::Udp, 1)];
    assert_eq!((statistics.in_packets, statistics.out_packets), (1, 1));
    assert_eq!(statistics.out_bytes, error.packet().unwrap().len() as u64);
}

fn what_is_no_error_about_a_connection_passes_untouched<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    let packet = seen.packet().unwrap();
    let (echo, kind) = if A::VERSION == 4 { ([8, 0], [3, 3]) } else { ([128, 0], [1, 4]) };
    let stranger = Frame::udp(seen.from(), (A::SERVERS[0], 9), b"").packet().unwrap();
    let other = Frame::new(seen.from(), seen.to(), ACK).packet().unwrap();
    let mut not_ip = packet.clone();
    not_ip[0] = 0;
    let mut sctp = packet.clone();
    sctp[if A::VERSION == 4 { 9 } else { 6 }] = 132;
    for (kind, quote) in [
        (echo, packet.clone()),
        (kind, stranger),
        (kind, other),
        (kind, not_ip),
        (kind, sctp),
        (kind, vec![]),
        (kind, packet[..if A::VERSION == 4 { 27 } else { 47 }].to_vec()),
    ] {
        let error = Frame::icmp(A::ROUTER, seen.source, kind, 0, &quote);
        world.expect_pass(&error, Verdict::Pass(Counter::OtherProtocol));
    }
}

fn errors_about_an_ended_connection_pass_untouched<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    world.pass_seconds(301);
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &seen.packet().unwrap());
    world.expect_pass(&error, Verdict::Pass(Counter::OtherProtocol));
}

fn errors_without_a_way_are_dropped<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &seen.packet().unwrap());
    world.route(World::<A>::client(), Route::nowhere(Reach::None));
    world.pass_seconds(2);
    let (verdict, _) = world.send_bytes(SERVER_SIDE, &error.bytes().unwrap());
    assert_eq!(verdict, Verdict::Drop(Counter::NoRoute));
}

fn errors_within_a_fragment_header_or_quoting_a_later_fragment_pass<A: Sample>(world: World<A>) {
    let sent = Frame { payload: vec![5; 64], ..world.datagram(40000) };
    let (_, seen) = world.send(&sent);
    let fragments = Frame { identification: 77, ..seen.clone() }.fragments(32).unwrap();
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &fragments[1][14..]);
    world.expect_pass(&error, Verdict::Pass(Counter::OtherProtocol));
    // Of the first one the ports are known.
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, &fragments[0][14..]);
    let (verdict, translated) = world.send(&error);
    assert_eq!(verdict, TO_CLIENT);
    assert_eq!(translated.quoted().unwrap().from(), sent.from());
}

/// What lies behind the packet in its frame is none of its bytes.
fn bytes_behind_the_error_are_not_touched<A: Sample>(world: World<A>) {
    world.open(Kind::Tcp, 40000);
    let (_, seen) = world.send(&world.segment(40000, ACK));
    let packet = seen.packet().unwrap();
    let quote = &packet[..packet.len() - 12];
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(A::ROUTER, seen.source, kind, rest, quote);
    let mut bytes = error.bytes().unwrap();
    let length = bytes.len();
    bytes.extend([0xaa; 20]);
    let (verdict, after) = world.send_bytes(SERVER_SIDE, &bytes);
    assert_eq!(verdict, TO_CLIENT);
    assert_eq!(after[length..], [0xaa; 20]);
    assert!(Frame::<A>::read(&after).is_ok());
}

fn errors_towards_an_unresolved_server_go_through_the_stack<A: Sample>(world: World<A>) {
    let sent = world.segment(40000, SYN);
    let (_, seen) = world.send(&sent);
    let (_, answer) = world.send(&reply(&seen, SYN | ACK));
    let server = seen.destination;
    world.route(server, unresolved(SERVER_SIDE, server));
    world.pass_seconds(2);
    let (kind, rest) = errors::<A>()[0];
    let error = Frame::icmp(sent.source, A::VIP, kind, rest, &answer.packet().unwrap());
    let (verdict, translated) = world.send(&error);
    assert_eq!(verdict, Verdict::Pass(Counter::HandedToStack));
    let expected = Frame { destination: server, payload: translated.payload.clone(), ..error };
    assert_eq!(translated, expected, "the TTL is the stack's to lower");
}
