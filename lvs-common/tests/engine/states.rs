//! The state of a connection, its time and its end.

use lvs_common::{
    abi::{Counter, flow_flags, settings_flags},
    connection,
    host::sample::{Kind, Sample},
    pipeline::Verdict,
    tcp::{
        TcpState,
        flags::{ACK, FIN, RST, SYN},
    },
};

use crate::world::{TO_CLIENT, TO_SERVER, World, as_server_sees, everywhere, reply};

everywhere! {
    both_entries_follow_the_state_and_its_time,
    time_outs_are_those_of_the_settings,
    the_times_without_settings_are_those_of_ipvs,
    an_entry_past_its_time_is_absent,
    a_reply_to_an_entry_past_its_time_passes,
    a_datagram_after_its_time_opens_a_new_connection,
    traffic_in_one_direction_keeps_both_alive,
    a_syn_on_time_wait_starts_a_new_connection_with_the_next_server,
    a_syn_on_close_starts_a_new_connection,
    a_syn_on_time_wait_of_a_removed_server_starts_a_new_connection,
    a_syn_on_time_wait_keeps_a_server_that_persistence_chose,
    a_syn_on_a_live_connection_stays_with_its_server,
    sloppy_tcp_takes_over_what_is_under_way,
    a_new_connection_is_a_lone_syn,
}

/// Has a connection reach `TIME_WAIT`.
fn close<A: Sample>(world: &World<A>, kind: Kind, port: u16) {
    let seen = world.open(kind, port);
    world.send(&reply(&seen, FIN | ACK));
    world.send(&world.request(kind, port, FIN | ACK));
    assert_eq!(world.state(&world.request(kind, port, 0)), Some(TcpState::TimeWait));
}

fn both_entries_follow_the_state_and_its_time<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    let both = [world.segment(40000, 0), reply(&seen, 0)];
    let timeouts = |expected| {
        for frame in &both {
            let entry = A::tables(&world.env).entry(&frame.tuple()).unwrap();
            assert_eq!((TcpState::from_number(entry.head.state), entry.limits.timeout()), expected);
        }
    };
    timeouts((Some(TcpState::Established), 900));
    world.send(&reply(&seen, FIN | ACK));
    timeouts((Some(TcpState::FinWait), 120));
    world.send(&world.segment(40000, FIN | ACK));
    timeouts((Some(TcpState::TimeWait), 120));
}

fn time_outs_are_those_of_the_settings<A: Sample>(mut world: World<A>) {
    world.env.settings.timeouts[TcpState::Established as usize] = 5;
    world.env.settings.timeouts[usize::from(connection::UDP)] = 7;
    let seen = world.open(Kind::Tcp, 40000);
    world.send(&world.datagram(40000));
    world.pass_seconds(4);
    assert_eq!(world.send(&world.segment(40000, ACK)).0, TO_SERVER);
    assert_eq!(world.send(&reply(&seen, ACK)).0, TO_CLIENT);
    world.pass_seconds(6);
    world.expect_pass(&world.segment(40000, ACK), Verdict::Pass(Counter::NotSyn));
    let question = world.datagram(40000).tuple();
    let old = A::tables(&world.env).entry(&question).unwrap();
    assert_eq!(old.limits.timeout(), 7);
    assert!(old.ended(world.env.now.get()), "10 s without a packet");
}

fn the_times_without_settings_are_those_of_ipvs<A: Sample>(world: World<A>) {
    let timeouts: Vec<_> = world.env.settings.timeouts.iter().copied().take(12).collect();
    assert_eq!(timeouts, [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120, 300]);
}

fn an_entry_past_its_time_is_absent<A: Sample>(world: World<A>) {
    world.open(Kind::Tcp, 40000);
    world.pass_seconds(901);
    world.expect_pass(&world.segment(40000, ACK), Verdict::Pass(Counter::NotSyn));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn a_reply_to_an_entry_past_its_time_passes<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    world.pass_seconds(901);
    world.expect_pass(&reply(&seen, ACK), Verdict::Pass(Counter::NoService));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn a_datagram_after_its_time_opens_a_new_connection<A: Sample>(world: World<A>) {
    let (_, first) = world.send(&world.datagram(40000));
    world.pass_seconds(301);
    let (verdict, second) = world.send(&world.datagram(40000));
    assert_eq!(verdict, TO_SERVER);
    assert_ne!(first.destination, second.destination, "the next server's turn");
    assert_eq!((world.entries(), world.total_load()), (2, (0, 1)));
}

fn traffic_in_one_direction_keeps_both_alive<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    for _ in 0..3 {
        world.pass_seconds(600);
        assert_eq!(world.send(&reply(&seen, ACK)).0, TO_CLIENT);
    }
    assert_eq!(world.send(&world.segment(40000, ACK)).0, TO_SERVER);
}

fn a_syn_on_time_wait_starts_a_new_connection_with_the_next_server<A: Sample>(world: World<A>) {
    close(&world, Kind::Tcp, 40000);
    assert_eq!(world.load(Kind::Tcp, 1), (0, 1));
    let (verdict, seen) = world.send(&world.segment(40000, SYN));
    assert_eq!((verdict, seen.destination), (TO_SERVER, A::SERVERS[0]));
    assert_eq!(world.state(&world.segment(40000, 0)), Some(TcpState::SynRecv));
    assert_eq!(world.entries(), 2, "the old ones are gone");
    assert_eq!((world.load(Kind::Tcp, 1), world.load(Kind::Tcp, 0)), ((0, 0), (1, 0)));
}

fn a_syn_on_time_wait_of_a_removed_server_starts_a_new_connection<A: Sample>(mut world: World<A>) {
    close(&world, Kind::Tcp, 40000);
    let removed = world.server(Kind::Tcp, 1) as usize;
    world.env.servers[removed].flags = 0;
    world.pass_seconds(2);
    let (verdict, seen) = world.send(&world.segment(40000, SYN));
    assert_eq!((verdict, seen.destination), (TO_SERVER, A::SERVERS[0]));
}

fn a_syn_on_close_starts_a_new_connection<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    world.send(&reply(&seen, RST));
    assert_eq!(world.state(&reply(&seen, 0)), Some(TcpState::Close));
    let (verdict, seen) = world.send(&world.segment(40000, SYN));
    assert_eq!((verdict, seen.destination), (TO_SERVER, A::SERVERS[0]));
    assert_eq!((world.entries(), world.total_load()), (2, (1, 0)));
}

fn a_syn_on_time_wait_keeps_a_server_that_persistence_chose<A: Sample>(world: World<A>) {
    close(&world, Kind::Persistent, 40000);
    let key = world.request(Kind::Persistent, 40000, 0).tuple();
    let flags = A::tables(&world.env).entry(&key).unwrap().head.flags;
    assert_ne!(flags & flow_flags::CONTROLLED, 0);
    let (verdict, seen) = world.send(&world.request(Kind::Persistent, 40000, SYN));
    assert_eq!((verdict, seen.destination), (TO_SERVER, A::SERVERS[1]));
    assert_eq!(world.env.statistics.borrow()[&world.server(Kind::Persistent, 1)].connections, 1);
    assert_eq!(world.load(Kind::Persistent, 1), (1, 0), "it is one that has come to life again");
}

fn a_syn_on_a_live_connection_stays_with_its_server<A: Sample>(world: World<A>) {
    let first = world.open(Kind::Tcp, 40000);
    let again = world.segment(40000, SYN);
    world.expect(&again, TO_SERVER, &as_server_sees(&again, &first));
}

fn sloppy_tcp_takes_over_what_is_under_way<A: Sample>(mut world: World<A>) {
    world.expect_pass(&world.segment(40000, ACK), Verdict::Pass(Counter::NotSyn));
    world.env.settings.flags = settings_flags::SLOPPY_TCP;
    let (verdict, seen) = world.send(&world.segment(40000, ACK));
    assert_eq!(verdict, TO_SERVER);
    assert_eq!(world.state(&world.segment(40000, ACK)), Some(TcpState::Established));
    assert_eq!(world.send(&reply(&seen, ACK)).0, TO_CLIENT);
    world.expect_pass(&world.segment(40001, RST), Verdict::Pass(Counter::NotSyn));
    let (verdict, _) = world.send(&world.segment(40002, FIN | ACK));
    assert_eq!(verdict, TO_SERVER);
    assert_eq!(world.total_load(), (1, 1), "one established, one at its end");
}

fn a_new_connection_is_a_lone_syn<A: Sample>(world: World<A>) {
    for flags in [0, ACK, RST, FIN, SYN | ACK, SYN | RST, SYN | FIN] {
        world.expect_pass(&world.segment(40000, flags), Verdict::Pass(Counter::NotSyn));
    }
    assert_eq!(world.entries(), 0);
}
