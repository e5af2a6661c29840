//! What the verifier and the JIT make of each program: a change that costs much shows here.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use lvs_common::abi::Stage;
use lvs_tests::skip_unless_possible;

use crate::verifier::{self, Cost};

/// The kernel's limit, of a program and the functions that it calls.
const STACK: u32 = 512;

/// What a program may cost, XDP and TC alike, without tracing but for the program that tells what is traced: its name
/// behind `xlvs_` and `xlvs_tc_`, instructions that the verifier walks, bytes of machine code. A quarter more than
/// Linux 6.18 makes of it on `x86_64`.
const BUDGETS: [(&str, u32, u32); 20] = [
    ("", 1700, 5900),
    ("sort", 6700, 4700),
    ("follow4", 20_000, 15_000),
    ("follow6", 49_000, 13_000),
    ("open4", 5200, 7400),
    ("open6", 9300, 9200),
    ("plan4", 8400, 4700),
    ("plan6", 19_000, 6600),
    ("conn4", 16_000, 9600),
    ("conn6", 30_000, 13_000),
    ("icmp4", 13_000, 5000),
    ("icmp6", 39_000, 7200),
    ("frag4", 5200, 4100),
    ("frag6", 13_000, 5700),
    ("fault4", 17_000, 2500),
    ("fault6", 18_000, 2900),
    ("trace", 29_000, 27_000),
    ("collect4", 120_000, 2000),
    ("collect6", 130_000, 2500),
    ("clock", 40, 190),
];

#[test]
fn every_program_keeps_within_its_budget() -> Result<()> {
    skip_unless_possible!();
    let mut costs = verifier::measure(false)?;
    let traced = verifier::measure(true)?;
    for (name, cost) in traced {
        ensure!(cost.stack <= STACK, "{name} with tracing: {cost:?}");
        if name.ends_with("trace") {
            costs.insert(name, cost);
        }
    }
    check_names(&costs)?;
    println!("{:16} {:>9} {:>7} {:>6}", "program", "walked", "bytes", "stack");
    for (name, Cost { walked, jitted, stack }) in &costs {
        println!("{name:16} {walked:9} {jitted:7} {stack:6}");
    }
    let mut over = Vec::new();
    for (name, cost) in &costs {
        let stage = name.trim_start_matches("xlvs").trim_start_matches("_tc");
        let stage = stage.trim_start_matches('_');
        let budget = BUDGETS.into_iter().find(|(name, ..)| *name == stage);
        let (_, walked, jitted) = budget.with_context(|| format!("{name} has no budget"))?;
        let too_long = cfg!(target_arch = "x86_64") && cost.jitted > jitted;
        if cost.walked > walked || too_long || cost.stack > STACK {
            over.push(format!("{name}: {cost:?}, not {walked} instructions, {jitted} bytes"));
        }
    }
    ensure!(over.is_empty(), "{}", over.join("\n"));
    Ok(())
}

/// Both programs have all stages.
fn check_names(costs: &BTreeMap<String, Cost>) -> Result<()> {
    for head in ["xlvs", "xlvs_tc"] {
        let stages = Stage::ALL.into_iter().map(Stage::name).chain(["trace"]);
        for name in stages.map(|stage| format!("{head}_{stage}")).chain([head.to_owned()]) {
            ensure!(costs.contains_key(&name), "the object has no {name}");
        }
    }
    Ok(())
}
