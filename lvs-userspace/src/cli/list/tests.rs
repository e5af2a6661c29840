use serde_json::{Value, json};

use super::*;
use crate::{
    clock::age,
    config::{Family, Forwarding, Protocol, Scheduler, SchedulerFlags},
    inspect::Counts,
};

fn server(last: u8, weight: u32) -> ServerView {
    ServerView {
        id: last.into(),
        address: [10, 0, 0, last].into(),
        port: 80,
        weight,
        upper_threshold: 0,
        lower_threshold: 0,
        overloaded: false,
        active: 2,
        inactive: 0,
        persistent: Some(0),
        counts: Counts::default(),
    }
}

fn service(name: ServiceName, servers: Vec<ServerView>) -> ServiceView {
    ServiceView {
        name,
        id: 1,
        scheduler: Scheduler::RoundRobin,
        flags: SchedulerFlags::default(),
        forwarding: Forwarding::Nat,
        one_packet: false,
        persistence: None,
        servers,
        counts: Counts::default(),
    }
}

fn web(last: u8) -> ServiceName {
    ServiceName::Address { protocol: Protocol::Tcp, address: [192, 0, 2, last].into(), port: 80 }
}

fn told(memory: &str, edits: &str) -> Told {
    Told {
        memory: serde_json::from_str(&format!("{{\"services\":[{memory}]}}")).unwrap(),
        edits: serde_json::from_str(&format!(
            "{{\"services\":[{edits}],\"tcp\":null,\"tcp_fin\":null,\"udp\":null}}"
        ))
        .unwrap(),
        unreadable: None,
        running: true,
        changed: None,
        out_of_date: None,
    }
}

fn printed(views: &[ServiceView], told: Option<&Told>) -> String {
    let mut out = Vec::new();
    assert!(Listing::new(views, told).print(None, &mut out).is_ok());
    String::from_utf8(out).unwrap()
}

/// The first is down and out, the second stays with weight 0; the sorry server serves two services, which are a group.
#[test]
fn who_is_down_stands_out_with_the_reason() {
    let memory = r#"{"service":{"group":"web","nth":0},"quorum":false,"weight":1,"needed":2,
        "names":[{"protocol":"TCP","address":"192.0.2.1","port":80},{"protocol":"TCP","address":"192.0.2.2","port":80}],
        "sorry":{"address":"10.0.0.9","port":80,"serves":true,"set":true},
        "servers":[
            {"address":"10.0.0.1","port":80,"up":false,"set":false,"weight":1,"since":1,
                "checkers":[{"check":"x","made":true,"up":false,"added":0,"reason":"TCP_CHECK: connection refused"}]},
            {"address":"10.0.0.2","port":80,"up":false,"set":true,"weight":1,
                "checkers":[{"check":"x","made":false,"up":false,"added":0}]},
            {"address":"10.0.0.3","port":80,"up":true,"set":false,"weight":1,"checkers":[]}]}"#;
    let told = told(memory, "");
    let views = [web(1), web(2)].map(|name| service(name, vec![server(9, 1), server(2, 0)]));
    let text = printed(&views, Some(&told));
    let age = age(1);
    let expected = format!(
        "\
SERVICE / SERVER  STATE  SCHEDULER  METHOD  WEIGHT  ACTIVE  INACTIVE  CLIENTS  UPPER  LOWER  NOTES
TCP 192.0.2.1:80  SORRY  rr         NAT                  4         0        0                no quorum: weight 1 is up, 2 is needed
  10.0.0.9:80     SORRY                          1       2         0        0      -      -
  10.0.0.2:80     DOWN                           0       2         0        0      -      -  it was not checked yet (alpha)
  10.0.0.1:80     DOWN                           -       -         -        -      -      -  for {age}: TCP_CHECK: connection refused
  10.0.0.3:80     held                           -       -         -        -      -      -  until there is a quorum
"
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text[expected.len()..].starts_with("TCP 192.0.2.2:80  SORRY"), "{text}");
    let json = json!(Listing::new(&views, Some(&told)).services[0].json());
    assert_eq!(json["sorry"], json!({"address": "10.0.0.9", "port": 80}));
    assert_eq!((&json["quorum"], &json["edit"]), (&json!(false), &Value::Null));
    let down = &json["servers"][2];
    assert_eq!(
        (&down["state"], &down["since"], &down["reason"], &down["id"]),
        (&json!("down"), &json!(1), &json!("TCP_CHECK: connection refused"), &Value::Null)
    );
}

#[test]
fn what_is_edited_is_marked() {
    let spec = r#"{"scheduler":"rr"}"#;
    let server_spec = r#"{"weight":1}"#;
    let edits = format!(
        r#"{{"name":{{"mark":7,"family":"IPv4"}},"spec":{{"file":null,"now":{spec}}},"servers":[
            {{"address":"10.0.0.1","port":80,"file":null,"now":{server_spec}}},
            {{"address":"10.0.0.2","port":80,"file":{server_spec},"now":null}},
            {{"address":"10.0.0.3","port":80,"file":{server_spec},"now":{{"weight":0}}}}]}},
          {{"name":{{"protocol":"TCP","address":"192.0.2.3","port":80}},"spec":{{"file":{spec},"now":null}},"servers":[]}}"#
    );
    let told = told("", &edits);
    let mark = ServiceName::Mark { mark: 7, family: Family::Ipv4 };
    let views =
        [service(web(1), vec![server(5, 1)]), service(mark, vec![server(1, 1), server(3, 0)])];
    let text = printed(&views, Some(&told));
    let lines: Vec<Vec<&str>> =
        text.lines().skip(1).map(|line| line.split_whitespace().collect()).collect();
    let ends = |line: usize, wanted: &str| lines[line].join(" ").ends_with(wanted);
    assert_eq!(lines[0].join(" "), "TCP 192.0.2.1:80 rr NAT 2 0 0");
    assert!(ends(1, "- -") && ends(2, "added by an edit") && ends(3, "added by an edit"), "{text}");
    assert!(ends(4, "- - changed by an edit"), "{text}");
    assert!(
        lines[5].join(" ").starts_with("10.0.0.2:80 deleted") && ends(5, "by an edit"),
        "{text}"
    );
    assert_eq!(lines[6].join(" "), "TCP 192.0.2.3:80 deleted by an edit");
    let listing = Listing::new(&views, Some(&told));
    let kinds: Vec<Value> = listing.services[1]
        .servers
        .iter()
        .map(|server| json!(server.json())["edit"].clone())
        .collect();
    assert_eq!(kinds, [json!("added"), json!("changed"), json!("deleted")]);
}

#[test]
fn what_is_not_known_is_not_said() {
    let views = [service(web(1), vec![server(1, 1)])];
    let text = printed(&views, None);
    assert!(
        text.starts_with("Who is down and what was edited is not shown: give the --runtime-dir"),
        "{text}"
    );
    let json = json!(Listing::new(&views, None).services[0].json());
    assert_eq!((&json["quorum"], &json["servers"][0]["state"]), (&Value::Null, &Value::Null));
    let ended = Told { running: false, changed: Some(crate::clock::now()), ..told("", "") };
    let text = printed(&views, Some(&ended));
    assert!(text.starts_with("No controller runs: servers are not checked"), "{text}");
    assert!(text.contains("is shown, which had changed 0s ago.\n\nSERVICE"), "{text}");
}
