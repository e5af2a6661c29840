//! What was edited while it runs (`xlvs ipvsadm`), so that what is balanced is not what the file says.

use crate::{
    control::desired::Kind,
    doctor::{
        facts::Facts,
        finding::{Finding, Severity, some},
    },
    inspect::ServiceName,
};

pub(super) fn check(facts: &Facts) -> Vec<Finding> {
    unreadable(facts).or_else(|| edited(facts)).into_iter().collect()
}

fn unreadable(facts: &Facts) -> Option<Finding> {
    let reason = facts.state.told.as_ref()?.unreadable.as_ref()?;
    let why = "The next start is refused, lest a server that was drained has clients again.";
    Some(Finding::problem("edits", reason.clone()).why(why))
}

fn edited(facts: &Facts) -> Option<Finding> {
    let edits = &facts.state.told.as_ref()?.edits;
    if edits.is_empty() {
        return None;
    }
    let kinds = edits.kinds();
    let deleted = kinds.iter().filter(|(_, (kind, _))| *kind == Some(Kind::Deleted));
    let mut deleted: Vec<ServiceName> = deleted.map(|(name, _)| *name).collect();
    deleted.sort_by_cached_key(ToString::to_string);
    let count = match edits.len() {
        1 => "1 edit counts beside the file".to_owned(),
        count => format!("{count} edits count beside the file"),
    };
    let services = facts.config.services.len();
    let (severity, found, why) = if deleted.is_empty() {
        (Severity::Notice, count, "What is balanced is not all as the file says.")
    } else if deleted.len() >= services && services > 0 {
        let found = format!("{count}: all services of the file are deleted: {}", some(&deleted));
        (Severity::Problem, found, "Nothing that the file says is balanced.")
    } else {
        let found = format!("{count}: services of the file are deleted: {}", some(&deleted));
        (Severity::Warning, found, "What the file says of them is not balanced.")
    };
    let finding = Finding::new(severity, "edits", found).why(format!(
        "{why} Edits stay until the file says something else, `xlvs ipvsadm` takes them back, or `xlvs reload --discard-edits` \
         has none of them count any more."
    ));
    Some(finding.look(facts.xlvs("list")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::rules::{one, said, told};

    #[test]
    fn edits_that_cannot_be_read_are_a_problem() {
        let (name, severity, _) = one(check, |facts| {
            let mut told = told("", "");
            told.unreadable = Some("the edits of the last run cannot be used".to_owned());
            facts.state.told = Some(told);
        });
        assert_eq!((name, severity), ("edits", Severity::Problem));
    }

    const SERVER: &str = r#"{"name":{"protocol":"TCP","address":"10.64.1.2","port":80},"spec":null,
        "servers":[{"address":"192.168.1.100","port":80,"file":{"weight":1},"now":{"weight":0}}]}"#;
    const SERVICE: &str = r#"{"name":{"protocol":"TCP","address":"10.64.1.2","port":80},
        "spec":{"file":{"scheduler":"rr"},"now":null},"servers":[]}"#;

    #[test]
    fn edits_are_counted() {
        let found = one(check, |facts| facts.state.told = Some(told("", SERVER)));
        assert_eq!(found, ("edits", Severity::Notice, "xlvs list".to_owned()));
        assert!(said(check, |facts| facts.state.told = Some(told("", ""))).is_empty());
    }

    #[test]
    fn services_that_edits_have_deleted_are_named() {
        let findings = said(check, |facts| facts.state.told = Some(told("", SERVICE)));
        assert_eq!(findings[0].severity, Severity::Problem);
        assert!(findings[0].found.ends_with("are deleted: TCP 10.64.1.2:80"), "{findings:?}");
        let (_, severity, _) = one(check, |facts| {
            let other = facts.config.services[0].clone();
            facts.config.services.push(other);
            facts.state.told = Some(told("", SERVICE));
        });
        assert_eq!(severity, Severity::Warning);
    }
}
