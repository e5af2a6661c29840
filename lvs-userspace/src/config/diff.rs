//! What a reload from one configuration to another would change, service by service.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
};

use serde::Serialize;
use serde_json::Value;

use super::{
    model::{Config, Family, Protocol, RealServer, Target, VirtualServer},
    show::{real_server_alone, service_alone, show},
};

/// What differs between two configurations, as lines of text: `+` for what is new, `-` for what goes, `~` for what
/// changes, in the words of the language. Empty if a reload would change nothing; numbers of lines do not count.
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
    let whole = |config: &Config| Config { services: Vec::new(), ..config.clone() };
    let (old, new) = (whole(old), whole(new));
    for change in changes((&value(&old), &show(&old)), (&value(&new), &show(&new))) {
        line(&mut out, 0, &format!("{} {}", change.sign.unwrap_or('~'), change.text));
    }
    out
}

fn services(old: &VirtualServer, new: &VirtualServer) -> String {
    let mut out = String::new();
    let head = |service: &VirtualServer| {
        let mut shown = service_alone(service);
        if !service.local_addresses.is_empty() {
            let all: Vec<String> =
                service.local_addresses.iter().map(ToString::to_string).collect();
            line(&mut shown, 0, &format!("local_address_group {}", all.join(" ")));
        }
        (value(&VirtualServer { real_servers: Vec::new(), ..service.clone() }), shown)
    };
    let ((was, was_shown), (is, is_shown)) = (head(old), head(new));
    for change in changes((&was, &was_shown), (&is, &is_shown)) {
        line(&mut out, 1, &change.to_string());
    }
    let key = |server: &RealServer| (server.address, server.port);
    let before: HashMap<_, _> =
        old.real_servers.iter().map(|server| (key(server), server)).collect();
    let after: HashMap<_, _> =
        new.real_servers.iter().map(|server| (key(server), server)).collect();
    for server in &old.real_servers {
        if !after.contains_key(&key(server)) {
            line(&mut out, 1, &format!("- real server {}", place(server)));
        }
    }
    for server in &new.real_servers {
        match before.get(&key(server)) {
            None => {
                let weight = server.weight;
                line(&mut out, 1, &format!("+ real server {}, weight {weight}", place(server)));
            }
            Some(was) => {
                let shown = (real_server_alone(was, old), real_server_alone(server, new));
                // That a server goes with its service's method has been said of the service.
                let follows =
                    was.forwarding == old.forwarding && server.forwarding == new.forwarding;
                let forwarding = if follows { server.forwarding } else { was.forwarding };
                let was = value(&RealServer { forwarding, ..(*was).clone() });
                for change in changes((&was, &shown.0), (&value(server), &shown.1)) {
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

/// A line of the language that is new, gone, or has another value.
struct Change {
    /// `+` or `-`; absent for another value.
    sign: Option<char>,
    text: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.sign {
            Some(sign) => write!(f, "{sign} {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// What differs, line by line as [`show`] writes them. The values decide whether anything does.
fn changes((was, old): (&Value, &str), (is, new): (&Value, &str)) -> Vec<Change> {
    if was == is {
        return Vec::new();
    }
    let (old, new) = (lines(old), lines(new));
    let before: HashMap<_, _> = old.iter().map(|line| (line.key(), line)).collect();
    let after: HashMap<_, _> = new.iter().map(|line| (line.key(), line)).collect();
    let gone = old.iter().filter(|line| !after.contains_key(&line.key()));
    let gone = gone.filter(|line| line.inside.is_empty() || after.contains_key(&line.block()));
    let mut all: Vec<Change> =
        gone.map(|line| Change { sign: Some('-'), text: line.whole() }).collect();
    for line in &new {
        match before.get(&line.key()) {
            None if line.inside.is_empty() || before.contains_key(&line.block()) => {
                all.push(Change { sign: Some('+'), text: line.whole() });
            }
            Some(was) if was.value != line.value => {
                let text = format!("{}: {} → {}", line.name(), was.value, line.value);
                all.push(Change { sign: None, text });
            }
            _ => {}
        }
    }
    if all.is_empty() {
        // Nothing that is shown.
        all.push(Change { sign: None, text: "its inner state".to_owned() });
    }
    all
}

/// Blocks inside each other, and perhaps a line, each with its number among those of its name.
type Key<'t> = Vec<(&'t str, usize)>;

/// A line of [`show`], or the head of a block.
struct Line<'t> {
    /// The blocks that it stands in.
    inside: Key<'t>,
    keyword: &'t str,
    value: &'t str,
    /// Which of the lines with this keyword it is.
    number: usize,
}

impl Line<'_> {
    fn key(&self) -> Key<'_> {
        let own = std::iter::once((self.keyword, self.number));
        self.inside.iter().copied().chain(own).collect()
    }

    /// The key of the block that it stands in.
    fn block(&self) -> Key<'_> {
        self.inside.clone()
    }

    /// `HTTP_GET url 2 path`: the first of several has no number.
    fn name(&self) -> String {
        let numbered = |(name, number): (&str, usize)| match number {
            1 => name.to_owned(),
            _ => format!("{name} {number}"),
        };
        let blocks = self.inside.iter().map(|block| numbered(*block));
        blocks.chain([self.keyword.to_owned()]).collect::<Vec<_>>().join(" ")
    }

    fn whole(&self) -> String {
        if self.value.is_empty() { self.name() } else { format!("{} {}", self.name(), self.value) }
    }
}

/// The lines of what [`show`] has written.
fn lines(text: &str) -> Vec<Line<'_>> {
    let mut all: Vec<Line<'_>> = Vec::new();
    let mut inside: Key<'_> = Vec::new();
    let mut counts: HashMap<(Key<'_>, &str), usize> = HashMap::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "}" {
            inside.pop();
            continue;
        }
        let head = line.strip_suffix(" {");
        // Lines of these are values, with no keyword before them.
        let of_values = inside.last().is_some_and(|(block, _)| {
            block.starts_with("fwmark_match") || *block == "notification_email"
        });
        let (keyword, value) = match head {
            Some(head) => (head, ""),
            None if of_values => (line, ""),
            None => line.split_once(' ').unwrap_or((line, "")),
        };
        let count = counts.entry((inside.clone(), keyword)).or_default();
        *count += 1;
        let number = *count;
        all.push(Line { inside: inside.clone(), keyword, value, number });
        if head.is_some() {
            inside.push((keyword, number));
        }
    }
    all
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
    fn all_is_said_in_the_words_of_the_language() {
        let old = "
global_defs {
  router_id a
  enable_script_security
}
SSL { ca /etc/a.pem
}
fwmark_match 3 {
  10.0.0.5 90 TCP
}
local_address_group l {
  10.2.0.1
}
virtual_server_group g {
  10.0.0.1 80
  10.0.0.2 80
}
virtual_server group g { protocol TCP
  lb_algo sh
  sh-port
  lb_kind NAT
  quorum_up \"/bin/a b\"
  real_server 10.1.0.1 80 {
    notify_up /bin/up
    HTTP_GET {
      url { path /a
      }
      url { path /b
        status_code 200
      }
    }
    TCP_CHECK { bind_if eth0
    }
  }
}
";
        let mut new = old.to_owned();
        for (was, is) in [
            ("router_id a", "router_id b"),
            ("  enable_script_security\n", ""),
            ("a.pem", "b.pem"),
            ("90 TCP", "91 TCP"),
            ("10.0.0.2 80", "10.0.0.3 80"),
            ("sh-port", "sh-fallback"),
            ("lb_kind NAT", "lb_kind FNAT\nladdr_group_name l"),
            ("a b", "a c"),
            ("notify_up", "notify_down"),
            ("status_code 200", "status_code 200-204"),
            ("TCP_CHECK {", "PING_CHECK {"),
        ] {
            assert!(new.contains(was), "{was}");
            new = new.replace(was, is);
        }
        assert_eq!(
            diff(&config(old), &config(&new)),
            "\
- 10.0.0.2 port 80 TCP
~ 10.0.0.1 port 80 TCP
    - sh-port
    + sh-fallback
    lb_kind: NAT → FNAT
    quorum_up: \"/bin/a b\" → \"/bin/a c\"
    + local_address_group 10.2.0.1
    ~ real server 10.1.0.1 port 80: - notify_up \"/bin/up\"
    ~ real server 10.1.0.1 port 80: - TCP_CHECK
    ~ real server 10.1.0.1 port 80: + notify_down \"/bin/up\"
    ~ real server 10.1.0.1 port 80: HTTP_GET url 2 status_code: 200 → 200-204
    ~ real server 10.1.0.1 port 80: + PING_CHECK
+ 10.0.0.3 port 80 TCP: 1 real server
- global_defs enable_script_security
- fwmark_match 3 10.0.0.5 90 TCP
~ global_defs router_id: a → b
~ SSL ca: /etc/a.pem → /etc/b.pem
+ fwmark_match 3 10.0.0.5 91 TCP
"
        );
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
    lb_algo: rr → wrr
    - real server 10.1.0.1 port 80
    + real server 10.1.0.9 port 80, weight 7
    ~ real server 10.1.0.2 port 80: TCP_CHECK retry: 2 → 3
+ 10.0.0.3 port 53 UDP: 1 real server
+ global_defs
"
        );
    }
}
