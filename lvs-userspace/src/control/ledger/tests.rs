//! What stays, what goes on where, and what is given up.

use proptest::prelude::*;
use std::sync::Arc;

use std::net::Ipv4Addr;

use lvs_common::abi::{DEFAULT_MEMBERS, DEFAULT_SERVERS, Service, scheduler, server_flags};

use super::*;

mod adopt;

fn config(text: &str) -> Config {
    crate::config::parse("test", text, &crate::config::Policy::default()).unwrap().config
}

/// A service of a scheduler, with servers as address's last byte and weight.
fn service(port: u16, scheduler: &str, servers: &[(u8, u32)]) -> String {
    let servers = servers.iter().fold(String::new(), |text, (last, weight)| {
        text + &format!(
            "real_server 10.1.0.{last} 80 {{
weight {weight}
}}
"
        )
    });
    format!(
        "virtual_server 10.0.0.1 {port} {{\nlb_algo {scheduler}\nlb_kind NAT\nprotocol TCP\n{servers}}}\n"
    )
}

/// When the first ledger is made, in seconds since the host was booted.
const BOOTED: u64 = 1000;

/// What is seen of a ledger so many seconds later, after turns were taken of the state in place 0.
fn seen(seconds: u64, turn: Option<(u32, u64)>, unused: &[u32]) -> Seen {
    let states = turn.map(|(place, turn)| (place, SchedulerState::at(turn)));
    Seen {
        now: Duration::from_secs(BOOTED + seconds),
        states: states.into_iter().collect(),
        unused: unused.iter().copied().collect(),
    }
}

fn next(ledger: &Ledger, text: &str, seen: &Seen) -> Change {
    ledger.next(&config(text), &Choices::default(), seen).unwrap()
}

/// As a small configuration has them made.
const SMALL: Sizes = Sizes { members: DEFAULT_MEMBERS, servers: DEFAULT_SERVERS };

fn first(text: &str) -> Ledger {
    Ledger::first(&config(text), &Choices::default()).unwrap().ledger.within(SMALL)
}

/// The ids that the only service chooses from, beginning with the next turn.
fn turns(ledger: &Ledger) -> Vec<u32> {
    let (_, service) = ledger.tables.services4[0];
    let list = list(&ledger.tables, service.first_member, service.members);
    let turn = ledger.tables.states[service.state as usize].turn as usize;
    list.iter().cycle().skip(turn % list.len()).take(list.len()).copied().collect()
}

fn list(tables: &Tables, first: u32, length: u32) -> Vec<u32> {
    let flat: Vec<u32> = tables.members.iter().flatten().copied().collect();
    flat.iter().skip(first as usize).take(length as usize).copied().collect()
}

#[test]
fn what_has_not_changed_stays_where_it_is() {
    let (one, two) = (service(1, "rr", &[(1, 1), (2, 1)]), service(2, "wrr", &[(1, 3), (2, 1)]));
    let before = first(&format!("{one}{two}"));
    let change = next(&before, &format!("{two}{one}"), &seen(1, Some((0, 7)), &[]));
    assert!(change.states.is_empty() && change.servers.is_empty());
    let (were, are) = (&before.tables, &change.ledger.tables);
    assert_eq!((&were.servers, &were.members, &were.runs), (&are.servers, &are.members, &are.runs));
    for (key, value) in &were.services4 {
        assert!(are.services4.contains(&(*key, *value)), "{key:?}");
    }
    // Another one comes and goes.
    let three = service(3, "mh", &[(1, 1)]);
    let more = next(&change.ledger, &format!("{one}{three}{two}"), &seen(2, None, &[])).ledger;
    let less = next(&more, &format!("{one}{two}"), &seen(3, None, &[])).ledger;
    // The lists have moved to the other halves.
    for (key, was) in &were.services4 {
        let (_, is) = less.tables.services4.iter().find(|(other, _)| other == key).unwrap();
        assert_ne!(is.first_member, was.first_member);
        assert_eq!(Service { first_member: was.first_member, ..*is }, *was);
    }
    assert_eq!(turns(&less), turns(&before));
    assert_eq!(less.tables.services4.len(), 2);
    assert_eq!(less.tables.servers[4].flags & server_flags::AVAILABLE, 0);
}

#[test]
fn rr_goes_on_behind_the_server_that_was_last() {
    let three = [(1, 1), (2, 1), (3, 1)];
    let before = first(&service(1, "rr", &three));
    assert_eq!(turns(&before), [2, 1, 0], "the newest first");
    // Turns 2, 1 are taken: 0 is next. One is added at the head.
    let taken = seen(1, Some((0, 2)), &[]);
    let more = next(&before, &service(1, "rr", &[(1, 1), (2, 1), (3, 1), (4, 1)]), &taken).ledger;
    assert_eq!(turns(&more), [0, 3, 2, 1]);
    // The last one goes: the one before it counts as last.
    let less = next(&before, &service(1, "rr", &[(1, 1), (3, 1)]), &taken).ledger;
    assert_eq!(turns(&less), [0, 2]);
    // All go that were before: the head counts.
    let least = next(&before, &service(1, "rr", &[(1, 1)]), &taken).ledger;
    assert_eq!(turns(&least), [0]);
    // A weight of 0 is no turn; the place is remembered although no turn was taken since.
    let drained = next(&before, &service(1, "rr", &[(1, 1), (2, 0), (3, 1)]), &taken).ledger;
    assert_eq!(turns(&drained), [0, 2]);
    let idle = seen(2, None, &[]);
    assert_eq!(turns(&next(&drained, &service(1, "rr", &three), &idle).ledger), [0, 2, 1]);
}

#[test]
fn a_removed_server_keeps_its_place_while_it_is_used() {
    let before = first(&service(1, "rr", &[(1, 1), (2, 1)]));
    let both = service(1, "rr", &[(1, 1), (3, 1)]);
    let gone = next(&before, &both, &seen(0, None, &[])).ledger;
    assert!(gone.gone(Duration::from_secs(BOOTED + 100)).is_empty());
    assert_eq!(gone.gone(Duration::from_secs(BOOTED + 121)), [1].into());
    // It is back in time, or late but still used.
    for (seconds, unused) in [(100, vec![1]), (1000, vec![])] {
        let change = next(
            &gone,
            &service(1, "rr", &[(1, 1), (3, 1), (2, 5)]),
            &seen(seconds, None, &unused),
        );
        assert!(change.servers.is_empty());
        assert_eq!(change.ledger.tables.servers[1].weight, 5);
        assert_eq!(turns(&change.ledger)[..1], [1], "at the head");
    }
    // Nothing refers to it any more: another place, and its own is given up.
    let later = next(&gone, &both, &seen(1000, None, &[1])).ledger;
    assert!(later.gone(Duration::from_secs(BOOTED + 5000)).is_empty());
    let change = next(&later, &service(1, "rr", &[(1, 1), (3, 1), (2, 5)]), &seen(1001, None, &[]));
    assert_eq!(change.servers, [3]);
}

#[test]
fn a_service_that_goes_keeps_its_number_while_it_has_servers() {
    let (one, two) = (service(1, "rr", &[(1, 1)]), service(2, "rr", &[(2, 1)]));
    let before = first(&format!("{one}{two}"));
    let gone = next(&before, &one, &seen(0, None, &[])).ledger;
    let back = next(&gone, &format!("{one}{two}"), &seen(1, None, &[]));
    assert!(back.servers.is_empty());
    assert_eq!(back.ledger.tables.services4[1].1.id, 1);
    let forgotten = next(&gone, &one, &seen(200, None, &[1])).ledger;
    let back = next(&forgotten, &format!("{one}{two}"), &seen(201, None, &[]));
    assert_eq!((back.servers, back.ledger.tables.services4[1].1.id), (vec![2], 2));
}

#[test]
fn another_granularity_or_scheduler_forgets_what_was_found_by_it() {
    let text = |scheduler: &str, mask: &str| {
        let granularity =
            format!("lb_kind NAT\npersistence_timeout 60\npersistence_granularity {mask}");
        service(1, scheduler, &[(1, 1)]).replace("lb_kind NAT", &granularity)
    };
    let before = first(&text("lblc", "255.255.255.0"));
    let change = next(&before, &text("lblc", "255.255.255.255"), &seen(1, None, &[]));
    assert_eq!((change.templates, change.destinations), ([0].into(), [].into()));
    let change = next(&before, &text("lblcr", "255.255.255.0"), &seen(1, None, &[]));
    assert_eq!((change.templates, change.destinations), ([].into(), [0].into()));
}

#[test]
fn lists_that_outgrow_the_map_are_refused() {
    let before = first(&service(1, "rr", &[(1, 1)])).within(Sizes { members: 600, ..SMALL });
    let mh = config(&service(1, "mh", &[(1, 1)]));
    let error = before.next(&mh, &Choices::default(), &seen(1, None, &[])).unwrap_err();
    assert!(error.to_string().contains("xlvs stop"), "{error}");
}

#[test]
fn servers_can_be_exchanged_in_two_steps() {
    let file = |from: u32, count: u32| {
        (0..count / 500).fold(String::new(), |text, service| {
            let servers = (0..500).fold(String::new(), |text, server| {
                let address = Ipv4Addr::from_bits(0x0a01_0000 + from + service * 500 + server);
                text + &format!("real_server {address} 80 {{\nweight 1\n}}\n")
            });
            let port = service + 1;
            text + &format!("virtual_server 10.0.0.1 {port} {{\nlb_algo rr\nlb_kind NAT\nprotocol TCP\n{servers}}}\n")
        })
    };
    let (some, others) = (file(0, 40_000), file(40_000, 40_000));
    let before = first(&some);
    let error =
        before.next(&config(&others), &Choices::default(), &seen(0, None, &[])).unwrap_err();
    assert!(error.to_string().contains("two minutes"), "{error}");
    assert!(error.to_string().contains("xlvs stop"), "{error}");
    let large = before.clone().within(Sizes::LARGEST);
    assert_eq!(next(&large, &others, &seen(0, None, &[])).servers.len(), 40_000);
    let few = next(&before, &service(1, "rr", &[(250, 1)]), &seen(0, None, &[])).ledger;
    let unused: Vec<u32> = (0..40_000).collect();
    assert_eq!(next(&few, &others, &seen(121, None, &unused)).servers.len(), 40_000);
}

#[test]
fn keys_that_have_gone_stay_in_the_filter() {
    let marked = |ports: &str| {
        format!(
            "fwmark_match 7 {{\n10.0.0.9 {ports} TCP\n}}\nvirtual_server fwmark 7 {{\nlb_algo rr\nlb_kind NAT\n\
             real_server 10.1.0.1 80 {{\nweight 1\n}}\n}}\n"
        )
    };
    let before = first(&marked("80-90"));
    let change = next(&before, &marked("80-84"), &seen(1, None, &[]));
    assert_eq!(change.ledger.tables.services4.len() + 6, before.tables.services4.len());
    assert_eq!(change.ledger.tables.filter, before.tables.filter);
}

#[test]
fn edits_without_end_find_room() {
    let weights = |step: u32| {
        (1..=200_u8).map(|last| (last, u32::from(last) * 7 + step % 5)).collect::<Vec<_>>()
    };
    let file = |step: u32| {
        (0..8).fold(String::new(), |text, number| {
            let algo = if number % 2 == 0 { "wrr" } else { "mh" };
            text + &service(number + 1, algo, &weights(step + step * u32::from(number)))
        })
    };
    let mut ledger = Ledger::first(&config(&file(0)), &Choices::default()).unwrap().ledger;
    let needed = ledger.tables.members.len() as u32;
    ledger = ledger.within(Sizes { members: (needed + needed / 4) * 2, ..SMALL });
    for step in 1..20 {
        ledger = next(&ledger, &file(step), &seen(u64::from(step), None, &[])).ledger;
    }
}

/// A service's port, which scheduler it has, its servers and their weights.
type Draft = (u16, usize, Vec<(u8, u32)>);

/// Services with any servers.
fn any_file() -> impl Strategy<Value = Vec<Draft>> {
    let servers = prop::collection::btree_map(1_u8..12, 0_u32..5, 1..6);
    let servers = servers.prop_map(|map| map.into_iter().collect());
    let service = (1_u16..6, 0_usize..4, servers);
    prop::collection::vec(service, 0..5).prop_map(|mut services| {
        services.sort_by_key(|(port, ..)| *port);
        services.dedup_by_key(|(port, ..)| *port);
        services
    })
}

proptest! {
    #[test]
    fn whatever_came_before_the_file_is_what_counts(files in prop::collection::vec(any_file(), 1..8)) {
        let mut ledger = first("");
        for (step, file) in files.iter().enumerate() {
            let text: String = file
                .iter()
                .map(|(port, algo, servers)| service(*port, ["rr", "wrr", "sh", "wlc"][*algo], servers))
                .collect();
            let unused: Vec<u32> = (0..100).filter(|id| id % 3 == 0).collect();
            ledger = next(&ledger, &text, &seen(100 * step as u64, Some((0, 5)), &unused)).ledger;
            let fresh = first(&text);
            prop_assert_eq!(ledger.tables.services4.len(), file.len());
            // Servers by what they are: ids and orders depend on what came before.
            let servers = |tables: &Tables, service: &Service| {
                let mut lists: Vec<Vec<([u8; 16], u32)>> = Vec::new();
                let ids = |first, members| list(tables, first, members).into_iter();
                let one = |id: u32| (tables.servers[id as usize].address, tables.servers[id as usize].weight);
                if service.scheduler == scheduler::WEIGHTED_ROUND_ROBIN {
                    let runs = tables.runs.iter().skip(service.first_member as usize);
 for run in runs.take(service.members as usize) {
                        lists.push(ids(run.first_member, run.members).map(one).collect());
                    }
                } else {
                    lists.push(ids(service.first_member, service.members).map(one).collect());
                }
                for list in &mut lists {
                    list.sort_unstable();
                    // sh: how many buckets each has depends on the order at the end.
                    list.dedup();
                }
                lists
            };
            for (key, service) in &ledger.tables.services4 {
                let (_, like) = fresh.tables.services4.iter().find(|(other, _)| other == key).unwrap();
                prop_assert_eq!(servers(&ledger.tables, service), servers(&fresh.tables, like));
                prop_assert_eq!((service.turns, service.scheduler), (like.turns, like.scheduler));
            }
            let available = ledger.tables.servers.iter().filter(|server| server.flags & server_flags::AVAILABLE != 0);
            prop_assert_eq!(available.count(), fresh.tables.servers.len());
        }
    }
}

/// As `ipvsadm -A` makes them.
#[test]
fn a_service_without_servers_chooses_nobody_and_stays_where_it_is() {
    for scheduler in [
        "rr", "wrr", "lc", "wlc", "sh", "dh", "lblc", "lblcr", "sed", "nq", "mh", "fo", "ovf",
        "twos",
    ] {
        let other = service(2, "rr", &[(1, 1)]);
        let mut empty = config(&(service(1, scheduler, &[(1, 1)]) + &other));
        empty.services[0].real_servers = Arc::default();
        let before = Ledger::first(&empty, &Choices::default()).unwrap().ledger.within(SMALL);
        let (_, value) = before.tables.services4[0];
        assert_eq!(value.members, 0, "{scheduler}");
        let change = before.next(&empty, &Choices::default(), &seen(1, None, &[])).unwrap();
        assert!(change.states.is_empty(), "{scheduler}");
        assert_eq!(change.ledger.tables.services4, before.tables.services4, "{scheduler}");
        // It gets a server, and loses it.
        let text = service(1, scheduler, &[(1, 1)]) + &other;
        let full = next(&change.ledger, &text, &seen(2, None, &[])).ledger;
        assert_ne!(full.tables.services4[0].1.members, 0, "{scheduler}");
        let change = full.next(&empty, &Choices::default(), &seen(3, None, &[])).unwrap();
        assert_eq!(change.ledger.tables.services4[0].1.members, 0, "{scheduler}");
        assert_eq!(change.ledger.tables.services4[0].1.id, value.id, "{scheduler}");
    }
}

#[test]
fn places_tell_which_server_is_the_newest() {
    let order = |ledger: &Ledger| -> Vec<u32> {
        ledger.tables.places.iter().map(|place| place.order).collect()
    };
    let before = first(&service(1, "rr", &[(1, 1), (2, 1)]));
    assert_eq!(order(&before), [0, 1]);
    let gone = next(&before, &service(1, "rr", &[(2, 1)]), &seen(1, None, &[])).ledger;
    let back = next(&gone, &service(1, "rr", &[(2, 5), (1, 1), (3, 1)]), &seen(2, None, &[]));
    assert_eq!(order(&back.ledger), [2, 1, 3]);
}

/// Two services may come by one key, and both are to be listed.
#[test]
fn a_service_whose_only_key_a_mark_has_taken_is_known_by_its_name() {
    let text = "fwmark_match 7 { \n10.0.0.1 80 TCP\n }\n".to_owned()
        + &service(80, "rr", &[(1, 1)])
        + "virtual_server fwmark 7 {\nlb_algo rr\nlb_kind NAT\nreal_server 10.1.0.2 80 {\nweight 1\n}\n}\n";
    let tables = first(&text).tables;
    let mut names: Vec<_> = tables.identities.values().map(|one| (one.mark, one.port)).collect();
    names.sort_unstable();
    assert_eq!(names, [(0, 80), (7, 0)]);
}
