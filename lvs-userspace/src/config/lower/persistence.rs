//! `persistence_timeout` and `persistence_granularity`.

use std::{net::Ipv4Addr, time::Duration};

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        lex::Word,
        model::{Family, Granularity, Persistence},
        source::Span,
        tree::Directive,
    },
    number,
    setting::Setting,
    value,
};

/// The kernel's `IPVS_SVC_PERSISTENT_TIMEOUT`: without a number, and for what implies persistence.
const TIMEOUT: Duration = Duration::from_secs(360);

/// What a block says about persistence.
#[derive(Default)]
pub(super) struct Draft {
    timeout: Setting<Duration>,
    granularity: Setting<Granularity>,
}

impl Draft {
    pub(super) fn timeout(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let args = value::args(child, 0..=1, "persistence_timeout SECONDS", sink);
        let only = args.and_then(|args| args.first());
        let instead = "a client may change its server";
        if only.is_some_and(|word| number::is_ignored_zero(child, word, instead, sink)) {
            return;
        }
        let timeout = args.and_then(|args| {
            let Some(word) = args.first() else { return Some(TIMEOUT) };
            let seconds = number::seconds(child, word, 1..=number::TIMEOUT_LIMIT, sink)?;
            Some(Duration::from_secs(seconds.into()))
        });
        self.timeout.set(child, timeout, sink);
    }

    /// The same under a name that keepalived does not have.
    pub(super) fn timeout_by_alias(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        sink.push(
            Diagnostic::new(
                Code::AliasSpelling,
                child.keyword.span,
                "keepalived spells this `persistence_timeout`",
            )
            .help("both work here; keepalived itself knows only its own spelling"),
        );
        self.timeout(child, sink);
    }

    pub(super) fn granularity(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let args = value::args(child, 1..=1, "persistence_granularity MASK|LENGTH", sink);
        let value = args.and_then(|args| granularity(args.first()?, sink));
        self.granularity.set(child, value, sink);
    }

    /// Whether there will be any, but for a service of all ports.
    pub(super) const fn is_set(&self) -> bool {
        self.timeout.is_set() || self.granularity.is_set()
    }

    /// The family that the granularity is for, and where it stands.
    pub(super) fn family(&self) -> Option<(Family, Span)> {
        Some((self.granularity.get()?.family(), self.granularity.head()?))
    }

    /// How clients stay. For all ports of an address they must; the spot that asks for that is given, and whether a
    /// misspelt line was about it.
    pub(super) fn finish(
        self,
        family: Family,
        all_ports: Option<Span>,
        meant: bool,
        sink: &mut Sink,
    ) -> Option<Persistence> {
        let line = self.granularity.head();
        if let (Some(line), Some(value)) = (line, self.granularity.get())
            && value.family() != family
        {
            sink.push(other_family(*value, line));
        }
        let timeout = match (self.timeout.is_set(), line, all_ports) {
            (true, ..) => self.timeout.value()?,
            (false, None, None) => return None,
            (false, None, Some(spot)) => {
                if !meant {
                    sink.push(without_port(spot));
                }
                TIMEOUT
            }
            // keepalived takes a granularity for persistence too.
            (false, Some(_), _) => TIMEOUT,
        };
        let granularity = self.granularity.or(Granularity::full(family))?;
        Some(Persistence { timeout, granularity })
    }
}

fn without_port(spot: Span) -> Diagnostic {
    let message = format!(
        "all ports of an address are for persistent services, so it is one with {} s, as in keepalived",
        TIMEOUT.as_secs()
    );
    Diagnostic::new(Code::AllPorts, spot, message)
        .help("name a port, or write `persistence_timeout` to say so")
}

/// A mask for IPv4, a prefix length for IPv6.
fn granularity(word: &Word<'_>, sink: &mut Sink) -> Option<Granularity> {
    let prefix = number::digits(&word.text).and_then(|length| u8::try_from(length).ok());
    let value = match word.text.parse::<Ipv4Addr>() {
        Ok(mask) => Some(Granularity::Mask(mask)),
        Err(_) => prefix.filter(|length| (1..=128).contains(length)).map(Granularity::Prefix),
    };
    if value.is_none() {
        let message = format!("{} does not say which addresses are one client", quoted(&word.text));
        sink.push(Diagnostic::new(Code::BadGranularity, word.span, message).help(
            "write a mask for IPv4, such as `255.255.255.0`, the length of a prefix from 1 to 128 for IPv6",
        ));
    }
    value
}

fn other_family(value: Granularity, line: Span) -> Diagnostic {
    let (message, example) = match value {
        Granularity::Mask(_) => ("a mask is for IPv4, but the service is IPv6", "64".to_owned()),
        Granularity::Prefix(length) => {
            let hosts = u32::MAX.checked_shr(length.into()).unwrap_or(0);
            (
                "the length of a prefix is for IPv6, but the service is IPv4",
                Ipv4Addr::from_bits(!hosts).to_string(),
            )
        }
    };
    Diagnostic::new(Code::BadGranularity, line, message)
        .help(format!("write `persistence_granularity {example}`"))
}
