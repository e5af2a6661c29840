//! Every mode carries traffic, the interfaces are attached as asked, and `auto` says what it took.

use std::collections::BTreeSet;
use std::process::Command;

use anyhow::{Context as _, Result};
use lvs_tests::netns::Netns;
use lvs_tests::topology::INTERFACES;
use lvs_tests::{command, config, skip_unless_possible};
use serde_json::Value;

use super::support::Bed;

/// What the kernel calls the modes in a link's `xdp.mode`.
const NATIVE: u64 = 1;
const GENERIC: u64 = 2;

#[test]
fn native_mode_carries_traffic() -> Result<()> {
    skip_unless_possible!();
    carries_traffic(Some("native"), &[NATIVE])
}

#[test]
fn generic_mode_carries_traffic() -> Result<()> {
    skip_unless_possible!();
    carries_traffic(Some("generic"), &[GENERIC])
}

#[test]
fn auto_mode_carries_traffic_and_says_what_it_took() -> Result<()> {
    skip_unless_possible!();
    carries_traffic(Some("auto"), &[NATIVE, GENERIC])
}

fn carries_traffic(mode: Option<&'static str>, attached: &[u64]) -> Result<()> {
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), mode)?;
    let modes = modes(&bed.topology.lb)?;
    assert!(modes.iter().all(|mode| attached.contains(mode)), "attached as {modes:?}");
    if mode == Some("auto") {
        let log = xlvs.log();
        let said = |line: &str| line.contains("generic") || line.contains("native");
        assert!(log.lines().any(said), "the mode is not in the log:\n{log}");
    }
    bed.ask_many(50, 4)?;
    bed.transfer(5_000_000)?;
    assert_eq!(bed.served()?, [26, 26]);
    assert!(xlvs.stop()?.success());
    assert!(self::modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    Ok(())
}

/// The modes in which the balancer's interfaces have an XDP program.
pub(super) fn modes(netns: &Netns) -> Result<BTreeSet<u64>> {
    let text = command::run(Command::new("ip").args(["-n", netns.name(), "-j", "-d", "link"]))?;
    let links: Vec<Value> = serde_json::from_str(&text).context("ip's JSON")?;
    let of_ours = |link: &&Value| {
        let name = link.get("ifname").and_then(Value::as_str);
        name.is_some_and(|name| INTERFACES.contains(&name))
    };
    Ok(links
        .iter()
        .filter(of_ours)
        .filter_map(|link| link.pointer("/xdp/mode")?.as_u64())
        .collect())
}
