//! Edits beside the file: against a model that simply does what ipvsadm says, and what a reload leaves of them.

use std::{collections::BTreeMap, fmt::Write as _, net::IpAddr};

use proptest::prelude::*;

use super::*;
use crate::control::edit::PersistenceSpec;

const FILE: &str = "
    virtual_server 10.0.0.1 80 {
        lb_algo rr
        lb_kind NAT
        protocol TCP
        real_server 192.168.0.1 80 { weight 1 }
        real_server 192.168.0.2 80 { weight 2 }
    }
    virtual_server 10.0.0.2 80 {
        lb_algo wlc
        lb_kind NAT
        protocol TCP
        real_server 192.168.0.1 80 { weight 1 }
    }";

fn config(text: &str) -> Config {
    crate::config::parse("test", text, &crate::config::Policy::default()).unwrap().config
}

fn service(number: u8) -> ServiceName {
    ServiceName::Address {
        protocol: crate::config::Protocol::Tcp,
        address: std::net::Ipv4Addr::new(10, 0, 0, number).into(),
        port: 80,
    }
}

fn server(number: u8) -> ServerName {
    ServerName { address: std::net::Ipv4Addr::new(192, 168, 0, number).into(), port: 80 }
}

fn spec(scheduler: &str) -> ServiceSpec {
    ServiceSpec {
        scheduler: scheduler.to_owned(),
        fallback: false,
        source_port: false,
        flag_3: false,
        one_packet: false,
        persistence: None,
    }
}

const fn weight(weight: u32) -> ServerSpec {
    ServerSpec { weight, upper_threshold: 0, lower_threshold: 0 }
}

/// The state that ipvsadm's commands lead to, kept as IPVS keeps it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model(BTreeMap<String, (ServiceSpec, BTreeMap<String, ServerSpec>)>);

impl Model {
    fn of(config: &Config) -> Self {
        let services = config.services.iter().map(|service| {
            let servers = service.real_servers.iter();
            let servers =
                servers.map(|one| (server_name(one).to_string(), ServerSpec::of(one))).collect();
            (service_name(service).to_string(), (ServiceSpec::of(service), servers))
        });
        Self(services.collect())
    }

    fn edit(&mut self, edit: &Edit) -> Result<(), Refusal> {
        use std::collections::btree_map::Entry;
        let services = &mut self.0;
        match edit {
            Edit::AddService { service, spec } => match services.entry(service.to_string()) {
                Entry::Occupied(_) => return Err(Refusal::ServiceExists),
                Entry::Vacant(place) => {
                    place.insert((spec.clone(), BTreeMap::new()));
                }
            },
            Edit::EditService { service, spec } => {
                let known = services.get_mut(&service.to_string()).ok_or(Refusal::NoService)?;
                known.0 = spec.clone();
            }
            Edit::DeleteService { service } => {
                services.remove(&service.to_string()).ok_or(Refusal::NoService)?;
            }
            Edit::AddServer { service, server, spec } => {
                let known = services.get_mut(&service.to_string()).ok_or(Refusal::NoService)?;
                match known.1.entry(server.to_string()) {
                    Entry::Occupied(_) => return Err(Refusal::ServerExists),
                    Entry::Vacant(place) => place.insert(*spec),
                };
            }
            Edit::EditServer { service, server, spec } => {
                let known = services.get_mut(&service.to_string()).ok_or(Refusal::NoService)?;
                *known.1.get_mut(&server.to_string()).ok_or(Refusal::NoServer)? = *spec;
            }
            Edit::DeleteServer { service, server } => {
                let known = services.get_mut(&service.to_string()).ok_or(Refusal::NoService)?;
                known.1.remove(&server.to_string()).ok_or(Refusal::NoServer)?;
            }
            Edit::Clear => services.clear(),
            Edit::Zero { .. } | Edit::SetTimeouts { .. } => {}
        }
        Ok(())
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    let services = (1_u8..4).prop_map(service);
    let specs = prop_oneof![Just(spec("rr")), Just(spec("wlc")), Just(spec("sh"))];
    let servers = (1_u8..4).prop_map(server);
    let weights = (0_u32..4).prop_map(weight);
    prop_oneof![
        (services.clone(), specs.clone())
            .prop_map(|(service, spec)| Edit::AddService { service, spec }),
        (services.clone(), specs).prop_map(|(service, spec)| Edit::EditService { service, spec }),
        services.clone().prop_map(|service| Edit::DeleteService { service }),
        (services.clone(), servers.clone(), weights.clone())
            .prop_map(|(service, server, spec)| Edit::AddServer { service, server, spec }),
        (services.clone(), servers.clone(), weights)
            .prop_map(|(service, server, spec)| Edit::EditServer { service, server, spec }),
        (services, servers).prop_map(|(service, server)| Edit::DeleteServer { service, server }),
        Just(Edit::Clear),
    ]
}

/// A file with some of the services and servers that edits are about.
fn files() -> impl Strategy<Value = Config> {
    let servers = prop::collection::btree_map(1_u8..4, 0_u32..4, 1..4);
    let services = prop::collection::btree_map(1_u8..4, (servers, any::<bool>()), 0..4);
    services.prop_map(|services| {
        let mut text = String::new();
        for (number, (servers, other)) in services {
            let scheduler = if other { "rr" } else { "wlc" };
            let _infallible = writeln!(
                text,
                "virtual_server 10.0.0.{number} 80 {{\nlb_algo {scheduler}\nlb_kind NAT\nprotocol TCP"
            );
            for (server, weight) in servers {
                let _infallible =
                    writeln!(text, "real_server 192.168.0.{server} 80 {{\nweight {weight}\n}}");
            }
            text += "}\n";
        }
        config(&text)
    })
}

proptest! {
    #[test]
    fn edits_do_what_ipvsadm_says(file in files(), edits in prop::collection::vec(edits(), 0..40)) {
        let mut model = Model::of(&file);
        let mut desired = Desired::new(file);
        for edit in &edits {
            prop_assert_eq!(desired.edit(edit), model.edit(edit), "{:?}", edit);
            prop_assert_eq!(&Model::of(&desired.effective()), &model, "{:?}", edit);
        }
    }

    #[test]
    fn the_same_file_again_changes_nothing(file in files(), edits in prop::collection::vec(edits(), 0..40)) {
        let mut desired = Desired::new(file.clone());
        for edit in &edits {
            let _may_be_refused = desired.edit(edit);
        }
        let (again, fates) = desired.reloaded(file, false);
        prop_assert!(fates.iter().all(|fate| fate.outcome == Outcome::Kept), "{:?}", fates);
        prop_assert_eq!(again.edits(), desired.edits());
        prop_assert_eq!(again.effective(), desired.effective());
    }

    /// What the file says anew counts, whatever was edited.
    #[test]
    fn another_file_counts_where_it_differs(
        file in files(),
        edits in prop::collection::vec(edits(), 0..40),
        next in files(),
    ) {
        let mut desired = Desired::new(file.clone());
        for edit in &edits {
            let _may_be_refused = desired.edit(edit);
        }
        let (reloaded, fates) = desired.reloaded(next.clone(), false);
        let dropped = fates.iter().filter(|fate| fate.outcome != Outcome::Kept).count();
        prop_assert_eq!(fates.len(), desired.edits().len());
        prop_assert_eq!(fates.len() - dropped, reloaded.edits().len());
        let (was, is, now) = (Model::of(&file), Model::of(&next), Model::of(&reloaded.effective()));
        for (name, (spec, servers)) in &is.0 {
            let before = was.0.get(name);
            if before.map(|(spec, _)| spec) != Some(spec) {
                prop_assert_eq!(now.0.get(name).map(|(spec, _)| spec), Some(spec));
            }
            let Some((_, now)) = now.0.get(name) else { continue };
            for (server, weight) in servers {
                if before.and_then(|(_, servers)| servers.get(server)) != Some(weight) {
                    prop_assert_eq!(now.get(server), Some(weight));
                }
            }
        }
    }

    #[test]
    fn edits_survive_being_written_down(file in files(), edits in prop::collection::vec(edits(), 0..40)) {
        let mut desired = Desired::new(file.clone());
        for edit in &edits {
            let _may_be_refused = desired.edit(edit);
        }
        let text = serde_json::to_string(desired.edits()).unwrap();
        let (again, _) = Desired::with(file, serde_json::from_str(&text).unwrap());
        prop_assert_eq!(again.effective(), desired.effective());
    }
}

#[test]
fn an_edit_that_is_taken_back_is_none() {
    let mut desired = Desired::new(config(FILE));
    let change = |weight_now| Edit::EditServer {
        service: service(1),
        server: server(1),
        spec: weight(weight_now),
    };
    desired.edit(&change(0)).unwrap();
    assert_eq!(desired.edits().len(), 1);
    desired.edit(&change(1)).unwrap();
    assert!(desired.edits().is_empty());
    assert_eq!(&desired.effective(), &**Desired::new(config(FILE)).file());
}

#[test]
fn a_reload_drops_the_edits_of_what_it_changes_and_says_so() {
    let mut desired = Desired::new(config(FILE));
    for edit in [
        Edit::EditServer { service: service(1), server: server(1), spec: weight(0) },
        Edit::EditServer { service: service(1), server: server(2), spec: weight(0) },
        Edit::AddService { service: service(3), spec: spec("rr") },
        Edit::DeleteService { service: service(2) },
        Edit::SetTimeouts { tcp: 60, tcp_fin: 0, udp: 10 },
    ] {
        desired.edit(&edit).unwrap();
    }
    let next = FILE.replace("weight 2", "weight 7") + "global_defs { lvs_timeouts udp 30 }";
    let (reloaded, fates) = desired.reloaded(config(&next), false);
    let shown: Vec<String> = fates.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "the edit of TCP 10.0.0.1:80, real server 192.168.0.1:80 is kept",
            "the edit of TCP 10.0.0.1:80, real server 192.168.0.2:80 is dropped: the file now says something else about it",
            "the addition of TCP 10.0.0.3:80 is kept",
            "the deletion of TCP 10.0.0.2:80 is kept",
            "the edit of the time-out tcp is kept",
            "the edit of the time-out udp is dropped: the file now says something else about it",
        ]
    );
    let (only_file, fates) = desired.reloaded(config(&next), true);
    assert!(only_file.edits().is_empty() && fates.len() == 6);
    assert!(fates.iter().all(|fate| matches!(fate.outcome, Outcome::Dropped(_))), "{fates:?}");
    assert_eq!(only_file.effective(), Desired::new(config(&next)).effective());
    let effective = reloaded.effective();
    let weights: Vec<u32> =
        effective.services[0].real_servers.iter().map(|server| server.weight).collect();
    assert_eq!(weights, [0, 7]);
    assert_eq!(effective.services.len(), 2, "the deleted one stays away");
    assert_eq!(effective.timeouts, Timeouts { tcp: Some(60), tcp_fin: Some(120), udp: Some(30) });
    // The file without the service: its servers' edits go with it.
    let (gone, fates) = reloaded.reloaded(Config::default(), false);
    assert_eq!(gone.edits().services(), [service(3)].into());
    assert_eq!(fates[0].outcome, Outcome::Dropped(SERVICE_GONE));
}

#[test]
fn the_newest_server_is_the_last_of_the_list() {
    let mut desired = Desired::new(config(FILE));
    let add =
        |number| Edit::AddServer { service: service(1), server: server(number), spec: weight(1) };
    for edit in
        [add(3), add(4), Edit::DeleteServer { service: service(1), server: server(3) }, add(3)]
    {
        desired.edit(&edit).unwrap();
    }
    let names: Vec<String> = desired.effective().services[0]
        .real_servers
        .iter()
        .map(|server| server.address.to_string())
        .collect();
    assert_eq!(names, ["192.168.0.1", "192.168.0.2", "192.168.0.4", "192.168.0.3"]);
}

#[test]
fn what_cannot_be_is_refused() {
    let mut desired = Desired::new(config(FILE));
    let all_ports = ServiceName::Address {
        protocol: crate::config::Protocol::Tcp,
        address: std::net::Ipv4Addr::new(10, 0, 0, 9).into(),
        port: 0,
    };
    let persistent = |timeout| ServiceSpec {
        persistence: Some(PersistenceSpec { timeout, granularity: None }),
        ..spec("rr")
    };
    let elsewhere = ServerName { address: "fd00::1".parse().unwrap(), port: 80 };
    let bounds = ServerSpec { weight: 1, upper_threshold: 3, lower_threshold: 4 };
    for (edit, code) in [
        (Edit::AddService { service: service(9), spec: spec("fastest") }, "no-scheduler"),
        (Edit::AddService { service: all_ports, spec: spec("rr") }, "invalid"),
        (Edit::AddService { service: service(9), spec: persistent(0) }, "invalid"),
        (
            Edit::AddService {
                service: service(9),
                spec: ServiceSpec { one_packet: true, ..spec("rr") },
            },
            "invalid",
        ),
        (Edit::AddServer { service: service(1), server: server(9), spec: bounds }, "range"),
        (Edit::AddServer { service: service(1), server: elsewhere, spec: weight(1) }, "invalid"),
        (Edit::Zero { service: Some(service(9)) }, "no-service"),
        (Edit::SetTimeouts { tcp: 2_678_401, tcp_fin: 0, udp: 0 }, "invalid"),
    ] {
        assert_eq!(desired.edit(&edit).unwrap_err().code(), code, "{edit:?}");
    }
    assert!(desired.edits().is_empty());
    desired.edit(&Edit::AddService { service: all_ports, spec: persistent(5) }).unwrap();
}

#[test]
fn there_is_room_for_so_much_and_no_more() {
    let mut desired = Desired::new(config(FILE));
    let number = |number: u16| ServerName {
        address: std::net::Ipv4Addr::from(0xc0a9_0000 + u32::from(number)).into(),
        port: 80,
    };
    for one in 1..=998 {
        let edit = Edit::AddServer { service: service(1), server: number(one), spec: weight(1) };
        desired.edit(&edit).unwrap();
    }
    check_room(&desired.effective()).unwrap();
    let edit = Edit::AddServer { service: service(1), server: number(999), spec: weight(1) };
    desired.edit(&edit).unwrap();
    assert!(check_room(&desired.effective()).unwrap_err().contains("TCP 10.0.0.1:80"));
}

const GROUP: &str = "
    virtual_server_group WEB {
        10.0.0.1 80
        10.0.0.2 80
    }
    virtual_server group WEB {
        lb_algo rr
        lb_kind NAT
        protocol TCP
        sorry_server 192.168.0.9 80
        real_server 192.168.0.1 80 { weight 3 }
        real_server 192.168.0.2 80 {
            weight 1
            inhibit_on_failure
        }
    }";

/// What checks have found of the services of a file: who is in the pool, by the last part of the address, with which weight,
/// and whether it is up.
fn found(desired: &Desired, members: &[(u8, u32, bool)]) -> State {
    let member = |&(number, weight, up): &(u8, u32, bool)| {
        let ServerName { address, port } = server(number);
        health::Member { server: health::Endpoint { address, port }, weight, up }
    };
    let pool = Pool { members: members.iter().map(member).collect() };
    let ids = ServiceId::of_all(desired.file());
    State { pools: ids.into_iter().map(|id| (id, pool.clone())).collect() }
}

/// `1*3 2*1`, the servers of a service of 10.0.0.`number` with what checks have found.
fn served(desired: &Desired, state: &State, number: u8) -> String {
    let config = desired.serving(state);
    let is = |one: &&VirtualServer| service_name(one) == service(number);
    let servers = &config.services.iter().find(is).unwrap().real_servers;
    let text = |one: &RealServer| {
        let IpAddr::V4(address) = one.address else { panic!("{one:?}") };
        format!("{}*{}", address.octets()[3], one.weight)
    };
    servers.iter().map(text).collect::<Vec<_>>().join(" ")
}

fn edited(edits: &[Edit]) -> Desired {
    let mut desired = Desired::new(config(GROUP));
    for edit in edits {
        desired.edit(edit).unwrap();
    }
    desired
}

#[test]
fn an_edit_of_one_service_of_a_group_is_of_that_one_only() {
    let (one, two) = (service(1), service(2));
    let all = [(1, 3, true), (2, 1, true)];
    for (edit, of_one, of_two) in [
        (
            Edit::EditServer { service: two, server: server(1), spec: weight(0) },
            "1*3 2*1",
            "1*0 2*1",
        ),
        (
            Edit::EditServer { service: one, server: server(1), spec: weight(0) },
            "1*0 2*1",
            "1*3 2*1",
        ),
        (Edit::DeleteServer { service: two, server: server(1) }, "1*3 2*1", "2*1"),
        (Edit::DeleteServer { service: one, server: server(2) }, "1*3", "1*3 2*1"),
        (
            Edit::AddServer { service: two, server: server(3), spec: weight(5) },
            "1*3 2*1",
            "1*3 2*1 3*5",
        ),
    ] {
        let desired = edited(&[edit]);
        let state = found(&desired, &all);
        assert_eq!([served(&desired, &state, 1), served(&desired, &state, 2)], [of_one, of_two]);
        assert!(health::all_serve(desired.file(), &state));
        assert_eq!(desired.effective(), desired.serving(&state));
    }
}

#[test]
fn edits_come_on_top_of_what_checks_have_found() {
    let edit = |number, to| Edit::EditServer {
        service: service(1),
        server: server(number),
        spec: weight(to),
    };
    for (edits, members, wanted) in [
        // Who is down is not brought back, be it gone or there with weight 0.
        (vec![edit(1, 7), edit(2, 7)], vec![(2, 0, false)], "2*0"),
        // A check gives another weight: it counts, but not for who is drained.
        (vec![edit(1, 7)], vec![(1, 40, true), (2, 1, true)], "1*40 2*1"),
        (vec![edit(1, 0)], vec![(1, 40, true), (2, 1, true)], "1*0 2*1"),
        // The sorry server serves, and whom an edit has added.
        (
            vec![
                edit(1, 0),
                Edit::AddServer { service: service(1), server: server(3), spec: weight(2) },
            ],
            vec![(9, 1, false)],
            "9*1 3*2",
        ),
        // The order is that of the pool.
        (vec![edit(1, 7)], vec![(2, 1, true), (1, 3, true)], "2*1 1*7"),
    ] {
        let desired = edited(&edits);
        let state = found(&desired, &members);
        assert_eq!(served(&desired, &state, 1), wanted, "{edits:?}");
    }
}

#[test]
fn who_was_deleted_and_added_again_is_told_once_and_is_not_down() {
    let delete = Edit::DeleteServer { service: service(1), server: server(1) };
    let mut desired = edited(&[delete.clone(), Edit::DeleteService { service: service(2) }]);
    let left_out: Vec<_> = desired.left_out().collect();
    assert_eq!(
        left_out,
        [(service(1), server(1)), (service(2), server(1)), (service(2), server(2))]
    );
    let add = Edit::AddServer { service: service(1), server: server(1), spec: weight(3) };
    desired.edit(&add).unwrap();
    assert_eq!(desired.came_again(), [(service(1), server(1))]);
    assert_eq!(desired.came_again(), []);
    assert!(desired.left_out().all(|(name, _)| name == service(2)));
}

#[test]
fn a_time_out_that_is_set_to_the_default_is_no_edit() {
    let mut desired = Desired::new(config(FILE));
    desired.edit(&Edit::SetTimeouts { tcp: 900, tcp_fin: 120, udp: 300 }).unwrap();
    assert!(desired.edits().is_empty(), "{:?}", desired.edits());
    desired.edit(&Edit::SetTimeouts { tcp: 901, tcp_fin: 0, udp: 0 }).unwrap();
    assert_eq!(desired.edits().len(), 1);
    let (next, fates) = desired.reloaded(config(FILE), false);
    assert_eq!((next.edits().len(), fates[0].outcome), (1, Outcome::Kept));
    desired.edit(&Edit::SetTimeouts { tcp: 900, tcp_fin: 0, udp: 0 }).unwrap();
    assert!(desired.edits().is_empty());
}
