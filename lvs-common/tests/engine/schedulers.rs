//! Schedulers' decisions, and the thresholds that they keep to, on lists that are laid out by hand.

use lvs_common::{
    abi::{
        DestinationKey, Run, Server, Service, scheduler, server_flags, service_flags,
        settings_flags,
    },
    connection,
    env::Env as _,
    host::MemoryEnv,
    scheduler::{NOBODY, Request, choose, hash, sh},
    tcp::TcpState,
};

const ESTABLISHED: u8 = TcpState::Established as u8;
const TIME_WAIT: u8 = TcpState::TimeWait as u8;

/// A service with servers of these weights, in the order in which IPVS walks.
fn world(scheduler: u8, weights: &[u32]) -> (MemoryEnv, Service) {
    let mut env = MemoryEnv::default();
    for weight in weights {
        env.servers.push(Server {
            address: [0; 16],
            port: 80,
            flags: server_flags::AVAILABLE,
            weight: *weight,
            service: 0,
            upper: 0,
            lower: 0,
            granularity: 0,
        });
    }
    let ids: Vec<u32> =
        (0..).zip(weights).filter(|(_, weight)| **weight > 0).map(|(id, _)| id).collect();
    let members = ids.len() as u32;
    put(&mut env, &ids);
    (env, Service { scheduler, members, ..Service::NONE })
}

fn put(env: &mut MemoryEnv, ids: &[u32]) {
    env.members = ids
        .chunks(2)
        .map(|ids| core::array::from_fn(|at| ids.get(at).copied().unwrap_or(0)))
        .collect();
}

fn next(env: &MemoryEnv, service: &Service) -> u32 {
    from(env, service, [10, 0, 0, 1], [10, 0, 0, 2])
}

fn from(env: &MemoryEnv, service: &Service, source: [u8; 4], destination: [u8; 4]) -> u32 {
    let second = (env.now.get() / 1_000_000_000) as u32;
    choose(env, service, &Request { source, source_port: 31337, destination, second })
}

/// Chooses so often, and holds each connection open.
fn held(env: &MemoryEnv, service: &Service, times: usize) -> Vec<u32> {
    let one = |_| {
        let id = next(env, service);
        if id != NOBODY {
            connection::bind(env, id, ESTABLISHED);
        }
        id
    };
    (0..times).map(one).collect()
}

#[test]
fn buckets_are_those_of_ipvs() {
    // The table in the reference: client, bucket, bucket with source port 31337, bucket of lblc.
    for (address, plain, with_port, of_lblc) in [
        ([192, 168, 1, 1], 136, 52, 547),
        ([192, 168, 1, 2], 234, 149, 938),
        ([10, 0, 0, 2], 137, 52, 550),
        ([110, 0, 11, 1], 129, 44, 518),
        ([203, 0, 113, 7], 124, 39, 499),
    ] {
        assert_eq!(sh::bucket(sh::mixed(address, 0), 0), plain);
        assert_eq!(sh::bucket(sh::mixed(address, 31337), 0), with_port);
        assert_eq!(hash::hash_32(hash::folded(address), 10), of_lblc);
    }
    for (address, plain, with_port, of_lblc) in
        [("fc00:2::1", 9, 180, 37), ("2001:db8::1", 63, 234, 252)]
    {
        let address = address.parse::<core::net::Ipv6Addr>().unwrap().octets();
        assert_eq!(sh::bucket(sh::mixed(address, 0), 0), plain);
        assert_eq!(sh::bucket(sh::mixed(address, 31337), 0), with_port);
        assert_eq!(hash::hash_32(hash::folded(address), 10), of_lblc);
    }
}

#[test]
fn rr_passes_over_the_overloaded() {
    let (mut env, service) = world(scheduler::ROUND_ROBIN, &[1, 5, 1]);
    assert_eq!((0..4).map(|_| next(&env, &service)).collect::<Vec<_>>(), [0, 1, 2, 0]);
    env.servers[1].upper = 1;
    env.servers[1].lower = 1;
    connection::bind(&env, 1, ESTABLISHED);
    assert_eq!((0..4).map(|_| next(&env, &service)).collect::<Vec<_>>(), [2, 0, 2, 0]);
}

#[test]
fn wrr_goes_through_its_runs() {
    // A4 B3 C2, walked C, B, A: the limits 4, 3, 2, 1.
    let (mut env, mut service) = world(scheduler::WEIGHTED_ROUND_ROBIN, &[2, 3, 4]);
    env.members = vec![[2, 0], [1, 2], [0, 1], [2, 0]];
    env.runs = [(0, 0, 1), (1, 2, 2), (3, 4, 3)]
        .map(|(turn, first_member, members)| Run { turn, first_member, members })
        .into();
    (service.members, service.turns) = (3, 9);
    let walk: String = (0..9).map(|_| char::from(b"CBA"[next(&env, &service) as usize])).collect();
    assert_eq!(walk, "ABACBACBA");
    // All that have turns for a long time are overloaded.
    env.servers[2].upper = 1;
    env.servers[2].lower = 1;
    env.servers[1].upper = 1;
    env.servers[1].lower = 1;
    connection::bind(&env, 2, ESTABLISHED);
    connection::bind(&env, 1, ESTABLISHED);
    assert_eq!(next(&env, &service), 0);
}

#[test]
fn wrr_begins_a_round_anew_after_a_refusal_but_in_its_last_walk() {
    // A3 B2, walked B, A: A BA BA.
    let round = |taken: usize| {
        let (mut env, mut service) = world(scheduler::WEIGHTED_ROUND_ROBIN, &[2, 3]);
        env.members = vec![[1, 0], [0, 1]];
        env.runs = [(0, 0, 1), (1, 2, 2)]
            .map(|(turn, first_member, members)| Run { turn, first_member, members })
            .into();
        (service.members, service.turns) = (2, 5);
        for _ in 0..taken {
            next(&env, &service);
        }
        for server in &mut env.servers {
            (server.upper, server.lower) = (1, 1);
        }
        for (id, refusals) in [(0, 0), (1, 2)] {
            connection::bind(&env, id, ESTABLISHED);
            assert!((0..refusals).all(|_| next(&env, &service) == NOBODY));
        }
        for server in &mut env.servers {
            server.upper = 0;
        }
        (0..5).map(|_| char::from(b"BA"[next(&env, &service) as usize])).collect::<String>()
    };
    assert_eq!(round(0), "ABABA");
    assert_eq!(round(2), "ABABA", "the second walk was under way");
    assert_eq!(round(4), "AABAB", "the last one was");
    assert_eq!(round(5), "ABABA");
}

#[test]
fn lc_counts_an_active_connection_as_256_inactive_ones() {
    let (env, service) = world(scheduler::LEAST_CONNECTION, &[1, 9]);
    assert_eq!(next(&env, &service), 0, "the first of equals");
    for _ in 0..255 {
        connection::bind(&env, 0, TIME_WAIT);
    }
    connection::bind(&env, 1, ESTABLISHED);
    assert_eq!(next(&env, &service), 0);
    connection::bind(&env, 0, TIME_WAIT);
    assert_eq!(next(&env, &service), 0, "as many: the first");
    connection::bind(&env, 0, TIME_WAIT);
    assert_eq!(next(&env, &service), 1);
}

#[test]
fn weighted_schedulers_fill_by_weight() {
    let count = |chosen: &[u32], id: u32| chosen.iter().filter(|other| **other == id).count();
    for scheduler in [scheduler::WEIGHTED_LEAST_CONNECTION, scheduler::SHORTEST_EXPECTED_DELAY] {
        let (env, service) = world(scheduler, &[1, 2, 0, 3]);
        let chosen = held(&env, &service, 60);
        assert_eq!([0, 1, 2, 3].map(|id| count(&chosen, id)), [10, 20, 0, 30], "{scheduler}");
    }
    let (env, service) = world(scheduler::NEVER_QUEUE, &[1, 2, 3]);
    assert_eq!(held(&env, &service, 4), [0, 1, 2, 2], "the idle first, then as sed");
}

#[test]
fn fo_and_ovf_take_the_heaviest() {
    let (mut env, service) = world(scheduler::FAIL_OVER, &[1, 3, 3, 2]);
    assert_eq!(held(&env, &service, 5), [1; 5]);
    env.servers[1].upper = 1;
    env.servers[1].lower = 1;
    connection::bind(&env, 1, ESTABLISHED);
    assert_eq!(next(&env, &service), 2);
    let (env, service) = world(scheduler::OVERFLOW, &[1, 2]);
    assert_eq!(held(&env, &service, 6), [1, 1, 1, 0, 0, NOBODY], "one more than they weigh");
}

#[test]
fn sh_falls_back_only_if_asked_to() {
    let (mut env, mut service) = world(scheduler::SOURCE_HASHING, &[1, 1]);
    put(&mut env, &(0..256).map(|bucket| bucket % 2).collect::<Vec<_>>());
    service.members = 256;
    let first = next(&env, &service);
    env.servers[first as usize].weight = 0;
    assert_eq!(next(&env, &service), NOBODY);
    service.flags = service_flags::FALLBACK;
    assert_eq!(next(&env, &service), 1 - first);
}

#[test]
fn lblc_stays_with_a_server_until_it_has_too_much() {
    let (mut env, service) = world(scheduler::LOCALITY, &[2, 2]);
    let chosen = held(&env, &service, 6);
    assert_eq!(chosen, [0, 0, 0, 1, 1, 1], "more than it weighs, and the other has less than half");
    // Another destination goes by connections.
    connection::bind(&env, 1, ESTABLISHED);
    assert_eq!(from(&env, &service, [10, 0, 0, 1], [10, 0, 0, 3]), 0);
    env.servers[1].flags = 0;
    assert_eq!(next(&env, &service), 0);
    env.servers[1].flags = server_flags::AVAILABLE;
    env.now.set(25 * 3600 * 1_000_000_000);
    connection::bind(&env, 0, ESTABLISHED);
    connection::bind(&env, 0, ESTABLISHED);
    assert_eq!(next(&env, &service), 1, "forgotten after a day");
}

#[test]
fn lblcr_adds_servers_and_takes_them_away() {
    let (env, service) = world(scheduler::LOCALITY_REPLICATED, &[1, 1, 1]);
    let key =
        DestinationKey { address: [10, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], service: 0 };
    let set = || {
        use lvs_common::env::DestinationHandle as _;
        env.destination(&key).unwrap().get(|known| known.server[..known.servers as usize].to_vec())
    };
    assert_eq!(held(&env, &service, 3), [0, 0, 1]);
    assert_eq!(set(), [1, 0], "the last added first");
    assert_eq!(held(&env, &service, 3), [1, 2, 2]);
    assert_eq!(set(), [2, 1, 0]);
    // It is looked up now and then, and changes no more: after a day the most loaded one leaves.
    connection::bind(&env, 1, ESTABLISHED);
    env.now.set(12 * 3600 * 1_000_000_000);
    next(&env, &service);
    env.now.set(25 * 3600 * 1_000_000_000);
    next(&env, &service);
    assert_eq!(set(), [2, 0]);
}

#[test]
fn twos_goes_by_weight_and_load() {
    let (env, service) = world(scheduler::TWO_RANDOM_CHOICES, &[1, 0, 3]);
    let chosen: Vec<u32> = (0..4000).map(|_| next(&env, &service)).collect();
    let heavy = chosen.iter().filter(|id| **id == 2).count();
    assert!(chosen.iter().all(|id| *id != 1));
    // The draw is from 0 to the sum of the weights, both included: of 0 to 4, two are the first one's.
    assert!((2250..2550).contains(&heavy), "three fifths without load: {heavy}");
    for _ in 0..100 {
        connection::bind(&env, 2, ESTABLISHED);
    }
    let heavy = (0..4000).filter(|_| next(&env, &service) == 2).count();
    assert!((1300..1600).contains(&heavy), "only where both draws say so: {heavy}");
}

#[test]
fn thresholds_are_those_of_ipvs() {
    let (mut env, _) = world(scheduler::ROUND_ROBIN, &[1]);
    env.servers[0].upper = 4;
    env.servers[0].lower = Server::default_lower(4);
    let overloaded =
        |env: &MemoryEnv| lvs_common::scheduler::is_overloaded(&env.servers[0], &env.load(0));
    for connections in 1..=4 {
        assert!(!overloaded(&env), "{connections}");
        connection::bind(&env, 0, ESTABLISHED);
    }
    assert!(overloaded(&env));
    connection::unbind(&env, 0, ESTABLISHED);
    assert!(overloaded(&env), "three are three quarters of four");
    connection::unbind(&env, 0, ESTABLISHED);
    assert!(!overloaded(&env));
    env.servers[0].lower = 1;
    connection::bind(&env, 0, ESTABLISHED);
    connection::bind(&env, 0, ESTABLISHED);
    for _ in 0..3 {
        connection::unbind(&env, 0, ESTABLISHED);
        assert!(overloaded(&env));
    }
    connection::unbind(&env, 0, ESTABLISHED);
    assert!(!overloaded(&env));
    for _ in 0..4 {
        connection::bind(&env, 0, ESTABLISHED);
    }
    env.servers[0].upper = 5;
    assert!(!overloaded(&env), "a threshold that is raised");
    env.servers[0].upper = 3;
    assert!(overloaded(&env));
    // A threshold that is lowered counts from then on, and one that was raised and lowered is not remembered.
    let (mut env, _) = world(scheduler::ROUND_ROBIN, &[1]);
    for _ in 0..6 {
        connection::bind(&env, 0, ESTABLISHED);
    }
    (env.servers[0].upper, env.servers[0].lower) = (5, 4);
    assert!(overloaded(&env));
    connection::unbind(&env, 0, ESTABLISHED);
    connection::unbind(&env, 0, ESTABLISHED);
    assert!(overloaded(&env), "four are not fewer than four");
    connection::unbind(&env, 0, ESTABLISHED);
    assert!(!overloaded(&env));
    (env.servers[0].upper, env.servers[0].lower) = (3, 3);
    assert!(overloaded(&env));
    (env.servers[0].upper, env.servers[0].lower) = (0, 0);
    for _ in 0..3 {
        connection::unbind(&env, 0, ESTABLISHED);
    }
    (env.servers[0].upper, env.servers[0].lower) = (2, 2);
    assert!(!overloaded(&env));
    assert_eq!(env.settings.flags & settings_flags::EXPIRE_QUIESCENT, 0);
}
