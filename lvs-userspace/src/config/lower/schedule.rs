//! `lb_algo` and the flags of the schedulers.

use std::collections::BTreeMap;

use super::{
    super::{
        code::Code,
        diag::{Diagnostic, Sink, quoted},
        model::{Scheduler, SchedulerFlags},
        schema::Flag,
        source::Span,
        tree::Directive,
    },
    setting::Setting,
    value::{self, Choice},
};

/// keepalived's `IPVS_DEF_SCHED`.
const DEFAULT: Scheduler = Scheduler::WeightedLeastConnections;

static SCHEDULER: Choice<Scheduler> = Choice {
    what: "scheduler",
    understood: &[
        ("rr", Scheduler::RoundRobin),
        ("wrr", Scheduler::WeightedRoundRobin),
        ("lc", Scheduler::LeastConnections),
        ("wlc", Scheduler::WeightedLeastConnections),
        ("sh", Scheduler::SourceHash),
        ("dh", Scheduler::DestinationHash),
        ("lblc", Scheduler::LocalityLeastConnections),
        ("lblcr", Scheduler::LocalityLeastConnectionsReplicated),
        ("sed", Scheduler::ShortestExpectedDelay),
        ("nq", Scheduler::NeverQueue),
        ("mh", Scheduler::MaglevHash),
        ("fo", Scheduler::Failover),
        ("ovf", Scheduler::Overflow),
        ("twos", Scheduler::TwoChoices),
    ],
    any_case: false,
};

/// What a block says about scheduling.
#[derive(Default)]
pub(super) struct Draft {
    scheduler: Setting<Scheduler>,
    /// With the scheduler that stood above each: a flag with a scheduler's name counts below that scheduler only.
    flags: BTreeMap<Flag, (Setting<()>, Option<Scheduler>)>,
}

impl Draft {
    pub(super) fn scheduler(&mut self, child: &Directive<'_>, sink: &mut Sink) {
        let word = value::args(child, 1..=1, "lb_algo SCHEDULER", sink);
        let value = word.and_then(|args| SCHEDULER.pick(args.first()?, sink));
        self.scheduler.set(child, value, sink);
    }

    pub(super) fn flag(&mut self, flag: Flag, child: &Directive<'_>, sink: &mut Sink) {
        let word = &child.keyword.text;
        let value = value::args(child, 0..=0, word, sink).map(|_| ());
        let (setting, above) = self.flags.entry(flag).or_default();
        setting.set(child, value, sink);
        *above = self.scheduler.get().copied();
    }

    /// The scheduler and its flags; a wrong scheduler has been reported. That there is none is said at the head, if it is
    /// given.
    pub(super) fn finish(
        self,
        head: Option<Span>,
        sink: &mut Sink,
    ) -> Option<(Scheduler, SchedulerFlags)> {
        if let (false, Some(head)) = (self.scheduler.is_set(), head) {
            let message = format!("no `lb_algo` here, so it is {DEFAULT}, as in keepalived");
            sink.push(
                Diagnostic::new(Code::DefaultScheduler, head, message)
                    .help(format!("write `lb_algo {DEFAULT}` to say so")),
            );
        }
        let scheduler = self.scheduler.or(DEFAULT)?;
        let mut flags = SchedulerFlags::default();
        for (flag, (setting, above)) in self.flags {
            let Some(line) = setting.head() else { continue };
            if flag.counts_below(above) {
                flag.raise(&mut flags);
            }
            if let Some(report) = flag.advice(line, above, scheduler) {
                sink.push(report);
            }
        }
        Some((scheduler, flags))
    }
}

impl Flag {
    const fn word(self) -> &'static str {
        match self {
            Self::First => "flag-1",
            Self::Second => "flag-2",
            Self::Third => "flag-3",
            Self::ShFallback => "sh-fallback",
            Self::ShPort => "sh-port",
            Self::MhFallback => "mh-fallback",
            Self::MhPort => "mh-port",
        }
    }

    /// The scheduler in its name.
    const fn owner(self) -> Option<Scheduler> {
        match self {
            Self::First | Self::Second | Self::Third => None,
            Self::ShFallback | Self::ShPort => Some(Scheduler::SourceHash),
            Self::MhFallback | Self::MhPort => Some(Scheduler::MaglevHash),
        }
    }

    /// Whether keepalived takes it below this scheduler.
    fn counts_below(self, above: Option<Scheduler>) -> bool {
        self.owner().is_none_or(|owner| above == Some(owner))
    }

    /// Those with one name are the kernel's `IP_VS_SVC_F_SCHED1`, `2` and `3`.
    const fn raise(self, flags: &mut SchedulerFlags) {
        match self {
            Self::First | Self::ShFallback | Self::MhFallback => flags.fallback = true,
            Self::Second | Self::ShPort | Self::MhPort => flags.port = true,
            Self::Third => flags.flag_3 = true,
        }
    }

    /// What to say about a flag that does nothing.
    fn advice(
        self,
        line: Span,
        above: Option<Scheduler>,
        scheduler: Scheduler,
    ) -> Option<Diagnostic> {
        let word = quoted(self.word());
        let reads = matches!(scheduler, Scheduler::SourceHash | Scheduler::MaglevHash);
        let (message, help) = match self.owner() {
            Some(owner) if above != Some(owner) && scheduler == owner => (
                format!("{word} stands above `lb_algo {owner}`; it is ignored, as in keepalived"),
                "move it below that line".to_owned(),
            ),
            Some(owner) if above != Some(owner) => (
                format!(
                    "{word} is for the scheduler {owner}; with {scheduler} it is ignored, as in keepalived"
                ),
                "delete it".to_owned(),
            ),
            None if self == Self::Third => {
                (format!("no scheduler reads {word}"), "delete it".to_owned())
            }
            _ if !reads => (
                format!("the scheduler {scheduler} does not read {word}"),
                "delete it; the schedulers sh and mh read it".to_owned(),
            ),
            _ => return None,
        };
        Some(Diagnostic::new(Code::FlagWithoutEffect, line, message).help(help))
    }
}

/// Says that a keyword is only kept for old files.
pub(super) fn hashed(child: &Directive<'_>, sink: &mut Sink) {
    value::args(child, 0..=0, "hashed", sink);
    sink.push(
        Diagnostic::new(
            Code::Hashed,
            child.keyword.span,
            "`hashed` has no effect, as in keepalived",
        )
        .help("delete it"),
    );
}
