//! The numbers of active and inactive connections of a server: exact through a connection's whole life.

use lvs_common::{
    abi::{Counter, Tuple},
    connection,
    host::sample::{Kind, Sample},
    pipeline::Verdict,
    tcp::flags::{ACK, FIN, RST, SYN},
};

use crate::world::{World, everywhere, reply};

everywhere! {
    a_tcp_connection_is_active_until_one_side_closes,
    a_reset_makes_it_inactive,
    udp_is_inactive,
    collecting_leaves_what_is_alive,
    a_connection_that_is_not_made_is_not_counted,
}

/// What the controller does: runs over all entries and collects those that are over.
pub(crate) fn collect<A: Sample>(world: &World<A>) -> usize {
    let keys: Vec<Tuple<A>> = A::tables(&world.env).entries().into_keys().collect();
    let now = world.env.now.get();
    keys.iter().filter(|key| connection::collect(&world.env, *key, now)).count()
}

fn a_tcp_connection_is_active_until_one_side_closes<A: Sample>(world: World<A>) {
    let load = |expected| assert_eq!(world.load(Kind::Tcp, 1), expected);
    let (_, seen) = world.send(&world.segment(40000, SYN));
    load((1, 0));
    world.send(&world.segment(40000, SYN));
    load((1, 0));
    world.send(&reply(&seen, SYN | ACK));
    world.send(&world.segment(40000, ACK));
    load((1, 0));
    world.send(&world.segment(40000, FIN | ACK));
    load((0, 1));
    world.send(&reply(&seen, FIN | ACK));
    load((0, 1));
    assert_eq!(collect(&world), 0, "nothing is over yet");
    world.pass_seconds(121);
    assert_eq!(collect(&world), 1);
    load((0, 0));
    assert_eq!(world.entries(), 0);
}

fn a_reset_makes_it_inactive<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    world.send(&reply(&seen, RST));
    assert_eq!(world.load(Kind::Tcp, 1), (0, 1));
    world.pass_seconds(11);
    assert_eq!(collect(&world), 1);
    assert_eq!(world.load(Kind::Tcp, 1), (0, 0));
}

fn udp_is_inactive<A: Sample>(world: World<A>) {
    world.send(&world.datagram(40000));
    world.send(&world.datagram(40000));
    world.send(&world.datagram(40001));
    assert_eq!((world.load(Kind::Udp, 1), world.load(Kind::Udp, 0)), ((0, 1), (0, 1)));
    world.pass_seconds(301);
    assert_eq!(collect(&world), 2);
    assert_eq!((world.total_load(), world.entries()), ((0, 0), 0));
}

fn collecting_leaves_what_is_alive<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    world.open(Kind::Tcp, 40001);
    world.pass_seconds(600);
    world.send(&reply(&seen, ACK));
    world.pass_seconds(600);
    assert_eq!(collect(&world), 1, "the one in which nothing happened");
    assert_eq!((world.total_load(), world.entries()), ((1, 0), 2));
}

fn a_connection_that_is_not_made_is_not_counted<A: Sample>(world: World<A>) {
    A::tables(&world.env).capacity.set(2);
    world.open(Kind::Tcp, 40000);
    for capacity in [2, 3] {
        A::tables(&world.env).capacity.set(capacity);
        let verdict = world.send_bytes(3, &world.segment(40001, SYN).bytes().unwrap()).0;
        assert_eq!(verdict, Verdict::Drop(Counter::TableFull));
        assert_eq!((world.total_load(), world.entries()), ((1, 0), 2));
    }
    assert_eq!(world.send(&world.segment(40000, ACK)).0, crate::world::TO_SERVER);
}
