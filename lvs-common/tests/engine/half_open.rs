//! Floods of SYNs: half-open connections give way to newer ones, and nothing else does.

use lvs_common::{
    abi::Counter,
    env::{Reach, Route, Tables},
    host::sample::{HALF_OPEN, Kind, Sample},
    pipeline::Verdict,
    tcp::{
        TcpState,
        flags::{ACK, RST, SYN},
    },
};

use crate::{
    loads::collect,
    world::{TO_CLIENT, TO_SERVER, World, everywhere, reply},
};

everywhere! {
    a_flood_takes_the_place_of_half_open_connections_only,
    the_oldest_gives_way,
    an_answered_connection_gives_its_slot_back,
    a_connection_that_is_not_made_gives_its_slot_back,
    a_connection_that_opens_again_gives_up_nobody_elses_slot,
    without_slots_connections_are_made_all_the_same,
}

/// Sends SYNs that nobody will ever answer, from distinct ports.
fn flood<A: Sample>(world: &World<A>, kind: Kind, ports: core::ops::Range<u16>) {
    for port in ports {
        assert_eq!(world.send(&world.request(kind, port, SYN)).0, TO_SERVER, "{port}");
    }
}

/// How many slots are taken.
fn taken<A: Sample>(world: &World<A>) -> usize {
    let slots = (0..HALF_OPEN).filter_map(|slot| Tables::<A>::half_open(&world.env, slot));
    slots.filter(|key| key.protocol != 0).count()
}

fn a_flood_takes_the_place_of_half_open_connections_only<A: Sample>(mut world: World<A>) {
    world.env.ports = (20_000..30_000).collect();
    let kept = (50_000..50_020).map(|port| (port, world.open(Kind::Tcp, port))).collect::<Vec<_>>();
    assert_eq!(taken(&world), 0);
    flood(&world, Kind::Tcp, 40_000..40_500);
    let half_open = usize::try_from(HALF_OPEN).unwrap();
    assert_eq!(taken(&world), half_open);
    assert_eq!(world.entries(), 2 * (20 + half_open));
    assert_eq!(world.total_load(), (20 + HALF_OPEN, 0));
    assert_eq!(world.env.counted(Counter::HalfOpenEvicted), 500 - u64::from(HALF_OPEN));
    for (port, seen) in kept {
        assert_eq!(world.send(&world.segment(port, ACK)).0, TO_SERVER);
        assert_eq!(world.send(&reply(&seen, ACK)).0, TO_CLIENT);
    }
    world.pass_seconds(61);
    collect(&world);
    assert_eq!((world.entries(), world.total_load()), (40, (20, 0)));
    assert_eq!(taken(&world), 0);
}

fn the_oldest_gives_way<A: Sample>(mut world: World<A>) {
    world.env.ports = (20_000..30_000).collect();
    let count = u16::try_from(HALF_OPEN).unwrap();
    let end = 40_000 + 5 * count;
    flood(&world, Kind::Tcp, 40_000..end);
    // Once all slots are taken, each one lives until as many others have come as there are slots.
    for port in end - count..end {
        let syn_recv = Some(TcpState::SynRecv);
        assert_eq!(world.state(&world.segment(port, 0)), syn_recv, "{port}");
    }
    for port in 40_000..end - count {
        assert_eq!(world.state(&world.segment(port, 0)), None, "{port}");
    }
    let (verdict, _) = world.send(&world.segment(40_000, SYN));
    assert_eq!(verdict, TO_SERVER, "it may try again");
}

fn an_answered_connection_gives_its_slot_back<A: Sample>(world: World<A>) {
    world.open(Kind::Tcp, 40_000);
    assert_eq!(taken(&world), 0);
    flood(&world, Kind::Tcp, 40_001..40_009);
    assert_eq!(world.env.counted(Counter::HalfOpenEvicted), 0);
}

fn a_connection_that_is_not_made_gives_its_slot_back<A: Sample>(world: World<A>) {
    A::tables(&world.env).capacity.set(1);
    assert_eq!(world.send(&world.segment(40_000, SYN)).0, Verdict::Drop(Counter::TableFull));
    world.route(A::SERVERS[0], Route::nowhere(Reach::None));
    assert_eq!(world.send(&world.segment(40_000, SYN)).0, Verdict::Drop(Counter::NoRoute));
    assert_eq!((taken(&world), world.entries(), world.total_load()), (0, 0, (0, 0)));
}

fn a_connection_that_opens_again_gives_up_nobody_elses_slot<A: Sample>(mut world: World<A>) {
    world.env.ports = (20_000..30_000).collect();
    // Established, closed by the client's reset, and opened again: half-open, but not in the ring.
    let seen = world.open(Kind::Persistent, 40_000);
    world.send(&reply(&seen, RST));
    world.send(&world.request(Kind::Persistent, 40_000, SYN));
    assert_eq!(world.state(&world.request(Kind::Persistent, 40_000, 0)), Some(TcpState::SynRecv));
    let slots = usize::try_from(HALF_OPEN).unwrap();
    flood(&world, Kind::Tcp, 41_000..41_000 + u16::try_from(HALF_OPEN).unwrap());
    assert_eq!(taken(&world), slots);
    world.send(&world.request(Kind::Persistent, 40_000, ACK));
    assert_eq!(taken(&world), slots, "the slots belong to the flood");
}

fn without_slots_connections_are_made_all_the_same<A: Sample>(mut world: World<A>) {
    world.env.settings.half_open = 0;
    world.open(Kind::Tcp, 40_000);
    flood(&world, Kind::Tcp, 40_001..40_009);
    assert_eq!(world.total_load(), (9, 0));
}
