//! Persistence: a client stays with its server.

use lvs_common::{
    abi::Counter,
    host::{
        Frame,
        sample::{Kind, Sample},
    },
    pipeline::Verdict,
    tcp::flags::SYN,
};

use crate::world::{TO_SERVER, World, everywhere};

everywhere! {
    it_keeps_the_server_until_its_time_ends_and_each_connection_restarts_it,
    another_client_gets_the_next_server,
    it_outlives_weight_0,
    it_ends_with_its_server,
    a_full_table_of_templates_refuses_new_clients_only,
}

fn server_of<A: Sample>(world: &World<A>, client_port: u16) -> A {
    let (verdict, seen) = world.send(&world.request(Kind::Persistent, client_port, SYN));
    assert_eq!(verdict, TO_SERVER);
    seen.destination
}

fn it_keeps_the_server_until_its_time_ends_and_each_connection_restarts_it<A: Sample>(
    world: World<A>,
) {
    let first = server_of(&world, 40000);
    for step in 1..6 {
        world.pass_seconds(8);
        assert_eq!(server_of(&world, 40000 + step), first, "step {step}");
    }
    world.pass_seconds(11);
    assert_ne!(server_of(&world, 41000), first);
}

fn another_client_gets_the_next_server<A: Sample>(world: World<A>) {
    let first = server_of(&world, 40000);
    let other = world.request(Kind::Persistent, 40000, SYN);
    let (_, seen) = world.send(&Frame { source: A::CLIENTS[1], ..other });
    assert_ne!(seen.destination, first);
}

fn it_outlives_weight_0<A: Sample>(mut world: World<A>) {
    let first = server_of(&world, 40000);
    let server = world.server(Kind::Persistent, 1) as usize;
    world.env.servers[server].weight = 0;
    world.change_service(Kind::Persistent, |service| {
        service.first_member += 1;
        service.members = 1;
    });
    assert_eq!(server_of(&world, 40001), first);
}

fn it_ends_with_its_server<A: Sample>(mut world: World<A>) {
    let first = server_of(&world, 40000);
    let server = world.server(Kind::Persistent, 1) as usize;
    world.env.servers[server].flags = 0;
    assert_ne!(server_of(&world, 40001), first);
}

fn a_full_table_of_templates_refuses_new_clients_only<A: Sample>(world: World<A>) {
    A::tables(&world.env).capacity.set(1);
    let syn = world.request(Kind::Persistent, 40000, SYN);
    // The template fits, the connection does not.
    assert_eq!(world.send(&syn).0, Verdict::Drop(Counter::TableFull));
    let other = Frame { source: A::CLIENTS[1], ..syn };
    assert_eq!(world.send(&other).0, Verdict::Drop(Counter::TableFull));
    A::tables(&world.env).capacity.set(0);
    assert_eq!(server_of(&world, 40000), A::SERVERS[1]);
    assert_eq!(A::tables(&world.env).templates.borrow().len(), 1);
}
