//! Every mode carries traffic, the interfaces are attached as asked, and `auto` says what it took.

use std::process::Command;

use anyhow::{Context as _, Result};
use lvs_tests::netns::Netns;
use lvs_tests::topology::INTERFACES;
use lvs_tests::{command, config, skip_unless_possible};
use serde_json::Value;

use super::support::Bed;

/// The numbers of the modes in a link's `xdp.mode` (`XDP_ATTACHED_DRV` and `XDP_ATTACHED_SKB`).
const NATIVE: u64 = 1;
const GENERIC: u64 = 2;

#[test]
fn native_mode_carries_traffic() -> Result<()> {
    skip_unless_possible!();
    carries_traffic("native", [NATIVE; 2])
}

#[test]
fn generic_mode_carries_traffic() -> Result<()> {
    skip_unless_possible!();
    carries_traffic("generic", [GENERIC; 2])
}

#[test]
fn tc_mode_carries_traffic() -> Result<()> {
    skip_unless_possible!();
    carries_traffic("tc", [])
}

#[test]
fn auto_mode_carries_traffic_and_says_what_it_took() -> Result<()> {
    skip_unless_possible!();
    // A veth may drop what native mode redirects, so here `auto` must not take it.
    carries_traffic("auto", [])
}

fn carries_traffic<const N: usize>(mode: &'static str, attached: [u64; N]) -> Result<()> {
    let bed = Bed::new()?;
    if attached.is_empty() {
        bed.topology.use_default_offloads()?;
    }
    let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
    assert_eq!(modes(&bed.topology.lb)?, attached);
    if mode == "auto" {
        let log = xlvs.log();
        let said =
            |line: &str| line.contains("mode auto: falls back to tc") && line.contains("veth");
        assert!(log.lines().any(said), "neither mode nor reason are in the log:\n{log}");
    }
    bed.ask_many(50, 4)?;
    bed.transfer(5_000_000)?;
    assert_eq!(bed.served()?, [26, 26]);
    assert!(xlvs.stop()?.success());
    assert!(modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    Ok(())
}

/// The modes of the XDP programs on the balancer's interfaces; none for those without one.
pub(super) fn modes(netns: &Netns) -> Result<Vec<u64>> {
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
