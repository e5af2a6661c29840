//! One-packet scheduling: each datagram gets its own turn, and replies find their way back.

use lvs_common::{
    abi::{Counter, flow_flags},
    host::sample::{Kind, Sample},
    pipeline::Verdict,
    plan::ONE_PACKET_TIMEOUT,
};

use crate::{
    loads::collect,
    world::{TO_CLIENT, TO_SERVER, World, as_client_sees, as_server_sees, everywhere, reply},
};

everywhere! {
    each_datagram_gets_the_next_server_and_its_reply_comes_back,
    no_connection_is_counted_or_kept,
    a_late_reply_passes,
    one_client_may_ask_again_at_once,
}

fn question<A: Sample>(world: &World<A>) -> lvs_common::host::Frame<A> {
    world.request(Kind::OnePacket, 40000, 0)
}

fn each_datagram_gets_the_next_server_and_its_reply_comes_back<A: Sample>(world: World<A>) {
    let question = question(&world);
    for turn in 0..4 {
        let (verdict, seen) = world.send(&question);
        assert_eq!((verdict, seen.destination), (TO_SERVER, A::SERVERS[1 - turn % 2]));
        assert_eq!(seen, as_server_sees(&question, &seen));
        let answer = reply(&seen, 0);
        world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &question));
    }
    let statistics = world.env.statistics.borrow();
    for server in [0, 1] {
        let of_server = statistics[&world.server(Kind::OnePacket, server)];
        assert_eq!((of_server.connections, of_server.in_packets, of_server.out_packets), (2, 2, 2));
    }
}

fn no_connection_is_counted_or_kept<A: Sample>(world: World<A>) {
    let question = question(&world);
    world.send(&question);
    assert_eq!(world.total_load(), (0, 0));
    let entries = A::tables(&world.env).entries();
    assert_eq!(entries.len(), 1, "that of the reply");
    assert!(entries.values().all(|entry| entry.head.flags & flow_flags::ONE_PACKET != 0));
    assert!(!entries.contains_key(&question.tuple()));
    world.pass_seconds(u64::from(ONE_PACKET_TIMEOUT) + 1);
    assert_eq!(collect(&world), 1);
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn a_late_reply_passes<A: Sample>(world: World<A>) {
    let (_, seen) = world.send(&question(&world));
    world.pass_seconds(u64::from(ONE_PACKET_TIMEOUT) + 1);
    world.expect_pass(&reply(&seen, 0), Verdict::Pass(Counter::NoService));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn one_client_may_ask_again_at_once<A: Sample>(mut world: World<A>) {
    world.change_service(Kind::OnePacket, |service| service.members = 1);
    let question = question(&world);
    for _ in 0..5 {
        assert_eq!(world.send(&question).0, TO_SERVER);
    }
}
