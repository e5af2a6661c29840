//! The way back from the maps, and from the middle of a change.

use lvs_common::abi::{Place, Run, ServiceKey, V4};

use super::{
    super::super::steps::{Step, walk},
    *,
};

/// What a ledger is, but for the order of what has none, and what a service without servers has nothing of.
fn essence(ledger: &Ledger) -> String {
    let mut services: Vec<String> = ledger
        .services
        .iter()
        .map(|(key, known)| {
            let Known {
                id,
                state,
                scheduler,
                granularity,
                members,
                gone,
                lists,
                position,
                settled,
            } = known;
            let mut gone = gone.clone();
            gone.sort_unstable_by_key(|gone| gone.id);
            let live = known.is_live().then_some((state, lists, position));
            format!(
                "{key:?} {id} {scheduler:?} {granularity} {members:?} {gone:?} {live:?} {settled}"
            )
        })
        .collect();
    services.sort_unstable();
    let Ledger { next_service, next_server, sizes, locals, torn, .. } = ledger;
    let mut locals: Vec<_> = locals.iter().collect();
    locals.sort_unstable_by_key(|(_, range)| range.first);
    format!("{services:#?} {next_service} {next_server} {sizes:?} {locals:?} {torn:?}")
}

/// All steps of a change.
fn steps(change: &Change, old: &Tables) -> Vec<Step> {
    let mut steps = Vec::new();
    let Ok(()) = walk(change, old, &mut |step| {
        steps.push(step);
        Ok::<(), std::convert::Infallible>(())
    });
    steps
}

/// What the maps hold after these steps.
fn written(mut tables: Tables, steps: &[Step]) -> Tables {
    fn put<K: PartialEq, V>(entries: &mut Vec<(K, V)>, key: K, value: Option<V>) {
        entries.retain(|(other, _)| *other != key);
        entries.extend(value.map(|value| (key, value)));
    }
    let no_run = Run { turn: 0, first_member: 0, members: 0 };
    for step in steps.iter().cloned() {
        match step {
            Step::Clear(_) | Step::Templates(_) | Step::Destinations(_) => {}
            Step::Head(head) => tables.head = head,
            Step::Identity(id, Some(identity)) => {
                tables.identities.insert(id, identity);
            }
            Step::Identity(id, None) => {
                tables.identities.remove(&id);
            }
            Step::Place(id, place) => set(&mut tables.places, id as usize, Place::default(), place),
            Step::Port(at, port) => set(&mut tables.ports, at as usize, 0, port),
            Step::Settings(settings) => tables.settings = settings,
            Step::Filter(words) => tables.filter = words,
            Step::Server(id, server) => {
                set(&mut tables.servers, id as usize, lvs_common::abi::Server::NONE, server);
            }
            Step::Members(at, ids) => set(&mut tables.members, at as usize, [0; MEMBERS_EACH], ids),
            Step::Run(at, run) => set(&mut tables.runs, at as usize, no_run, run),
            Step::Local(at, local) => set(&mut tables.locals, at as usize, [0; 16], local),
            Step::State(at, state) => set(&mut tables.states, at as usize, NO_STATE, state),
            Step::Service4(key, value) => put(&mut tables.services4, key, value),
            Step::Service6(key, value) => put(&mut tables.services6, key, value),
        }
    }
    // As they are read: all places up to the last one that was ever taken.
    let places = tables.head.places as usize;
    tables.places.resize(places, Place::default());
    tables.servers.resize(places, lvs_common::abi::Server::NONE);
    tables
}

/// What the maps hold after a change.
fn after(change: &Change, maps: &Tables) -> Tables {
    written(maps.clone(), &steps(change, maps))
}

/// Every list leads to servers of its service that have their places.
fn check(tables: &Tables) {
    for (key, service) in &tables.services4 {
        let lists = if service.scheduler == scheduler::WEIGHTED_ROUND_ROBIN {
            let runs = tables.runs.iter().skip(service.first_member as usize);
            let runs = runs.take(service.members as usize);
            runs.map(|run| (run.first_member, run.members)).collect()
        } else {
            vec![(service.first_member, service.members)]
        };
        for (first, members) in lists {
            let list = list(tables, first, members);
            assert_eq!(list.len(), members as usize, "{key:?}");
            for id in list {
                assert_eq!(tables.servers[id as usize].service, service.id, "{key:?}: {id}");
                assert_eq!(tables.places[id as usize].held, 1, "{key:?}: {id}");
            }
        }
        assert!(tables.identities.contains_key(&service.id), "{key:?}");
    }
}

/// Whom a service chooses from, as addresses. Their order is that in which they came, which those of a change that was not
/// finished do in two parts.
fn chosen(tables: &Tables, key: ServiceKey<V4>) -> Option<(u8, BTreeSet<[u8; 16]>)> {
    let (_, service) = tables.services4.iter().find(|(other, _)| *other == key)?;
    let mut ids = list(tables, service.first_member, service.members);
    if service.scheduler == scheduler::WEIGHTED_ROUND_ROBIN {
        let runs = tables.runs.iter().skip(service.first_member as usize);
        let runs = runs.take(service.members as usize);
        ids = runs.flat_map(|run| list(tables, run.first_member, run.members)).collect();
    }
    Some((service.scheduler, ids.iter().map(|id| tables.servers[*id as usize].address).collect()))
}

fn text(file: &[Draft]) -> String {
    let services = file.iter().map(|(port, algo, servers)| {
        let service = service(*port, ["rr", "wrr", "sh", "lblc", "mh"][*algo], servers);
        if *port == 1 {
            // A mark's service, with more than one key.
            let marked =
                service.replace("10.0.0.1 1 {", "fwmark 9 {").replace("protocol TCP\n", "");
            format!("fwmark_match 9 {{\n10.0.0.9 80-83 TCP\n}}\n{marked}")
        } else if *port == 2 {
            let local = "lb_kind FNAT\nladdr_group_name l";
            let address = servers.len();
            format!(
                "local_address_group l {{\n10.9.0.1-2{address}\n}}\n{}",
                service.replace("lb_kind NAT", local)
            )
        } else {
            service
        }
    });
    services.collect()
}

/// The same, of more kinds.
fn any_services() -> impl Strategy<Value = Vec<Draft>> {
    let servers = prop::collection::btree_map(1_u8..12, 0_u32..5, 1..6);
    let servers = servers.prop_map(|map| map.into_iter().collect());
    let service = (1_u16..6, 0_usize..5, servers);
    prop::collection::vec(service, 0..5).prop_map(|mut services| {
        services.sort_by_key(|(port, ..)| *port);
        services.dedup_by_key(|(port, ..)| *port);
        services
    })
}

proptest! {
    // Each takes several configurations through several changes.
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_ledger_can_be_told_from_the_maps(files in prop::collection::vec(any_services(), 1..8), turns in 0_u64..9) {
        let mut ledger = Ledger::empty(SMALL);
        let mut maps = Tables::default();
        for (step, file) in (0..).zip(&files) {
            let unused: Vec<u32> = (0..100).filter(|id| id % 3 == 0).collect();
            let mut seen = seen(70 * step, None, &unused);
            for place in ledger.states() {
                let state = ledger.tables.states[place as usize];
                seen.states.insert(place, SchedulerState { turn: state.turn + turns, ..state });
            }
            let change = next(&ledger, &text(file), &seen);
            maps = after(&change, &maps);
            check(&maps);
            ledger = change.ledger;
            let adopted = Ledger::adopt(maps.clone(), SMALL);
            prop_assert_eq!(essence(&adopted), essence(&ledger));
            // And what comes of it is the same: nothing, if nothing has changed.
            let again = next(&adopted, &text(file), &seen);
            prop_assert_eq!(steps(&again, &maps), vec![]);
            if turns % 2 == 1 {
                ledger = adopted;
            }
        }
    }

    #[test]
    fn a_change_may_stop_anywhere(
        files in prop::collection::vec((any_services(), 0_usize..400), 1..8),
        turns in 0_u64..9,
    ) {
        let mut maps = Tables::default();
        for (step, (file, stop)) in (0..).zip(&files) {
            // Killed, and started again, each time.
            let ledger = Ledger::adopt(maps.clone(), SMALL);
            let unused: Vec<u32> = (0..100).filter(|id| id % 3 == 0).collect();
            let mut seen = seen(70 * step, None, &unused);
            for place in ledger.states() {
                let state = maps.states[place as usize];
                seen.states.insert(place, SchedulerState { turn: state.turn + turns, ..state });
            }
            let before: HashSet<u32> = held(&maps);
            let change = next(&ledger, &text(file), &seen);
            let all = steps(&change, &maps);
            let stop = (*stop).min(all.len());
            let between = written(maps.clone(), &all[..stop]);
            check(&between);
            // Whoever had a place that was in use has it still.
            let lost: Vec<u32> =
                before.difference(&held(&between)).filter(|id| !unused.contains(id)).copied().collect();
            prop_assert!(lost.is_empty(), "{:?}", lost);
            // Another start with the same file gets there.
            let adopted = Ledger::adopt(between.clone(), SMALL);
            let finish = next(&adopted, &text(file), &seen);
            let end = after(&finish, &between);
            check(&end);
            prop_assert!(finish.ledger.torn == Torn::default(), "{:?}", finish.ledger.torn);
            prop_assert_eq!(
                essence(&Ledger::adopt(end.clone(), SMALL)),
                essence(&finish.ledger)
            );
            let straight = after(&change, &maps);
            for (key, _) in &straight.services4 {
                prop_assert_eq!(chosen(&end, *key), chosen(&straight, *key), "{:?}", key);
            }
            prop_assert_eq!(end.services4.len(), straight.services4.len());
            // And from here the next one.
            maps = if step % 2 == 0 { between } else { end };
        }
    }
}

/// Servers that have their places.
fn held(tables: &Tables) -> HashSet<u32> {
    let of = (0..).zip(&tables.places).filter(|(_, place)| place.held != 0);
    of.map(|(id, _)| id).collect()
}

#[test]
fn turns_go_on_from_the_maps() {
    let three = service(1, "rr", &[(1, 1), (2, 1), (3, 1)]);
    let change = next(&Ledger::empty(SMALL), &three, &seen(0, None, &[]));
    let mut maps = after(&change, &Tables::default());
    // Two turns are taken: server 0 is next.
    maps.states[0].turn = 2;
    let adopted = Ledger::adopt(maps, SMALL);
    let taken = seen(1, Some((0, 2)), &[]);
    let more = service(1, "rr", &[(1, 1), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(turns(&next(&adopted, &more, &taken).ledger), [0, 3, 2, 1]);
}
