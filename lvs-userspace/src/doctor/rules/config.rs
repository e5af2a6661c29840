//! The configuration file.

use crate::doctor::{facts::Facts, finding::Finding};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    let file = &facts.file;
    let path = crate::config::visible(&file.path.display().to_string());
    let id = if file.config_id == crate::config::host_name() {
        String::new()
    } else {
        format!(" --config-id {}", file.config_id)
    };
    let check = format!("xlvs check{id} {path}");
    if let Some(reason) = &file.unreadable {
        let found = Finding::problem("config", reason.clone()).about(path);
        let why = match in_use(facts) {
            Some(age) => format!(
                "What was read of it {age} ago is balanced on; a reload fails and a restart comes to nothing until it can be \
                 read again, and nothing of it was looked at here."
            ),
            None if facts.state.survey.data_plane => {
                "Packets flow on as the data plane has it; a start with this file comes to nothing, and nothing of it was \
                 looked at here."
                    .to_owned()
            }
            None => "Without a configuration nothing is balanced, and nothing of it was looked at here."
                .to_owned(),
        };
        return vec![found.why(why).look(facts.xlvs("doctor --config FILE"))];
    }
    if file.errors > 0 {
        let found = format!("it cannot be used: {}", counted(file.errors, "error"));
        let why = "`xlvs run` does not start with it";
        let why = match in_use(facts) {
            Some(age) => {
                format!("{why}; what was read of it {age} ago is balanced on, and a reload fails.")
            }
            None => format!("{why}, and a reload goes on with what was in use."),
        };
        return vec![Finding::problem("config", found).about(path).why(why).look(check)];
    }
    let services = &facts.config.services;
    let servers: usize = services.iter().map(|service| service.real_servers.len()).sum();
    let all = format!(
        "{}, {}",
        counted(services.len(), "virtual service"),
        counted(servers, "real server")
    );
    if file.warnings > 0 {
        let found = format!("{all}; {}", counted(file.warnings, "warning"));
        return vec![
            Finding::notice("config", found)
                .about(path)
                .why("Something in it is not acted on, or not as it was written.")
                .look(check),
        ];
    }
    vec![Finding::ok("config", all).about(path)]
}

/// How long ago the file was read, if a controller has it in use.
fn in_use(facts: &Facts) -> Option<String> {
    let state = &facts.state;
    let running = state.controller.as_ref().filter(|_| state.survey.data_plane)?;
    let used = running.config.as_ref() == Some(&facts.file.path);
    used.then(|| crate::clock::span(state.now.saturating_sub(running.since)))
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::{
        finding::Severity,
        rules::{one, said},
    };

    #[test]
    fn a_file_that_cannot_be_used_is_a_problem() {
        let (name, severity, command) = one(check, |facts| {
            facts.file.errors = 2;
            facts.file.config_id = "blue".to_owned();
        });
        assert_eq!((name, severity), ("config", Severity::Problem));
        assert_eq!(command, "xlvs check --config-id blue /etc/xlvs.conf");
        let (name, severity, _) =
            one(check, |facts| facts.file.unreadable = Some("no such file".to_owned()));
        assert_eq!((name, severity), ("config", Severity::Problem));
    }

    #[test]
    fn a_file_that_is_gone_ends_nothing_that_runs() {
        let why = |spoil: fn(&mut Facts)| {
            let findings = said(check, |facts| {
                facts.file.unreadable = Some("no such file".to_owned());
                spoil(facts);
            });
            format!("{:?}", findings[0])
        };
        assert!(why(|_| ()).contains("nothing is balanced"));
        let running = why(|facts| {
            facts.state.survey.data_plane = true;
            facts.state.controller = Some(crate::control::found::Controller {
                config: Some("/etc/xlvs.conf".into()),
                since: 400,
                ..Default::default()
            });
        });
        assert!(running.contains("read of it 10m ago is balanced on"), "{running}");
        let killed = why(|facts| facts.state.survey.data_plane = true);
        assert!(killed.contains("Packets flow on"), "{killed}");
    }

    #[test]
    fn warnings_are_counted() {
        let findings = said(check, |facts| facts.file.warnings = 1);
        assert_eq!(findings[0].severity, Severity::Notice);
        assert!(findings[0].found.ends_with("1 warning"), "{findings:?}");
    }
}
