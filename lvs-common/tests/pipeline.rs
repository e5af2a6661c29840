//! The whole walk on the host: what happens to a packet, to its bytes and to the tables.

mod world;

use lvs_common::{
    abi::{Counter, Flow4},
    env::Route,
    host::Frame,
    pipeline::Verdict,
    tcp::{
        TcpState,
        flags::{ACK, FIN, RST, SYN},
    },
};
use proptest::prelude::*;
use world::{
    CLIENT, CLIENT_MAC, CLIENT_SIDE, LOCAL_MAC, NEIGHBOUR, PORT, SECOND, SERVER_MAC, SERVER_PORT,
    SERVER_SIDE, VIP, World,
};

const TO_SERVER: Verdict = Verdict::Redirect(SERVER_SIDE);
const TO_CLIENT: Verdict = Verdict::Redirect(CLIENT_SIDE);

fn from_client(port: u16, flags: u8) -> Frame {
    Frame::new((CLIENT, port), (VIP, PORT), flags)
}

/// The reply of the server that `frame` was rewritten for.
fn reply(frame: &Frame, flags: u8) -> Frame {
    Frame::new((frame.destination, frame.ports[1]), (frame.source, frame.ports[0]), flags)
}

/// Opens a connection from this port and gives the SYN as the server sees it.
fn open(world: &World, port: u16) -> Frame {
    let (verdict, seen) = world.send(&from_client(port, SYN));
    assert_eq!(verdict, TO_SERVER);
    assert_eq!(world.send(&reply(&seen, SYN | ACK)).0, TO_CLIENT);
    assert_eq!(world.send(&from_client(port, ACK)).0, TO_SERVER);
    seen
}

fn state(world: &World, frame: &Frame) -> Option<TcpState> {
    let flow: Flow4 = world.env.entry(&frame.tuple())?;
    TcpState::from_number(flow.state)
}

#[test]
fn a_connection_is_rewritten_both_ways() {
    let world = World::new();
    let mut syn = from_client(40000, SYN);
    syn.payload = b"early data".to_vec();
    let (verdict, seen) = world.send(&syn);
    assert_eq!(verdict, TO_SERVER);
    let mut expected = Frame::new((CLIENT, 40000), (SECOND, SERVER_PORT), SYN);
    expected.macs = [LOCAL_MAC, SERVER_MAC];
    expected.ttl = 63;
    expected.payload = b"early data".to_vec();
    assert_eq!(seen, expected);

    let (verdict, answer) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, TO_CLIENT);
    let mut expected = Frame::new((VIP, PORT), (CLIENT, 40000), SYN | ACK);
    expected.macs = [LOCAL_MAC, CLIENT_MAC];
    expected.ttl = 63;
    assert_eq!(answer, expected);
    let statistics = world.env.statistics.borrow()[&1];
    assert_eq!((statistics.connections, statistics.in_packets, statistics.out_packets), (1, 1, 1));
    assert_eq!((statistics.in_bytes, statistics.out_bytes), (50, 40));
}

#[test]
fn round_robin_walks_from_the_newest_and_skips_weight_0() {
    let world = World::new();
    let chosen: Vec<_> =
        (0..4).map(|n| world.send(&from_client(40000 + n, SYN)).1.destination[3]).collect();
    assert_eq!(chosen, [101, 100, 101, 100]);
}

#[test]
fn both_entries_follow_the_state() {
    let world = World::new();
    let seen = open(&world, 40000);
    for frame in [from_client(40000, 0), reply(&seen, 0)] {
        assert_eq!(state(&world, &frame), Some(TcpState::Established));
        assert_eq!(world.env.entry(&frame.tuple()).unwrap().timeout, 900);
    }
    world.send(&reply(&seen, FIN | ACK));
    world.send(&from_client(40000, FIN | ACK));
    for frame in [from_client(40000, 0), reply(&seen, 0)] {
        assert_eq!(state(&world, &frame), Some(TcpState::TimeWait));
    }
}

#[test]
fn a_syn_on_a_closed_connection_starts_a_new_one_with_the_next_server() {
    let world = World::new();
    let first = open(&world, 40000);
    world.send(&reply(&first, FIN | ACK));
    world.send(&from_client(40000, FIN | ACK));
    let (_, second) = world.send(&from_client(40000, SYN));
    assert_ne!(first.destination, second.destination);
    assert_eq!(state(&world, &from_client(40000, 0)), Some(TcpState::SynRecv));
    assert_eq!(world.env.entry(&reply(&first, 0).tuple()), None, "the old reverse entry is gone");
}

#[test]
fn a_syn_on_a_live_connection_stays_with_its_server() {
    let world = World::new();
    let first = open(&world, 40000);
    let (verdict, again) = world.send(&from_client(40000, SYN));
    assert_eq!((verdict, again.destination), (TO_SERVER, first.destination));
}

#[test]
fn persistence_keeps_the_server_until_its_time_ends_and_each_connection_restarts_it() {
    let mut world = World::new();
    world.set_persistence(10);
    let first = open(&world, 40000).destination;
    for step in 1..6 {
        world.pass_seconds(8);
        assert_eq!(open(&world, 40000 + step).destination, first, "step {step}");
    }
    world.pass_seconds(11);
    assert_ne!(open(&world, 41000).destination, first);
}

#[test]
fn persistence_outlives_weight_0() {
    let mut world = World::new();
    world.set_persistence(10);
    let first = open(&world, 40000).destination;
    world.env.servers[1].weight = 0;
    assert_eq!(open(&world, 40001).destination, first);
}

#[test]
fn an_entry_past_its_time_is_absent() {
    let world = World::new();
    open(&world, 40000);
    world.pass_seconds(901);
    let (verdict, untouched) = world.send(&from_client(40000, ACK));
    assert_eq!(verdict, Verdict::Pass(Counter::NotSyn));
    assert_eq!(untouched, from_client(40000, ACK));
    assert!(world.env.flows.borrow().is_empty());
}

#[test]
fn traffic_in_one_direction_keeps_both_alive() {
    let world = World::new();
    let seen = open(&world, 40000);
    for _ in 0..3 {
        world.pass_seconds(600);
        assert_eq!(world.send(&reply(&seen, ACK)).0, TO_CLIENT);
    }
    assert_eq!(world.send(&from_client(40000, ACK)).0, TO_SERVER);
}

#[test]
fn what_is_not_ours_passes_untouched() {
    let world = World::new();
    for (what, frame, counter) in [
        ("ssh to the box", Frame::new((CLIENT, 40000), (VIP, 22), SYN), Counter::NoService),
        ("no connection", from_client(40000, ACK), Counter::NotSyn),
        ("SYN and ACK", from_client(40000, SYN | ACK), Counter::NotSyn),
        ("a server's own", Frame::new((SECOND, 22), (CLIENT, 9), ACK), Counter::NoService),
    ] {
        let (verdict, after) = world.send(&frame);
        assert_eq!((verdict, after), (Verdict::Pass(counter), frame), "{what}");
    }
    let mut arp = from_client(40000, SYN).bytes().unwrap();
    arp[12..14].copy_from_slice(&[0x08, 0x06]);
    let mut udp = from_client(40000, SYN).bytes().unwrap();
    udp[23] = 17;
    let mut fragment = from_client(40000, SYN).bytes().unwrap();
    fragment[20] = 0x20;
    let mut last_fragment = from_client(40000, SYN).bytes().unwrap();
    last_fragment[21] = 0x08;
    let mut version = from_client(40000, SYN).bytes().unwrap();
    version[14] = 0x65;
    let mut short_header = from_client(40000, SYN).bytes().unwrap();
    short_header[14] = 0x44;
    let mut short_length = from_client(40000, SYN).bytes().unwrap();
    short_length[17] = 39;
    let cut = from_client(40000, SYN).bytes().unwrap()[..53].to_vec();
    for (bytes, counter) in [
        (arp, Counter::NotIpv4),
        (vec![0; 14], Counter::NotIpv4),
        (Vec::new(), Counter::NotIpv4),
        (udp, Counter::NotTcp),
        (fragment, Counter::Fragment),
        (last_fragment, Counter::Fragment),
        (version, Counter::Malformed),
        (short_header, Counter::Malformed),
        (short_length, Counter::Malformed),
        (cut, Counter::Malformed),
    ] {
        let mut after = bytes.clone();
        assert_eq!(world.send_bytes(&mut after), Verdict::Pass(counter));
        assert_eq!(after, bytes, "{counter:?}");
    }
    assert!(world.env.flows.borrow().is_empty());
}

#[test]
fn ip_options_are_skipped() {
    let world = World::new();
    let mut syn = from_client(40000, SYN);
    syn.options = vec![1; 40];
    let (verdict, seen) = world.send(&syn);
    assert_eq!((verdict, seen.ports, seen.options), (TO_SERVER, [40000, SERVER_PORT], vec![1; 40]));
}

#[test]
fn a_packet_at_the_end_of_its_ttl_goes_nowhere() {
    let world = World::new();
    open(&world, 40000);
    let mut last = from_client(40000, ACK);
    last.ttl = 1;
    assert_eq!(world.send(&last).0, Verdict::Drop(Counter::TtlExpired));
}

#[test]
fn a_server_without_neighbour_entry_is_reached_through_the_stack() {
    let world = World::new();
    world.route(SECOND, Route::Unresolved { interface: SERVER_SIDE, neighbour: SECOND });
    let (verdict, seen) = world.send(&from_client(40000, SYN));
    assert_eq!(verdict, Verdict::Pass(Counter::HandedToStack));
    assert_eq!((seen.destination, seen.ttl), (SECOND, 64), "the stack lowers the TTL");
    assert_eq!(seen.macs, from_client(40000, SYN).macs);
    world.reset_routes();
    assert_eq!(world.send(&from_client(40000, SYN)).0, TO_SERVER);
}

#[test]
fn a_client_without_neighbour_entry_is_answered_where_its_syn_came_from() {
    let world = World::new();
    world.route(CLIENT, Route::Unresolved { interface: CLIENT_SIDE, neighbour: CLIENT });
    let (_, seen) = world.send(&from_client(40000, SYN));
    let (verdict, answer) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, TO_CLIENT);
    assert_eq!(answer.macs[1], from_client(40000, SYN).macs[0]);
    assert!(!world.env.neighbours.borrow()[&(CLIENT_SIDE, CLIENT)]);
}

#[test]
fn a_reply_that_nobody_can_take_is_dropped_and_the_neighbour_asked_for() {
    let world = World::new();
    world.route(CLIENT, Route::Unresolved { interface: 77, neighbour: [10, 9, 9, 9] });
    let (_, seen) = world.send(&from_client(40000, SYN));
    let (verdict, _) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, Verdict::Drop(Counter::Unresolved));
    assert!(!world.env.neighbours.borrow()[&(77, [10, 9, 9, 9])]);
}

#[test]
fn interfaces_that_are_not_attached_are_left_to_the_stack_or_dropped() {
    let mut world = World::new();
    let server_side = world.env.interfaces.remove(&SERVER_SIDE).unwrap();
    let (verdict, seen) = world.send(&from_client(40000, SYN));
    assert_eq!(verdict, Verdict::Pass(Counter::HandedToStack));
    world.env.interfaces.insert(SERVER_SIDE, server_side);
    world.env.interfaces.remove(&CLIENT_SIDE);
    world.pass_seconds(2);
    let (verdict, _) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, Verdict::Drop(Counter::NotAttached));
}

#[test]
fn routing_refusals_are_told_apart() {
    for (route, counter) in
        [(Route::ForwardingDisabled, Counter::ForwardingDisabled), (Route::None, Counter::NoRoute)]
    {
        let world = World::new();
        world.route(SECOND, route);
        assert_eq!(world.send(&from_client(40000, SYN)).0, Verdict::Drop(counter));
        assert_eq!(world.env.counters.borrow()[&counter], 1);
        assert!(world.env.flows.borrow().is_empty(), "no connection to nowhere");
    }
}

#[test]
fn the_controller_hears_of_neighbours_in_use() {
    let world = World::new();
    open(&world, 40000);
    let used = world.env.neighbours.borrow();
    assert!(used[&(SERVER_SIDE, NEIGHBOUR)] && used[&(CLIENT_SIDE, NEIGHBOUR)]);
}

#[test]
fn nobody_gets_a_connection_under_a_name_that_no_client_has() {
    let world = World::new();
    for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 5], [255; 4]] {
        let syn = Frame::new((source, 40000), (VIP, PORT), SYN);
        assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::MartianSource), "{source:?}");
    }
    // The balancer's own addresses have no route.
    for source in [VIP, [192, 168, 1, 1]] {
        let syn = Frame::new((source, 40000), (VIP, PORT), SYN);
        assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::NoRoute), "{source:?}");
    }
    assert!(world.env.flows.borrow().is_empty());
}

#[test]
fn frames_for_other_hosts_open_nothing() {
    let world = World::new();
    for (mac, verdict) in [
        ([2, 0, 0, 0, 0, 0x99], Verdict::Pass(Counter::OtherHost)),
        ([0xff; 6], Verdict::Pass(Counter::OtherHost)),
        ([0, 0, 0x5e, 0, 1, 7], TO_SERVER),
    ] {
        let mut syn = from_client(40000, SYN);
        syn.macs[1] = mac;
        assert_eq!(world.send(&syn).0, verdict, "{mac:?}");
    }
}

#[test]
fn a_syn_at_the_end_of_its_ttl_opens_nothing() {
    let world = World::new();
    let mut syn = from_client(40000, SYN);
    syn.ttl = 1;
    assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::TtlExpired));
    assert!(world.env.flows.borrow().is_empty());
}

#[test]
fn a_changed_mac_is_followed_after_a_second() {
    let world = World::new();
    open(&world, 40000);
    world.route(SECOND, World::via(SERVER_SIDE, [9; 6]));
    world.pass_seconds(2);
    assert_eq!(world.send(&from_client(40000, ACK)).1.macs[1], [9; 6]);
}

#[test]
fn a_service_without_usable_server_refuses() {
    let mut world = World::new();
    world.set_members(0);
    assert_eq!(world.send(&from_client(40000, SYN)).0, Verdict::Drop(Counter::NoServer));
    assert!(world.env.flows.borrow().is_empty());
}

#[test]
fn a_full_table_refuses_new_connections_only() {
    for capacity in [2, 3] {
        let world = World::new();
        open(&world, 40000);
        world.env.capacity.set(capacity);
        assert_eq!(world.send(&from_client(40001, SYN)).0, Verdict::Drop(Counter::TableFull));
        assert_eq!(world.send(&from_client(40000, ACK)).0, TO_SERVER);
        assert_eq!(world.env.flows.borrow().len(), 2, "no half connection stays behind");
    }
}

#[test]
fn a_reply_tuple_in_use_is_not_taken_over_until_its_connection_is_closed() {
    let world = World::with_second_service();
    let seen = open(&world, 40000);
    // The same client port, another virtual port, and by turn the same server.
    let mut other = from_client(40000, SYN);
    other.ports[1] = PORT + 1;
    assert_eq!(world.send(&other).0, Verdict::Drop(Counter::TupleInUse));
    world.send(&reply(&seen, RST));
    assert_eq!(world.send(&other).0, TO_SERVER);
    let (verdict, answer) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!((verdict, answer.ports), (TO_CLIENT, [PORT + 1, 40000]));
}

proptest! {
    /// Whatever the bytes are: no panic, and what passes is untouched unless it was rewritten for the
    /// stack.
    #[test]
    fn random_frames_are_survived(mut bytes in prop::collection::vec(any::<u8>(), 0..120)) {
        let world = World::new();
        let before = bytes.clone();
        if let Verdict::Pass(counter) = world.send_bytes(&mut bytes)
            && counter != Counter::HandedToStack
        {
            prop_assert_eq!(before, bytes);
        }
    }

    /// A valid frame with some bytes changed.
    #[test]
    fn mutated_frames_are_survived(changes in prop::collection::vec((0_usize..64, any::<u8>()), 1..6)) {
        let world = World::new();
        let mut bytes = from_client(40000, SYN).bytes().unwrap();
        for (place, value) in changes {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        world.send_bytes(&mut bytes);
    }

    /// Rewriting for the server and back again gives the client's view, checksums included, for any
    /// addresses, ports and payload.
    #[test]
    fn nat_and_back_is_the_identity(
        client: [u8; 4],
        server: [u8; 4],
        ports: [u16; 2],
        ttl in 3_u8..,
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        prop_assume!(client != server && client != VIP && server != VIP);
        prop_assume!(matches!(client[0], 1..=126 | 128..=223), "an address that clients have");
        let mut world = World::new();
        world.env.servers[1].address = server;
        world.env.servers[1].port = ports[1];
        world.route(client, World::via(CLIENT_SIDE, CLIENT_MAC));
        world.route(server, World::via(SERVER_SIDE, SERVER_MAC));
        let mut syn = Frame::new((client, ports[0]), (VIP, PORT), SYN);
        syn.ttl = ttl;
        syn.payload.clone_from(&payload);
        let (verdict, seen) = world.send(&syn);
        prop_assert_eq!(verdict, TO_SERVER);
        prop_assert_eq!((seen.destination, seen.ports), (server, ports));
        let mut answer = reply(&seen, SYN | ACK);
        answer.payload.clone_from(&payload);
        let (verdict, seen) = world.send(&answer);
        prop_assert_eq!(verdict, TO_CLIENT);
        prop_assert_eq!((seen.source, seen.ports), (VIP, [PORT, ports[0]]));
        prop_assert_eq!(seen.payload, payload);
    }
}
