//! What is there of xlvs itself: its pins, its controller, and how old the configuration in use is.

use crate::{
    clock::span,
    doctor::{
        facts::{Facts, Interface, State},
        finding::{Finding, some},
    },
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(other_versions(facts));
    findings.extend(stale_pins(&facts.state));
    findings.extend(running(facts));
    findings.extend(outdated(facts));
    findings.extend(not_attached(facts));
    findings
}

fn other_versions(facts: &Facts) -> Option<Finding> {
    let others = &facts.state.survey.others;
    (!others.is_empty()).then(|| {
        let found = format!("a data plane of another version: {}", some(others.iter().map(|path| path.display())));
        Finding::problem("other-version", found)
            .why("Its packets flow on, and this xlvs does not start beside it; stopping it ends its connections.")
            .mend(facts.xlvs("stop"))
    })
}

fn stale_pins(state: &State) -> Option<Finding> {
    let gone: Vec<_> = state.survey.links.iter().filter(|link| link.interface == 0).collect();
    (!gone.is_empty()).then(|| {
        let names = some(gone.iter().map(|link| &link.name));
        let finding =
            Finding::notice("stale-pin", format!("links that lead nowhere any more: {names}")).why(
                "Their interfaces have gone, or they were detached; the next start removes them.",
            );
        gone.iter()
            .fold(finding, |finding, link| finding.mend(format!("rm {}", link.path.display())))
    })
}

fn running(facts: &Facts) -> Option<Finding> {
    let state = &facts.state;
    let Some(controller) = &state.controller else {
        let usual = facts.directories().is_empty();
        let start = if state.unit && usual {
            "systemctl start xlvs".to_owned()
        } else if let Some(last) = &state.last_run {
            last.command()
        } else {
            facts.run_command(facts.mode, None)
        };
        // Perhaps one runs that could not be looked at.
        let seen = facts.unseen.iter().all(|(what, _)| *what != "controller");
        return (state.survey.data_plane && seen).then(|| {
            Finding::warning("controller", "packets flow, but no controller runs")
                .why("Dead servers, ended connections and changes of the file are not seen to.")
                .mend(start)
        });
    };
    let process = controller.process;
    if !state.survey.data_plane {
        return Some(
            Finding::warning("controller", format!("process {process} runs, but there is no data plane"))
                .about(state.pin_dir.display().to_string())
                .why("It is starting, or has its pins elsewhere (--pin-dir): what is said of pins here is not about it.")
                .look(format!("ps -ww -fp {process}")),
        );
    }
    Some(match &controller.silent {
        Some(reason) => Finding::warning("controller", format!("process {process} runs: {reason}"))
            .why("`xlvs ipvsadm` and others that change something do not get through.")
            .look(format!("ps -ww -fp {process}")),
        None => Finding::ok("controller", format!("process {process} runs")),
    })
}

fn outdated(facts: &Facts) -> Option<Finding> {
    let controller = facts.state.controller.as_ref()?;
    let config = controller.config.as_ref()?;
    let age = span(facts.state.now.saturating_sub(controller.since));
    let about = config.display().to_string();
    // Reading it again would fail: the finding about the file says what is in use.
    if *config == facts.file.path && (facts.file.errors > 0 || facts.file.unreadable.is_some()) {
        return None;
    }
    if let Some(reason) = &controller.outdated {
        let reason = reason.lines().next().unwrap_or_default();
        return Some(
            Finding::warning(
                "config-in-use",
                format!("the last reload failed; in use is what was read {age} ago: {reason}"),
            )
            .about(about.clone())
            .why("Changes to the file since then do not count.")
            .look(format!("xlvs check {about}"))
            .mend(facts.xlvs("reload")),
        );
    }
    if *config == facts.file.path && facts.file.changed > controller.since {
        return Some(
            Finding::notice(
                "config-in-use",
                format!("the file was changed after it was read, {age} ago"),
            )
            .about(about)
            .why("The change does not count yet.")
            .mend(facts.xlvs("reload")),
        );
    }
    Some(Finding::ok("config-in-use", format!("read {age} ago")).about(about))
}

fn not_attached(facts: &Facts) -> Option<Finding> {
    let links = &facts.state.survey.links;
    let attached =
        |interface: &&Interface| links.iter().any(|link| link.interface == interface.index);
    // On kernels without tcx there are no links in tc mode.
    if links.is_empty() || !facts.state.survey.data_plane {
        return None;
    }
    let (on, off): (Vec<&Interface>, Vec<&Interface>) = facts.interfaces.iter().partition(attached);
    if off.is_empty() {
        let names = some(on.iter().map(|interface| &interface.name));
        return Some(Finding::ok("attached", format!("to {names}")));
    }
    Some(
        Finding::warning("attached", format!("nothing is attached to {}", some(off.iter().map(|one| &one.name))))
            .why("What comes in there is not balanced; the log of `xlvs run` says why, if it was asked for.")
            .mend(facts.run_command(facts.mode, None)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bpf::PinnedLink,
        control::found::Controller,
        doctor::{
            finding::Severity,
            rules::{one, said},
        },
    };

    fn link(name: &str, interface: u32) -> PinnedLink {
        let path = format!("/sys/fs/bpf/xlvs/v5/links/{name}").into();
        PinnedLink { path, name: name.to_owned(), interface, xdp: true, program: 9 }
    }

    fn runs(facts: &mut Facts) {
        facts.state.survey.data_plane = true;
        facts.state.survey.links = vec![link("out", 2), link("in", 3)];
        facts.state.controller = Some(Controller {
            process: 42,
            config: Some("/etc/xlvs.conf".into()),
            since: 500,
            ..Controller::default()
        });
    }

    #[test]
    fn what_runs_as_it_should_is_fine() {
        assert!(said(check, runs).is_empty());
    }

    #[test]
    fn a_data_plane_of_another_version_is_in_the_way() {
        let found = one(check, |facts| {
            facts.state.pin_dir = "/run/pins".into();
            facts.state.survey.others = vec!["/run/pins/v3".into()];
        });
        let command = "xlvs stop --pin-dir /run/pins".to_owned();
        assert_eq!(found, ("other-version", Severity::Problem, command));
    }

    #[test]
    fn pins_of_interfaces_that_have_gone_are_named() {
        let found = one(check, |facts| {
            runs(facts);
            facts.state.survey.links.push(link("old", 0));
        });
        let command = "rm /sys/fs/bpf/xlvs/v5/links/old".to_owned();
        assert_eq!(found, ("stale-pin", Severity::Notice, command));
    }

    #[test]
    fn a_data_plane_without_a_controller_is_told() {
        let found = one(check, |facts| {
            runs(facts);
            facts.state.controller = None;
        });
        let command = "xlvs run --config /etc/xlvs.conf --interface out --interface in".to_owned();
        assert_eq!(found, ("controller", Severity::Warning, command));
        let (_, _, command) = one(check, |facts| {
            runs(facts);
            facts.state.controller = None;
            facts.state.unit = true;
        });
        assert_eq!(command, "systemctl start xlvs");
    }

    #[test]
    fn the_age_of_what_is_in_use_is_told() {
        let findings = said(check, |facts| {
            runs(facts);
            facts.state.controller.as_mut().unwrap().outdated = Some("line 3: wrong".to_owned());
        });
        assert_eq!((findings[0].name, findings[0].severity), ("config-in-use", Severity::Warning));
        assert!(findings[0].found.contains("8m 20s ago: line 3"), "{findings:?}");
        let (name, severity, command) = one(check, |facts| {
            runs(facts);
            facts.file.changed = 600;
        });
        assert_eq!((name, severity), ("config-in-use", Severity::Notice));
        assert_eq!(command, "xlvs reload");
    }

    #[test]
    fn no_reload_is_offered_that_would_fail() {
        let findings = said(check, |facts| {
            runs(facts);
            facts.file.errors = 1;
            facts.file.changed = 600;
            facts.state.controller.as_mut().unwrap().outdated = Some("line 3: wrong".to_owned());
        });
        assert!(findings.is_empty(), "{findings:?}");
    }

    #[test]
    fn an_interface_without_its_program_is_told() {
        let (name, severity, _) = one(check, |facts| {
            runs(facts);
            facts.state.survey.links.pop();
        });
        assert_eq!((name, severity), ("attached", Severity::Warning));
    }
}
