//! The services of a scenario as a person writes them for keepalived, with what gives their packets marks.

use std::fmt::Write as _;

use super::recording::{People, Scenario, Server};

/// The services of a scenario with the servers that they have at a moment.
#[must_use]
pub fn services(people: &People, scenario: &Scenario, servers: &[Server]) -> String {
    let port = scenario.virtual_port();
    let headings: Vec<String> = scenario.fwmark.map_or_else(
        || scenario.virtuals.iter().map(|address| format!("{address} {port}")).collect(),
        |mark| vec![format!("fwmark {mark}")],
    );
    let inside = inside(people, scenario, servers);
    headings.iter().fold(marked(scenario), |text, heading| {
        text + &format!("virtual_server {heading} {{\n{inside}}}\n")
    })
}

/// What `record.py` has iptables mark.
fn marked(scenario: &Scenario) -> String {
    let Some(mark) = scenario.fwmark else { return String::new() };
    let mut text = format!("fwmark_match {mark} {{\n");
    for address in &scenario.virtuals {
        for port in scenario.asked() {
            let _ = writeln!(text, "  {address} {port} TCP");
        }
    }
    text + "}\n"
}

fn inside(people: &People, scenario: &Scenario, servers: &[Server]) -> String {
    let mut text = format!("  lb_algo {}\n", scenario.scheduler);
    // keepalived takes a scheduler's flags only below its name.
    for flag in &scenario.flags {
        let _ = writeln!(text, "  {flag}");
    }
    text.push_str("  lb_kind NAT\n");
    if scenario.fwmark.is_none() {
        text.push_str("  protocol TCP\n");
    }
    line(&mut text, "  ", "persistence_timeout", scenario.persistence);
    line(&mut text, "  ", "persistence_granularity", scenario.mask);
    // A service for any port has servers that are asked at the port that the client asked.
    let port = scenario.virtual_port();
    for server in servers {
        let Server { name, weight, upper, lower } = server;
        let address = people.addresses.get(name).map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "  real_server {address} {port} {{");
        line(&mut text, "    ", "weight", Some(weight));
        line(&mut text, "    ", "uthreshold", (*upper > 0).then_some(upper));
        line(&mut text, "    ", "lthreshold", (*lower > 0).then_some(lower));
        text.push_str("  }\n");
    }
    text
}

/// A keyword with its value, if it has one.
fn line<T: std::fmt::Display>(text: &mut String, indent: &str, keyword: &str, value: Option<T>) {
    if let Some(value) = value {
        let _ = writeln!(text, "{indent}{keyword} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::recording::Oracle;
    use super::*;

    fn text(name: &str, servers: &[Server]) -> String {
        let Oracle { people, scenarios } = Oracle::read().unwrap();
        let mut scenario = scenarios.into_iter().find(|one| one.name == name).unwrap();
        scenario.port = 10_000;
        services(&people, &scenario, servers)
    }

    #[test]
    fn a_service_is_written_as_keepalived_reads_it() {
        let server = Server { name: 'B', weight: 7, upper: 4, lower: 2 };
        assert_eq!(
            text("sh/port", &[server]),
            "virtual_server 10.64.4.1 10000 {\n  lb_algo sh\n  sh-port\n  lb_kind NAT\n  protocol TCP\n  \
             real_server 192.168.1.12 10000 {\n    weight 7\n    uthreshold 4\n    lthreshold 2\n  }\n}\n"
        );
    }

    #[test]
    fn a_mark_is_one_service_and_addresses_are_one_each() {
        let headings = |name| {
            let text = text(name, &[]);
            text.lines().filter(|line| line.starts_with("virtual_server")).count()
        };
        assert_eq!(headings("dh/equal"), 20);
        assert_eq!(headings("dh/mark equal mixed"), 1);
        let masked = text("persistence/rr 255.255.255.0", &[]);
        assert!(
            masked.contains("persistence_timeout 300\n  persistence_granularity 255.255.255.0\n")
        );
        let by_mark = text("persistence/rr mark", &[]);
        let first = "fwmark_match 206 {\n  10.64.4.1 10000 TCP\n  10.64.4.2 10000 TCP\n";
        assert!(by_mark.starts_with(first), "{by_mark}");
        assert!(by_mark.contains("}\nvirtual_server fwmark 206 {\n"));
        assert!(text("persistence/rr any port", &[]).contains(" 0 {\n"));
    }
}
