//! Packets of connections, rewritten in both directions.

use lvs_common::{
    abi::{Counter, Statistics},
    host::{
        Frame, Protocol,
        sample::{Kind, PORTS, SERVER_PORT, Sample},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, RST, SYN},
};

use crate::world::{
    TO_CLIENT, TO_SERVER, World, as_client_sees, as_server_sees, everywhere, reply, with_nat,
};

everywhere! {
    tcp_is_rewritten_both_ways_and_counted,
    udp_is_rewritten_both_ways_and_counted,
    a_datagram_without_checksum_keeps_having_none,
    a_datagram_whose_sum_becomes_zero_keeps_its_checksum,
    round_robin_walks_from_the_newest_and_skips_weight_0,
    two_clients_with_the_same_port_have_two_connections,
    ip_options_and_the_traffic_class_stay,
    bytes_behind_the_packet_are_not_looked_at,
}

with_nat! {
    a_reply_tuple_in_use_is_not_taken_over_until_its_connection_is_closed,
}

/// What the server sees of the first frame of a connection: the addresses that the method gives it.
fn check_addresses<A: Sample>(world: &World<A>, sent: &Frame<A>, seen: &Frame<A>) {
    assert_eq!(seen.to(), (A::SERVERS[1], SERVER_PORT), "the newest server");
    if world.full_nat() {
        assert_eq!(seen.from(), (A::LOCALS[0], PORTS.start));
    } else {
        assert_eq!(seen.from(), sent.from());
    }
}

fn statistics<A: Sample>(world: &World<A>, kind: Kind) -> Statistics {
    world.env.statistics.borrow()[&world.server(kind, 1)]
}

fn tcp_is_rewritten_both_ways_and_counted<A: Sample>(world: World<A>) {
    let mut syn = world.segment(40000, SYN);
    syn.payload = b"early data".to_vec();
    let (verdict, seen) = world.send(&syn);
    assert_eq!(verdict, TO_SERVER);
    check_addresses(&world, &syn, &seen);
    let expected = as_server_sees(&syn, &seen);
    assert_eq!(seen, expected);

    let answer = reply(&seen, SYN | ACK);
    world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &syn));
    let ack = world.segment(40000, ACK);
    world.expect(&ack, TO_SERVER, &as_server_sees(&ack, &seen));
    // Now nothing is left to decide: the fast path.
    let mut data = world.segment(40000, ACK);
    data.payload = vec![7; 1001];
    world.expect(&data, TO_SERVER, &as_server_sees(&data, &seen));
    let mut data = reply(&seen, ACK);
    data.payload = vec![9; 999];
    world.expect(&data, TO_CLIENT, &as_client_sees(&data, &syn));

    let header = if A::VERSION == 4 { 40 } else { 60 };
    let expected = Statistics {
        connections: 1,
        in_packets: 3,
        in_bytes: 3 * header + 10 + 1001,
        out_packets: 2,
        out_bytes: 2 * header + 999,
    };
    assert_eq!(statistics(&world, Kind::Tcp), expected);
}

fn udp_is_rewritten_both_ways_and_counted<A: Sample>(world: World<A>) {
    let question = world.datagram(40000);
    let (verdict, seen) = world.send(&question);
    assert_eq!(verdict, TO_SERVER);
    check_addresses(&world, &question, &seen);
    let expected = as_server_sees(&question, &seen);
    assert_eq!(seen, expected);
    for _ in 0..2 {
        world.expect(&question, TO_SERVER, &expected);
        let answer = reply(&seen, 0);
        world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &question));
    }
    let header = if A::VERSION == 4 { 28 } else { 48 };
    let expected = Statistics {
        connections: 1,
        in_packets: 3,
        in_bytes: 3 * (header + 10),
        out_packets: 2,
        out_bytes: 2 * (header + 9),
    };
    assert_eq!(statistics(&world, Kind::Udp), expected);
}

fn a_datagram_without_checksum_keeps_having_none<A: Sample>(world: World<A>) {
    if A::VERSION == 4 {
        let mut question = world.datagram(40000);
        question.protocol = Protocol::UnsummedUdp;
        let (_, seen) = world.send(&question);
        assert_eq!(seen, as_server_sees(&question, &seen));
        let mut answer = reply(&seen, 0);
        answer.protocol = Protocol::UnsummedUdp;
        world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &question));
    }
}

/// A checksum of zero would say that there is none (RFC 768); the other form of zero is sent.
fn a_datagram_whose_sum_becomes_zero_keeps_its_checksum<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&world.datagram(40000));
    let sum_at_server = |payload: u16| {
        let mut question = world.datagram(40000);
        question.payload = payload.to_be_bytes().to_vec();
        let packet = as_server_sees(&question, &seen).packet().unwrap();
        (question, u16::from_be_bytes([packet[packet.len() - 4], packet[packet.len() - 3]]))
    };
    let (question, _) = (0..=u16::MAX)
        .map(sum_at_server)
        .find(|(_, sum)| *sum == 0xffff)
        .expect("each sum belongs to a payload");
    world.expect(&question, TO_SERVER, &as_server_sees(&question, &seen));
}

fn round_robin_walks_from_the_newest_and_skips_weight_0<A: Sample>(world: World<A>) {
    for kind in [Kind::Tcp, Kind::Udp] {
        let chosen = (0..4).map(|n| world.send(&world.request(kind, 40000 + n, SYN)).1);
        let chosen: Vec<_> = chosen.map(|seen| seen.destination).collect();
        let [first, second, _] = A::SERVERS;
        assert_eq!(chosen, [second, first, second, first]);
    }
}

fn two_clients_with_the_same_port_have_two_connections<A: Sample>(world: World<A>) {
    let one = world.datagram(40000);
    let other = Frame { source: A::CLIENTS[1], ..one.clone() };
    let (_, of_one) = world.send(&one);
    world.send(&world.datagram(40001));
    let (_, of_other) = world.send(&other);
    assert_eq!(of_one.destination, of_other.destination);
    for (question, seen) in [(&one, &of_one), (&other, &of_other)] {
        let answer = reply(seen, 0);
        world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, question));
    }
}

fn ip_options_and_the_traffic_class_stay<A: Sample>(world: World<A>) {
    let mut syn = world.segment(40000, SYN);
    syn.class = 0xb9;
    if A::VERSION == 4 {
        syn.options = vec![1; 40];
    }
    let (verdict, seen) = world.send(&syn);
    assert_eq!(verdict, TO_SERVER);
    assert_eq!(seen, as_server_sees(&syn, &seen));
}

fn bytes_behind_the_packet_are_not_looked_at<A: Sample>(world: World<A>) {
    let syn = world.segment(40000, SYN);
    let mut bytes = syn.bytes().unwrap();
    bytes.extend([0xff; 6]);
    let (verdict, after) = world.send_bytes(3, &bytes);
    assert_eq!((verdict, after.len()), (TO_SERVER, bytes.len()));
    assert!(Frame::<A>::read(&after).is_ok());
}

fn a_reply_tuple_in_use_is_not_taken_over_until_its_connection_is_closed<A: Sample>(
    world: World<A>,
) {
    let seen = world.open(Kind::Tcp, 40000);
    // The same client port, another virtual port, and by turn the same server.
    let other = world.request(Kind::Persistent, 40000, SYN);
    assert_eq!(world.send(&other).0, Verdict::Drop(Counter::TupleInUse));
    assert_eq!(world.load(Kind::Persistent, 1), (0, 0));
    world.send(&reply(&seen, RST));
    assert_eq!(world.send(&other).0, TO_SERVER);
    let answer = reply(&seen, SYN | ACK);
    world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &other));
    assert_eq!((world.load(Kind::Tcp, 1), world.load(Kind::Persistent, 1)), ((0, 0), (1, 0)));
    assert_eq!(world.entries(), 2, "the closed connection is gone");
}
