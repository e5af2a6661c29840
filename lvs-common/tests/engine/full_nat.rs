//! Full NAT: source addresses and ports towards the servers.

use std::collections::HashSet;

use lvs_common::{
    abi::Counter,
    host::{
        Frame,
        sample::{Kind, PORTS, SERVER_SIDE, Sample},
    },
    pipeline::Verdict,
    tcp::flags::{ACK, RST, SYN},
};

use crate::{
    loads::collect,
    world::{TO_CLIENT, TO_SERVER, World, as_client_sees, reply, with_full_nat},
};

with_full_nat! {
    local_addresses_take_turns_and_then_the_ports,
    no_two_connections_of_a_server_share_a_source,
    running_out_of_ports_is_counted_and_hurts_nobody_else,
    a_port_is_free_again_when_its_connection_has_ended,
    a_port_of_a_closed_connection_is_not_taken_before_its_time_is_over,
    without_local_addresses_the_interface_gives_its_own,
    without_ports_nothing_is_made,
    two_services_with_one_server_do_not_meet_on_a_port,
}

/// Sends UDP from so many client ports to the one server that is left.
fn take_ports<A: Sample>(world: &mut World<A>, clients: core::ops::Range<u16>) -> Vec<Frame<A>> {
    world.change_service(Kind::Udp, |service| service.members = 1);
    let seen = clients.map(|port| world.send(&world.datagram(port)));
    seen.map(|(verdict, seen)| {
        assert_eq!(verdict, TO_SERVER);
        seen
    })
    .collect()
}

fn local_addresses_take_turns_and_then_the_ports<A: Sample>(mut world: World<A>) {
    let sources: Vec<_> = take_ports(&mut world, 40000..40004).iter().map(Frame::from).collect();
    let [one, other] = A::LOCALS;
    let first = PORTS.start;
    assert_eq!(sources, [(one, first), (other, first), (one, first + 1), (other, first + 1)]);
}

fn no_two_connections_of_a_server_share_a_source<A: Sample>(mut world: World<A>) {
    let ports = PORTS.end - PORTS.start;
    let seen = take_ports(&mut world, 40000..40000 + 2 * ports);
    let sources: HashSet<_> = seen.iter().map(Frame::from).collect();
    assert_eq!(sources.len(), seen.len());
    assert!(sources.iter().all(|(local, port)| A::LOCALS.contains(local) && PORTS.contains(port)));
}

fn running_out_of_ports_is_counted_and_hurts_nobody_else<A: Sample>(mut world: World<A>) {
    let count = 2 * (PORTS.end - PORTS.start);
    let seen = take_ports(&mut world, 40000..40000 + count);
    let entries = world.entries();
    let refused = world.datagram(40000 + count);
    assert_eq!(world.send(&refused).0, Verdict::Drop(Counter::NoPort));
    assert_eq!(world.env.counted(Counter::NoPort), 1);
    assert_eq!((world.entries(), world.total_load()), (entries, (0, count.into())));
    let answer = reply(&seen[3], 0);
    world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &world.datagram(40003)));
    // TCP has ports of its own.
    assert_eq!(world.send(&world.segment(40000, SYN)).0, TO_SERVER);
}

fn a_port_is_free_again_when_its_connection_has_ended<A: Sample>(mut world: World<A>) {
    let count = 2 * (PORTS.end - PORTS.start);
    take_ports(&mut world, 40000..40000 + count);
    world.pass_seconds(200);
    // One of them goes on.
    assert_eq!(world.send(&world.datagram(40000)).0, TO_SERVER);
    world.pass_seconds(200);
    let late = take_ports(&mut world, 41000..41000 + count - 1);
    let sources: HashSet<_> = late.iter().map(Frame::from).collect();
    assert_eq!(sources.len(), usize::from(count) - 1);
    assert_eq!(world.total_load(), (0, count.into()));
    let answer = reply(&late[5], 0);
    world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &world.datagram(41005)));
    world.pass_seconds(301);
    collect(&world);
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

/// A server may still have the old connection in `TIME_WAIT`.
fn a_port_of_a_closed_connection_is_not_taken_before_its_time_is_over<A: Sample>(
    mut world: World<A>,
) {
    world.env.ports = vec![PORTS.start];
    world.change_service(Kind::Tcp, |service| (service.members, service.locals) = (1, 1));
    let seen = world.open(Kind::Tcp, 40000);
    world.send(&reply(&seen, RST));
    assert_eq!(world.send(&world.segment(40001, SYN)).0, Verdict::Drop(Counter::NoPort));
    world.pass_seconds(11);
    let (verdict, again) = world.send(&world.segment(40001, SYN));
    assert_eq!((verdict, again.from()), (TO_SERVER, seen.from()));
    world.expect_pass(&world.segment(40000, ACK), Verdict::Pass(Counter::NotSyn));
    assert_eq!((world.entries(), world.total_load()), (2, (1, 0)));
}

fn without_local_addresses_the_interface_gives_its_own<A: Sample>(mut world: World<A>) {
    world.change_service(Kind::Tcp, |service| service.locals = 0);
    let (verdict, seen) = world.send(&world.segment(40000, SYN));
    assert_eq!((verdict, seen.source), (TO_SERVER, A::OWN[1]));
    let interface = world.env.interfaces.get_mut(&SERVER_SIDE).unwrap();
    (interface.address4, interface.address6) = ([0; 4], [0; 16]);
    let verdict = world.send(&world.segment(40001, SYN)).0;
    assert_eq!(verdict, Verdict::Drop(Counter::NoLocalAddress));
    assert_eq!((world.entries(), world.total_load()), (2, (1, 0)));
}

fn without_ports_nothing_is_made<A: Sample>(mut world: World<A>) {
    world.env.ports.clear();
    assert_eq!(world.send(&world.segment(40000, SYN)).0, Verdict::Drop(Counter::NoPort));
    assert_eq!((world.entries(), world.total_load()), (0, (0, 0)));
}

fn two_services_with_one_server_do_not_meet_on_a_port<A: Sample>(mut world: World<A>) {
    world.env.ports = vec![PORTS.start, PORTS.start + 1];
    world.change_service(Kind::Tcp, |service| service.locals = 1);
    world.change_service(Kind::Persistent, |service| service.locals = 1);
    let one = world.open(Kind::Tcp, 40000);
    let other = world.open(Kind::Persistent, 40000);
    assert_eq!(one.to(), other.to());
    assert_ne!(one.from(), other.from());
    for (seen, kind) in [(one, Kind::Tcp), (other, Kind::Persistent)] {
        let asked = world.request(kind, 40000, 0);
        let answer = reply(&seen, ACK);
        world.expect(&answer, TO_CLIENT, &as_client_sees(&answer, &asked));
    }
}
