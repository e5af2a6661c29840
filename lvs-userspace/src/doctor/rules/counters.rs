//! Packets that were dropped for a reason that an operator can do something about.

use lvs_common::abi::Counter;

use crate::doctor::{facts::Facts, finding::Finding};

/// What a counter hints at: why, and what to look at or to do.
fn hint(counter: Counter) -> Option<(&'static str, &'static str)> {
    Some(match counter {
        Counter::NoServer => (
            "A service has no server that takes connections: all are down, overloaded, or have weight 0.",
            "xlvs list",
        ),
        Counter::TableFull => (
            "The table of connections or of persistent clients is full: new connections are refused; raise \
             --max-connections, or shorten time-outs.",
            "xlvs connections | wc -l",
        ),
        Counter::NoPort => (
            "Full NAT has no free source port towards a server: add local addresses, or narrow ip_local_port_range.",
            "sysctl net.ipv4.ip_local_port_range",
        ),
        Counter::NoLocalAddress => (
            "Full NAT has no address towards a server: the interface has none, and no group names one.",
            "ip -br addr",
        ),
        Counter::TooBig => (
            "Packets are longer than the next link takes; their senders are told, unless something drops the ICMP errors.",
            "ip -br link",
        ),
        Counter::NoRoute => ("There was no route to a server or back to a client.", "ip route"),
        Counter::ForwardingDisabled => (
            "Forwarding was off on the interface that packets came in by.",
            "sysctl -a -r 'conf.*forwarding$'",
        ),
        Counter::NotAttached => (
            "A way led out of an interface that is not attached: give that one too.",
            "bpftool net show",
        ),
        Counter::Unresolved => (
            "A neighbour did not answer; with full NAT a few at the start are normal.",
            "ip neigh show nud failed",
        ),
        Counter::MartianSource => (
            "Connections came from addresses that no client has (loopback, multicast, link-local).",
            "xlvs stats",
        ),
        Counter::Internal => (
            "A part of the data path is missing or has failed: please report this.",
            "xlvs stats --json",
        ),
        Counter::HalfOpenEvicted => (
            "There were more half-open connections than places, as in a SYN flood: the oldest gave way.",
            "xlvs stats --rate",
        ),
        _ => return None,
    })
}

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let found = |(counter, total, during): &(Counter, u64, u64)| {
        let (why, command) = hint(*counter).filter(|_| *total > 0)?;
        let look = match command.strip_prefix("xlvs ") {
            Some(words) => facts.xlvs(words),
            None => command.to_owned(),
        };
        let number = *counter as u32;
        let since = format!("{} ({number}): {total} since the start", counter.name());
        let finding = if *during > 0 {
            Finding::warning(
                "counter",
                format!("{since}, {during} of them while the doctor looked"),
            )
        } else {
            Finding::notice("counter", format!("{since}, none while the doctor looked"))
        };
        Some(finding.about(counter.name()).why(why).look(look))
    };
    facts.state.counters.iter().filter_map(found).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn what_goes_on_is_worse_than_what_was() {
        for (during, severity) in [(0, Severity::Notice), (3, Severity::Warning)] {
            let found = one(check, |facts| {
                facts.state.counters =
                    vec![(Counter::NotAttached, 7, during), (Counter::NoService, 99, 9)];
            });
            assert_eq!((found.0, found.1), ("counter", severity));
        }
        assert!(
            said(check, |facts| facts.state.counters = vec![(Counter::NoRoute, 0, 0)]).is_empty()
        );
    }

    #[test]
    fn commands_look_at_the_same_data_plane() {
        let (.., command) = one(check, |facts| {
            facts.state.runtime_dir = "/run/other".into();
            facts.state.counters = vec![(Counter::TableFull, 7, 1)];
        });
        assert_eq!(command, "xlvs connections --runtime-dir /run/other | wc -l");
    }

    #[test]
    fn every_counter_that_the_issue_names_has_a_hint() {
        for number in [10, 13, 16, 17, 18, 19, 20] {
            let counter = Counter::ALL.into_iter().find(|one| *one as u32 == number).unwrap();
            assert!(hint(counter).is_some(), "{}", counter.name());
        }
    }
}
