//! Looking at the kernel's side with `bpftool`, as a user would.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::command;

/// The command that prints all entries of a pinned map.
#[must_use]
pub fn dump_command(map: &Path) -> Command {
    let mut command = Command::new("bpftool");
    command.args(["map", "dump", "pinned"]).arg(map);
    command
}

/// The command that prints one element of a pinned array. To print all of them takes seconds, for
/// they are as many as there may ever be.
#[must_use]
pub fn lookup_command(map: &Path, index: u32) -> Command {
    let mut command = Command::new("bpftool");
    command.args(["map", "lookup", "pinned"]).arg(map).arg("key");
    command.args(index.to_ne_bytes().map(|byte| byte.to_string()));
    command
}

/// The entries of a pinned map as objects with named fields.
pub fn dump(map: &Path) -> Result<Vec<Value>> {
    match json(&dump_command(map))? {
        Value::Array(entries) => entries.into_iter().map(formatted).collect(),
        other => bail!("{} is not dumped as a list: {other}", map.display()),
    }
}

/// One element of a pinned array as an object with named fields.
pub fn lookup(map: &Path, index: u32) -> Result<Value> {
    formatted(json(&lookup_command(map, index))?)
}

/// A pinned link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Link {
    /// Its id.
    pub id: u64,
    /// The id of its program.
    pub program: u64,
}

/// What a pinned link leads to.
pub fn link(pin: &Path) -> Result<Link> {
    let mut command = Command::new("bpftool");
    command.args(["link", "show", "pinned"]).arg(pin);
    let link = json(&command)?;
    let number = |field: &str| link.get(field).and_then(Value::as_u64).context("no such field");
    Ok(Link { id: number("id")?, program: number("prog_id")? })
}

/// Runs a `bpftool` command with its answer in JSON.
fn json(command: &Command) -> Result<Value> {
    let mut with_json = Command::new(command.get_program());
    let text = command::run(with_json.arg("-j").args(command.get_args()))?;
    serde_json::from_str(&text).with_context(|| format!("`{}`", command::line(&with_json)))
}

/// The part of an entry that has names; a map without BTF has none.
fn formatted(mut entry: Value) -> Result<Value> {
    let named = entry.get_mut("formatted").map(Value::take);
    named.with_context(|| format!("an entry without BTF: {entry}"))
}

/// A number in an entry, by its path of field names; the sum over all CPUs for a per-CPU map.
#[must_use]
pub fn total(entry: &Value, field: &str) -> u64 {
    let number = |value: &Value| value.get(field).and_then(Value::as_u64).unwrap_or_default();
    match entry.get("values").and_then(Value::as_array) {
        Some(cpus) => cpus.iter().filter_map(|cpu| cpu.get("value")).map(number).sum(),
        None => entry.get("value").map(number).unwrap_or_default(),
    }
}

/// The ids of the programs, maps and links that a running process holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Held {
    /// Programs.
    pub programs: BTreeSet<u32>,
    /// Maps.
    pub maps: BTreeSet<u32>,
    /// Links.
    pub links: BTreeSet<u32>,
}

impl Held {
    /// Reads the ids from the process's open files.
    pub fn by(process: u32) -> Result<Self> {
        let folder = PathBuf::from(format!("/proc/{process}/fdinfo"));
        let mut held = Self::default();
        for entry in fs::read_dir(&folder).with_context(|| folder.display().to_string())? {
            // A file that was closed meanwhile is not held.
            let text = fs::read_to_string(entry?.path()).unwrap_or_default();
            let id = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
            };
            // A link's entry names its program too, so both are worth keeping.
            held.links.extend(id("link_id:"));
            held.programs.extend(id("prog_id:"));
            held.maps.extend(id("map_id:"));
        }
        Ok(held)
    }

    /// What of this the kernel still has, in bpftool's words.
    #[must_use]
    pub fn remains(&self) -> Vec<String> {
        let Self { programs, maps, links } = self;
        [("prog", programs), ("map", maps), ("link", links)]
            .into_iter()
            .flat_map(|(kind, ids)| ids.iter().map(move |id| (kind, id)))
            .filter_map(|(kind, id)| shown(kind, *id))
            .collect()
    }
}

/// How bpftool describes an object, on one line; nothing if there is none with this id.
fn shown(kind: &str, id: u32) -> Option<String> {
    let text = command::run(Command::new("bpftool").args([kind, "show", "id", &id.to_string()]));
    let words = text.ok()?.split_whitespace().collect::<Vec<_>>().join(" ");
    Some(format!("{kind} {words}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn per_cpu_values_are_added_up() {
        let entry = serde_json::json!({"key": 0, "values": [
            {"cpu": 0, "value": {"packets": 2}}, {"cpu": 1, "value": {"packets": 3}},
        ]});
        assert_eq!(total(&entry, "packets"), 5);
        assert_eq!(total(&serde_json::json!({"value": {"packets": 7}}), "packets"), 7);
    }
}
