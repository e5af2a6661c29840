//! Where packets go: routes, neighbours, interfaces.

use lvs_common::{
    abi::Counter,
    env::{Reach, Route},
    host::{
        Frame,
        sample::{CLIENT_SIDE, Kind, SERVER_SIDE, Sample, unresolved, via},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, SYN},
};

use crate::world::{TO_CLIENT, TO_SERVER, World, everywhere, reply, with_full_nat, with_nat};

with_nat! {
    a_server_without_neighbour_entry_is_reached_through_the_stack,
    a_way_out_that_is_not_attached_is_left_to_the_stack,
}

with_full_nat! {
    a_server_without_neighbour_entry_is_asked_for,
    a_way_out_that_is_not_attached_is_a_dead_end,
    the_last_next_hop_of_a_server_will_do_until_it_is_resolved_again,
}

everywhere! {
    a_client_without_neighbour_entry_is_answered_where_its_syn_came_from,
    a_reply_that_nobody_can_take_is_dropped_and_the_neighbour_asked_for,
    a_reply_towards_an_interface_that_is_not_attached_is_dropped,
    routing_refusals_are_told_apart,
    the_controller_hears_of_neighbours_in_use,
    a_changed_mac_is_followed_after_a_second,
    new_connections_share_the_way_to_a_server_for_a_second,
}

/// Whether the controller has been told of a neighbour, and that it is resolved.
fn told<A: Sample>(world: &World<A>, interface: u32, neighbour: A) -> Option<bool> {
    A::tables(&world.env).neighbours.borrow().get(&(interface, neighbour)).copied()
}

fn a_server_without_neighbour_entry_is_reached_through_the_stack<A: Sample>(world: World<A>) {
    world.route(A::SERVERS[1], unresolved(SERVER_SIDE, A::SERVERS[1]));
    for syn in [world.segment(40000, SYN), world.datagram(40000)] {
        let (verdict, seen) = world.send(&syn);
        assert_eq!(verdict, Verdict::Pass(Counter::HandedToStack));
        let rewritten = Frame { destination: seen.destination, ports: seen.ports, ..syn.clone() };
        assert_eq!(seen, rewritten, "the stack lowers the TTL and writes the MACs");
        assert_eq!(seen.destination, A::SERVERS[1]);
        world.route(A::SERVERS[1], via(SERVER_SIDE, [2; 6]));
        world.expect(
            &syn,
            TO_SERVER,
            &Frame { macs: [[2, 0, 0, 0, 3, 1], [2; 6]], ttl: 63, ..seen },
        );
        world.route(A::SERVERS[1], unresolved(SERVER_SIDE, A::SERVERS[1]));
    }
}

fn a_way_out_that_is_not_attached_is_left_to_the_stack<A: Sample>(mut world: World<A>) {
    world.env.interfaces.remove(&SERVER_SIDE);
    let (verdict, seen) = world.send(&world.segment(40000, SYN));
    assert_eq!((verdict, seen.destination), (Verdict::Pass(Counter::HandedToStack), A::SERVERS[1]));
}

/// The stack would drop it: its source is an address of this host.
fn a_server_without_neighbour_entry_is_asked_for<A: Sample>(world: World<A>) {
    world.route(A::SERVERS[1], unresolved(SERVER_SIDE, A::SERVERS[1]));
    let verdict = world.send(&world.segment(40000, SYN)).0;
    assert_eq!(verdict, Verdict::Drop(Counter::Unresolved));
    assert_eq!(told(&world, SERVER_SIDE, A::SERVERS[1]), Some(false));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
    world.route(A::SERVERS[1], via(SERVER_SIDE, [2; 6]));
    world.send(&world.segment(40001, SYN));
    assert_eq!(world.send(&world.segment(40000, SYN)).0, TO_SERVER);
}

fn a_way_out_that_is_not_attached_is_a_dead_end<A: Sample>(mut world: World<A>) {
    world.env.interfaces.remove(&SERVER_SIDE);
    let verdict = world.send(&world.segment(40000, SYN)).0;
    assert_eq!(verdict, Verdict::Drop(Counter::NotAttached));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn the_last_next_hop_of_a_server_will_do_until_it_is_resolved_again<A: Sample>(world: World<A>) {
    world.open(Kind::Tcp, 40000);
    world.route(A::SERVERS[1], unresolved(SERVER_SIDE, A::SERVERS[1]));
    world.pass_seconds(2);
    assert_eq!(world.send(&world.segment(40000, ACK)).0, TO_SERVER);
    assert_eq!(told(&world, SERVER_SIDE, A::SERVERS[1]), Some(false));
}

fn a_client_without_neighbour_entry_is_answered_where_its_syn_came_from<A: Sample>(
    world: World<A>,
) {
    let client = World::<A>::client();
    world.route(client, unresolved(CLIENT_SIDE, client));
    let (_, seen) = world.send(&world.segment(40000, SYN));
    let (verdict, answer) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, TO_CLIENT);
    assert_eq!(answer.macs[1], world.segment(40000, SYN).macs[0]);
    assert_eq!(told(&world, CLIENT_SIDE, client), Some(false));
}

fn a_reply_that_nobody_can_take_is_dropped_and_the_neighbour_asked_for<A: Sample>(world: World<A>) {
    world.route(World::<A>::client(), unresolved(77, A::ROUTER));
    let (_, seen) = world.send(&world.segment(40000, SYN));
    let (verdict, _) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, Verdict::Drop(Counter::Unresolved));
    assert_eq!(told(&world, 77, A::ROUTER), Some(false));
}

fn a_reply_towards_an_interface_that_is_not_attached_is_dropped<A: Sample>(mut world: World<A>) {
    let (_, seen) = world.send(&world.segment(40000, SYN));
    world.env.interfaces.remove(&CLIENT_SIDE);
    world.pass_seconds(2);
    let (verdict, _) = world.send(&reply(&seen, SYN | ACK));
    assert_eq!(verdict, Verdict::Drop(Counter::NotAttached));
}

fn routing_refusals_are_told_apart<A: Sample>(world: World<A>) {
    for (reach, counter) in
        [(Reach::ForwardingDisabled, Counter::ForwardingDisabled), (Reach::None, Counter::NoRoute)]
    {
        for server in A::SERVERS {
            world.route(server, Route::nowhere(reach));
        }
        assert_eq!(world.send(&world.segment(40000, SYN)).0, Verdict::Drop(counter));
        assert_eq!(world.env.counted(counter), 1);
        assert_eq!(world.entries(), 0, "no connection to nowhere");
    }
}

fn the_controller_hears_of_neighbours_in_use<A: Sample>(world: World<A>) {
    world.open(Kind::Tcp, 40000);
    assert_eq!(told(&world, SERVER_SIDE, A::ROUTER), Some(true));
    assert_eq!(told(&world, CLIENT_SIDE, A::ROUTER), Some(true));
}

fn a_changed_mac_is_followed_after_a_second<A: Sample>(world: World<A>) {
    let seen = world.open(Kind::Tcp, 40000);
    world.route(A::SERVERS[1], via(SERVER_SIDE, [8; 6]));
    world.route(World::<A>::client(), via(CLIENT_SIDE, [6; 6]));
    let old = world.send(&world.segment(40000, ACK)).1.macs[1];
    assert_ne!(old, [8; 6]);
    world.pass_seconds(2);
    assert_eq!(world.send(&world.segment(40000, ACK)).1.macs[1], [8; 6]);
    assert_eq!(world.send(&reply(&seen, ACK)).1.macs[1], [6; 6]);
}

/// What a connection takes over does not get older with it than what it has looked up itself.
fn new_connections_share_the_way_to_a_server_for_a_second<A: Sample>(world: World<A>) {
    let begin = world.env.now.get();
    let at = |milliseconds: u64| world.env.now.set(begin + milliseconds * 1_000_000);
    let to_mac = |port, flags| world.send(&world.segment(port, flags)).1.macs[1];
    let old: Vec<_> = (40_000..40_003).map(|port| to_mac(port, SYN)).collect();
    for server in A::SERVERS {
        world.route(server, via(SERVER_SIDE, [8; 6]));
    }
    at(600);
    assert_eq!((40_010..40_013).map(|port| to_mac(port, SYN)).collect::<Vec<_>>(), old);
    assert_ne!(to_mac(40_010, ACK), [8; 6]);
    at(1_200);
    assert_eq!(to_mac(40_010, ACK), [8; 6], "looked up 1.2 s ago, for another connection");
    assert_eq!(to_mac(40_020, SYN), [8; 6]);
}
