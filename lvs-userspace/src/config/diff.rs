//! What a reload from one configuration to another would change, service by service.

use std::sync::Arc;
use std::{collections::HashMap, fmt::Write as _};

use serde::Serialize;
use serde_json::Value;

use super::model::{Config, Family, Protocol, RealServer, Target, VirtualServer};

/// What differs between two configurations, as lines of text: `+` for what is new, `-` for what goes, `~` for what
/// changes. Empty if a reload would change nothing; numbers of lines do not count.
#[must_use]
pub fn diff(old: &Config, new: &Config) -> String {
    let mut out = String::new();
    let key = |service: &VirtualServer| (service.target, service.family, service.protocol);
    let before: HashMap<_, _> =
        old.services.iter().map(|service| (key(service), service)).collect();
    let after: HashMap<_, _> = new.services.iter().map(|service| (key(service), service)).collect();
    for service in &old.services {
        if !after.contains_key(&key(service)) {
            line(&mut out, 0, &format!("- {}", name(service)));
        }
    }
    for service in &new.services {
        match before.get(&key(service)) {
            None => {
                let count = service.real_servers.len();
                let plural = if count == 1 { "" } else { "s" };
                line(&mut out, 0, &format!("+ {}: {count} real server{plural}", name(service)));
            }
            Some(was) => {
                let changes = services(was, service);
                if !changes.is_empty() {
                    line(&mut out, 0, &format!("~ {}", name(service)));
                    out.push_str(&changes);
                }
            }
        }
    }
    let mut rest = Vec::new();
    let whole = |config: &Config| value(&Config { services: Vec::new(), ..config.clone() });
    compare("", &whole(old), &whole(new), &mut rest);
    for change in rest {
        line(&mut out, 0, &format!("~ {change}"));
    }
    out
}

fn services(old: &VirtualServer, new: &VirtualServer) -> String {
    let mut out = String::new();
    let mut changes = Vec::new();
    let head = |service: &VirtualServer| {
        value(&VirtualServer { real_servers: Arc::default(), ..service.clone() })
    };
    compare("", &head(old), &head(new), &mut changes);
    for change in changes {
        line(&mut out, 1, &change);
    }
    let key = |server: &RealServer| (server.address, server.port);
    let before: HashMap<_, _> =
        old.real_servers.iter().map(|server| (key(server), server)).collect();
    let after: HashMap<_, _> =
        new.real_servers.iter().map(|server| (key(server), server)).collect();
    for server in old.real_servers.iter() {
        if !after.contains_key(&key(server)) {
            line(&mut out, 1, &format!("- real server {}", place(server)));
        }
    }
    for server in new.real_servers.iter() {
        match before.get(&key(server)) {
            None => {
                let weight = server.weight;
                line(&mut out, 1, &format!("+ real server {}, weight {weight}", place(server)));
            }
            Some(was) => {
                let mut changes = Vec::new();
                compare("", &value(was), &value(server), &mut changes);
                for change in changes {
                    line(&mut out, 1, &format!("~ real server {}: {change}", place(server)));
                }
            }
        }
    }
    // Schedulers walk over them in this order.
    let order = |servers: &[RealServer], others: &HashMap<_, _>| {
        servers.iter().map(key).filter(|key| others.contains_key(key)).collect::<Vec<_>>()
    };
    if order(&old.real_servers, &after) != order(&new.real_servers, &before) {
        line(&mut out, 1, "the real servers stand in another order");
    }
    out
}

fn line(out: &mut String, depth: usize, text: &str) {
    let _always_fits = writeln!(out, "{:1$}{text}", "", depth * 4);
}

fn name(service: &VirtualServer) -> String {
    match (service.target, service.protocol) {
        (Target::Mark(_), _) => format!("{} {}", service.target, family(service.family)),
        (target, protocol) => format!("{target} {}", protocol.unwrap_or(Protocol::Udp)),
    }
}

const fn family(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "IPv4",
        Family::Ipv6 => "IPv6",
    }
}

fn place(server: &RealServer) -> String {
    match server.port {
        0 => server.address.to_string(),
        port => format!("{} port {port}", server.address),
    }
}

/// Without the numbers of lines.
fn value(of: &impl Serialize) -> Value {
    let mut value = serde_json::to_value(of).unwrap_or_default();
    forget_lines(&mut value);
    value
}

fn forget_lines(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("line");
            fields.values_mut().for_each(forget_lines);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_lines),
        _ => {}
    }
}

/// Names each field that differs, by its path.
fn compare(path: &str, old: &Value, new: &Value, changes: &mut Vec<String>) {
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) if same_fields(old, new) => {
            for (field, was) in old {
                let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
                compare(&path, was, new.get(field).unwrap_or(&Value::Null), changes);
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (number, (was, is)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}[{number}]"), was, is, changes);
            }
        }
        _ => changes.push(format!("{path}: {} → {}", short(old), short(new))),
    }
}

fn same_fields(old: &serde_json::Map<String, Value>, new: &serde_json::Map<String, Value>) -> bool {
    old.len() == new.len() && old.keys().all(|field| new.contains_key(field))
}

fn short(value: &Value) -> String {
    match value {
        Value::Null => "none".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "none".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Policy, parse},
        *,
    };

    fn config(text: &str) -> Config {
        parse("f", text, &Policy::default()).unwrap().config
    }

    const OLD: &str = "
virtual_server 10.0.0.1 80 { protocol TCP
  lb_algo rr
  lb_kind NAT
  real_server 10.1.0.1 80 { weight 1 }
  real_server 10.1.0.2 80 { TCP_CHECK { retry 2 } }
}
virtual_server 10.0.0.2 53 { protocol UDP
  lb_algo rr
  lb_kind NAT
  real_server 10.1.0.1 53 { weight 1 }
}
";

    #[test]
    fn nothing_differs_where_only_lines_move() {
        assert_eq!(diff(&config(OLD), &config(&format!("\n# new\n\n{OLD}"))), "");
    }

    #[test]
    fn each_change_is_named_with_its_service() {
        let new = "global_defs { lvs_timeouts tcp 60 }\n".to_owned()
            + &OLD
                .replace("10.0.0.2", "10.0.0.3")
                .replace(
                    "lb_algo rr\n  lb_kind NAT\n  real_server 10.1.0.1 80 { weight 1 }",
                    "lb_algo wrr\n  lb_kind NAT\n  real_server 10.1.0.9 80 { weight 7 }",
                )
                .replace("retry 2", "retry 3");
        let shown = diff(&config(OLD), &config(&new));
        assert_eq!(
            shown,
            "\
- 10.0.0.2 port 53 UDP
~ 10.0.0.1 port 80 TCP
    scheduler: rr → wrr
    - real server 10.1.0.1 port 80
    + real server 10.1.0.9 port 80, weight 7
    ~ real server 10.1.0.2 port 80: checkers[0].schedule.retry: 2 → 3
+ 10.0.0.3 port 53 UDP: 1 real server
~ timeouts.tcp: none → 60
"
        );
    }
}
