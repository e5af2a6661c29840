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
const BUDGETS: [(&str, u32, u32); 22] = [
    ("", 2000, 6800),
    ("sort", 8300, 5100),
    ("follow4", 22_000, 18_000),
    ("follow6", 40_000, 16_000),
    ("open4", 6700, 3000),
    ("open6", 11_000, 3600),
    ("choose4", 95_000, 28_000),
    ("choose6", 245_000, 29_000),
    ("plan4", 8500, 9900),
    ("plan6", 42_000, 13_000),
    ("conn4", 28_000, 15_000),
    ("conn6", 139_000, 19_000),
    ("icmp4", 13_000, 5300),
    ("icmp6", 43_000, 7500),
    ("frag4", 4100, 4400),
    ("frag6", 9800, 6100),
    ("fault4", 19_000, 2800),
    ("fault6", 19_000, 3100),
    ("trace", 29_000, 27_000),
    ("collect4", 113_000, 3900),
    ("collect6", 130_000, 5100),
    ("clock", 23, 180),
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
