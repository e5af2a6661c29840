//! On what the figures were taken.

use std::fs;
use std::process::Command;

use lvs_tests::command;

/// The kernel's release.
pub(crate) fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// The processor, and how many of it.
pub(crate) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let values = |name: &str| {
        let of_name = move |line: &str| {
            let (key, value) = line.split_once(':')?;
            (key.trim() == name).then(|| value.trim().to_owned())
        };
        text.lines().filter_map(of_name).collect::<Vec<_>>()
    };
    let names = values("model name");
    let virtual_ = values("flags").first().is_some_and(|flags| flags.contains("hypervisor"));
    let kind = if virtual_ { ", virtual machine" } else { "" };
    let name = names.first().map_or("unknown processor", String::as_str);
    format!("{name}, {} CPUs{kind}", names.len())
}

/// Today.
pub(crate) fn date() -> String {
    let date = command::run(Command::new("date").args(["-u", "+%Y-%m-%d"]));
    date.map(|date| date.trim().to_owned()).unwrap_or_default()
}
