//! The listing for people: a table, with what is to be known about all of it above.

use std::io::Write;

use super::{
    super::{inspect::Early, table::Table},
    Listing, Server, Service, State, kind,
};
use crate::{
    clock::age,
    control::desired::Kind,
    inspect::{ServerView, ServiceView, persistence_mask},
};

impl Listing<'_> {
    pub(super) fn print(&self, trouble: Option<&str>, out: &mut dyn Write) -> Result<(), Early> {
        let before = self.remarks(trouble);
        for line in &before {
            writeln!(out, "{line}")?;
        }
        if !before.is_empty() {
            writeln!(out)?;
        }
        let mut table = Table::new(&[
            "SERVICE / SERVER",
            "STATE",
            "SCHEDULER",
            "METHOD",
            ">WEIGHT",
            ">ACTIVE",
            ">INACTIVE",
            ">CLIENTS",
            ">UPPER",
            ">LOWER",
            "NOTES",
        ]);
        for service in &self.services {
            table.row(service.row());
            for server in &service.servers {
                table.row(server.row());
            }
        }
        for name in &self.deleted {
            let mut row = <[String; 11]>::default();
            let [service, state, .., notes] = &mut row;
            *service = name.to_string();
            State::Deleted.shown().clone_into(state);
            "by an edit".clone_into(notes);
            table.row(row);
        }
        Ok(table.print(out)?)
    }

    /// What is to be known about all of it.
    fn remarks(&self, trouble: Option<&str>) -> Vec<String> {
        let Some(told) = self.told else {
            return vec![match trouble {
                None => "Who is down and what was edited is not shown: give the --runtime-dir of `xlvs run`.".to_owned(),
                Some(trouble) => format!("Who is down and what was edited is not shown: {trouble}."),
            }];
        };
        let mut remarks = Vec::new();
        if !told.running {
            let what = match told.changed {
                Some(changed) => format!(
                    "who was down when it ended is shown, which had changed {} ago",
                    age(changed)
                ),
                None => "all of them were up when it ended".to_owned(),
            };
            remarks.push(format!("No controller runs: servers are not checked; {what}."));
        }
        if let Some(reason) = &told.unreadable {
            remarks.push(format!("What was edited is not shown: {reason}"));
        }
        if let Some((since, reason)) = &told.out_of_date {
            remarks.push(format!(
                "The configuration file is not what is in use, for {}: {reason}",
                age(*since)
            ));
        }
        remarks
    }
}

impl Service<'_> {
    fn row(&self) -> [String; 11] {
        let view = self.view;
        let sum = |of: fn(&ServerView) -> u32| {
            view.servers.iter().map(|server| u64::from(of(server))).sum::<u64>().to_string()
        };
        let mut notes = Vec::new();
        if let Some(health) = self.health.filter(|health| !health.quorum) {
            notes.push(format!(
                "no quorum: weight {} is up, {} is needed",
                health.weight, health.needed
            ));
        }
        notes.extend(edit_note(self.edit));
        notes.extend(what_it_is_like(view));
        [
            view.name.to_string(),
            self.state(),
            view.scheduler.to_string(),
            view.forwarding.to_string(),
            String::new(),
            sum(|server| server.active),
            sum(|server| server.inactive),
            sum(|server| server.persistent.unwrap_or_default()),
            String::new(),
            String::new(),
            notes.join(", "),
        ]
    }

    /// The worst that there is to say of it.
    fn state(&self) -> String {
        let (up, down) = (self.count(State::Up), self.count(State::Down));
        if self.sorry().is_some() {
            "SORRY".to_owned()
        } else if down > 0 && up == 0 {
            "ALL DOWN".to_owned()
        } else if down > 0 {
            format!("{down} of {} DOWN", up + down)
        } else if !self.servers.is_empty() && self.weight() == 0 {
            "DRAINED".to_owned()
        } else {
            String::new()
        }
    }

    /// Of all servers that it has.
    fn weight(&self) -> u64 {
        self.view.servers.iter().map(|server| u64::from(server.weight)).sum()
    }
}

impl Server<'_> {
    fn row(&self) -> [String; 11] {
        let number = |of: fn(&ServerView) -> u32| {
            self.view.map_or_else(|| "-".to_owned(), |view| of(view).to_string())
        };
        let limit = |of: fn(&ServerView) -> u32| {
            self.view.map_or_else(|| "-".to_owned(), |view| limit(of(view)))
        };
        [
            format!("  {}", self.name),
            self.state.map_or("", State::shown).to_owned(),
            String::new(),
            String::new(),
            number(|view| view.weight),
            number(|view| view.active),
            number(|view| view.inactive),
            number(|view| view.persistent.unwrap_or_default()),
            limit(|view| view.upper_threshold),
            limit(|view| view.lower_threshold),
            self.notes(),
        ]
    }

    fn notes(&self) -> String {
        let mut notes = Vec::new();
        match (&self.since, &self.reason) {
            (Some(since), Some(reason)) => notes.push(format!("for {}: {reason}", age(*since))),
            (None, Some(reason)) => notes.push(reason.clone()),
            _ => {}
        }
        if self.state == Some(State::Held) {
            notes.push("until there is a quorum".to_owned());
        }
        if self.view.is_some_and(|view| view.overloaded) {
            notes.push("overloaded".to_owned());
        }
        if self.state == Some(State::Deleted) {
            notes.push("by an edit".to_owned());
        } else {
            notes.extend(edit_note(self.edit));
        }
        notes.join(", ")
    }
}

fn edit_note(edit: Option<Kind>) -> Option<String> {
    edit.map(|edit| format!("{} by an edit", kind(edit)))
}

fn limit(threshold: u32) -> String {
    if threshold == 0 { "-".to_owned() } else { threshold.to_string() }
}

fn what_it_is_like(view: &ServiceView) -> Vec<String> {
    let mut notes = Vec::new();
    if let Some(persistence) = view.persistence {
        let mut note = format!("persistent {} s", persistence.timeout.as_secs());
        if let Some(mask) = persistence_mask(persistence.granularity) {
            note += " by ";
            note += &mask;
        }
        notes.push(note);
    }
    for (set, note) in [
        (view.one_packet, "one packet"),
        (view.flags.fallback, "fallback"),
        (view.flags.port, "source port"),
    ] {
        if set {
            notes.push(note.to_owned());
        }
    }
    notes
}
