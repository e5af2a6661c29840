//! Persistence: a client stays with its server.

use std::time::Duration;

use lvs_common::{
    abi::{Counter, Template, TemplateKey, server_flags, settings_flags},
    connection,
    host::{
        Frame,
        sample::{Kind, PERSISTENCE, Sample},
    },
    persistence,
    pipeline::Verdict,
    tcp::flags::{ACK, FIN, RST, SYN},
};

use crate::world::{TO_SERVER, World, everywhere, reply};

everywhere! {
    it_keeps_the_server_until_its_time_ends_and_each_connection_restarts_it,
    another_client_gets_the_next_server,
    a_client_stays_as_long_as_in_ipvs,
    no_template_has_fewer_connections_than_none,
    it_lives_on_while_connections_refer_to_it,
    connections_of_an_older_template_leave_a_new_one_alone,
    it_ends_with_weight_0_if_asked_to,
    it_is_for_all_clients_of_a_network_if_asked_to,
    a_removed_servers_connections_wait_for_it,
    it_outlives_weight_0,
    it_ends_with_its_server,
    a_full_table_of_templates_refuses_new_clients_only,
}

fn server_of<A: Sample>(world: &World<A>, client_port: u16) -> A {
    let (verdict, seen) = world.send(&world.request(Kind::Persistent, client_port, SYN));
    assert_eq!(verdict, TO_SERVER);
    seen.destination
}

/// Ends all connections whose time is over, as the controller does.
fn collect<A: Sample>(world: &World<A>) {
    for key in A::tables(&world.env).entries().into_keys() {
        connection::collect(&world.env, &key, world.env.now.get());
    }
}

fn template<A: Sample>(world: &World<A>) -> Template {
    let service = world.service(Kind::Persistent).id;
    let key = TemplateKey { client: World::<A>::client(), service };
    A::tables(&world.env).template_of(&key).unwrap()
}

fn it_keeps_the_server_until_its_time_ends_and_each_connection_restarts_it<A: Sample>(
    world: World<A>,
) {
    let first = server_of(&world, 40000);
    for step in 1..6 {
        world.pass_seconds(8);
        assert_eq!(server_of(&world, 40000 + step), first, "step {step}");
    }
    assert_eq!((template(&world).connections, template(&world).timeout), (6, PERSISTENCE));
    // The connections live for 60 s; the template ends before, and goes on for a minute because of them.
    world.pass_seconds(65);
    collect(&world);
    assert_eq!((template(&world).connections, template(&world).timeout), (0, 60));
    world.pass_seconds(60);
    assert_ne!(server_of(&world, 41000), first);
    assert_eq!((template(&world).connections, template(&world).timeout), (1, PERSISTENCE));
}

fn it_lives_on_while_connections_refer_to_it<A: Sample>(world: World<A>) {
    let first = server_of(&world, 40000);
    world.pass_seconds(11);
    assert_eq!(server_of(&world, 40001), first);
    let now = world.env.now.get();
    assert_eq!(template(&world).expires, now + 60_000_000_000, "from then on by a minute");
    assert_eq!(template(&world).connections, 2);
}

fn connections_of_an_older_template_leave_a_new_one_alone<A: Sample>(mut world: World<A>) {
    server_of(&world, 40000);
    let server = world.server(Kind::Persistent, 1) as usize;
    world.env.servers[server].flags = 0;
    world.change_service(Kind::Persistent, |service| {
        service.first_member += 1;
        service.members = 1;
    });
    server_of(&world, 40001);
    assert_eq!(template(&world).connections, 1);
    world.pass_seconds(61);
    collect(&world);
    assert_eq!(template(&world).connections, 0);
}

fn it_ends_with_weight_0_if_asked_to<A: Sample>(mut world: World<A>) {
    let first = server_of(&world, 40000);
    let server = world.server(Kind::Persistent, 1) as usize;
    world.env.servers[server].weight = 0;
    assert_eq!(server_of(&world, 40001), first);
    world.env.settings.flags |= settings_flags::EXPIRE_QUIESCENT;
    assert_ne!(server_of(&world, 40002), first);
}

fn it_is_for_all_clients_of_a_network_if_asked_to<A: Sample>(mut world: World<A>) {
    let granularity = if A::VERSION == 4 { u32::from_ne_bytes([255, 0, 0, 0]) } else { 16 };
    world.change_service(Kind::Persistent, |service| service.granularity = granularity);
    for server in &mut world.env.servers {
        server.granularity = granularity;
    }
    let first = server_of(&world, 40000);
    let other = world.request(Kind::Persistent, 40000, SYN);
    let (_, seen) = world.send(&Frame { source: A::CLIENTS[1], ..other });
    assert_eq!(seen.destination, first);
    assert_eq!(A::tables(&world.env).templates.borrow().len(), 1);
}

fn a_removed_servers_connections_wait_for_it<A: Sample>(mut world: World<A>) {
    let first = server_of(&world, 40000);
    let server = world.server(Kind::Persistent, 1) as usize;
    world.env.servers[server].flags = 0;
    // Next hops are looked up again after a second; then it shows.
    world.pass_seconds(2);
    let ack = world.request(Kind::Persistent, 40000, ACK);
    assert_eq!(world.send(&ack).0, Verdict::Drop(Counter::ServerGone));
    world.env.servers[server].flags = server_flags::AVAILABLE;
    let (verdict, seen) = world.send(&ack);
    assert_eq!((verdict, seen.destination), (TO_SERVER, first));
    world.env.servers[server].flags = 0;
    world.env.settings.flags |= settings_flags::EXPIRE_NODEST;
    world.pass_seconds(2);
    assert_eq!(world.send(&ack).0, Verdict::Pass(Counter::NotSyn), "the stack resets it");
    assert_eq!(world.total_load(), (0, 0));
}

fn no_template_has_fewer_connections_than_none<A: Sample>(world: World<A>) {
    server_of(&world, 40000);
    let templates = A::tables(&world.env).templates.borrow();
    let cell = templates.values().next().unwrap();
    // As if the connection had been that of a predecessor with the same last bits.
    cell.set(Template { connections: 0, ..cell.get() });
    world.send(&world.request(Kind::Persistent, 40000, RST));
    world.pass_seconds(11);
    world.send(&world.request(Kind::Persistent, 40000, ACK));
    assert_eq!(cell.get().connections, 0);
}

/// What real IPVS did: `tests/oracle/persistence.py`.
const RECORDED: &str = include_str!("../../../tests/oracle/persistence.json");

/// How late the kernel's timers were at most, of their time: 2.3%.
const LATENESS: f64 = 0.03;
/// How often a template is looked for, there and here, in seconds.
const LOOK: f64 = 0.25;
/// How often the controller collects, in nanoseconds.
const SWEEP: u64 = 5_000_000_000;

fn a_client_stays_as_long_as_in_ipvs<A: Sample>(world: World<A>) {
    let recorded: serde_json::Value = serde_json::from_str(RECORDED).unwrap();
    assert_eq!(recorded["persistence"], PERSISTENCE);
    let mut port = 40000;
    for scenario in recorded["scenarios"].as_array().unwrap() {
        let name = &scenario["name"];
        let began = world.env.now.get();
        let until = |seconds: f64| {
            let then = began + u64::try_from(Duration::from_secs_f64(seconds).as_nanos()).unwrap();
            while world.env.now.get() < then {
                world.pass_nanoseconds((then - world.env.now.get()).min(SWEEP));
                collect(&world);
            }
        };
        let (mut opened, mut ours, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for event in scenario["events"].as_array().unwrap() {
            until(event["at"].as_f64().unwrap());
            let ends = |how: &str| event[how].as_u64().map(|number| number as usize);
            if let Some(server) = event["open"].as_str() {
                let seen = world.open(Kind::Persistent, port);
                ours.push(seen.destination);
                theirs.push(server);
                opened.push((port, seen));
                port += 1;
            } else if let Some(number) = ends("close") {
                let (port, seen) = &opened[number];
                let from_client = |flags| world.request(Kind::Persistent, *port, flags);
                world.send(&from_client(FIN | ACK));
                world.send(&reply(seen, FIN | ACK));
                world.send(&from_client(ACK));
            } else if let Some(number) = ends("reset") {
                world.send(&world.request(Kind::Persistent, opened[number].0, RST));
            }
        }
        assert!(theirs.iter().all(|server| *server == theirs[0]), "{name}: {theirs:?}");
        assert!(ours.iter().all(|server| *server == ours[0]), "{name}: {ours:?}");
        let gone = scenario["gone"].as_f64().unwrap();
        let mut here = Duration::from_nanos(world.env.now.get() - began).as_secs_f64();
        while !persistence::ended(&template(&world), world.env.now.get()) {
            here += LOOK;
            until(here);
        }
        let latest = here * (1.0 + LATENESS) + 2.0 * LOOK;
        assert!(
            (here - 2.0 * LOOK..latest).contains(&gone),
            "{name}: {here} s, and {gone} s in IPVS"
        );
        let then = scenario["then"].as_str().unwrap();
        assert_ne!(then, theirs[0], "{name}");
        let next = world.open(Kind::Persistent, port);
        port += 1;
        assert_ne!(next.destination, ours[0], "{name}: scheduled afresh");
        // That one goes too, before the next scenario.
        world.pass_seconds(5000);
        collect(&world);
    }
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
