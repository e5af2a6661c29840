//! Large bodies in both directions: every byte arrives, once and in order.

use anyhow::Result;
use lvs_tests::{config, skip_unless_possible};

use super::support::Bed;

const LEN: u64 = 200_000_000;

#[test]
fn two_hundred_megabytes_down_and_up_in_native_mode() -> Result<()> {
    skip_unless_possible!();
    transfer("native")
}

#[test]
fn two_hundred_megabytes_down_and_up_in_generic_mode() -> Result<()> {
    skip_unless_possible!();
    transfer("generic")
}

#[test]
fn two_hundred_megabytes_down_and_up_in_tc_mode_with_all_offloads() -> Result<()> {
    skip_unless_possible!();
    transfer("tc")
}

fn transfer(mode: &'static str) -> Result<()> {
    let bed = Bed::new()?;
    if mode == "tc" {
        bed.topology.use_default_offloads()?;
    }
    let xlvs = bed.start(&config::without_persistence(), Some(mode))?;
    bed.transfer(LEN)?;
    assert_eq!(bed.served()?, [1, 1]);
    assert!(xlvs.stop()?.success());
    Ok(())
}
