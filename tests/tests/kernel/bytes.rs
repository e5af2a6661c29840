//! The named fixtures through both programs, and at the same time through the engine on the host: verdict, bytes and
//! tables.

use anyhow::{Context as _, Result, ensure};
use lvs_common::pipeline::Verdict;
use lvs_tests::skip_unless_possible;

use crate::{
    compare,
    fixtures::{self, Fixture},
    show::show,
    talk::{Fate, Step},
    world::{self, HERE, Hook, World},
};

#[test]
fn xdp_makes_of_each_fixture_what_it_must() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Xdp, |world| run_all(world, Hook::Xdp))
}

#[test]
fn tc_makes_of_each_fixture_what_it_must() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Tc, |world| run_all(world, Hook::Tc))
}

/// Runs all, and tells of all that fail.
fn run_all(world: &mut World, hook: Hook) -> Result<()> {
    // Few are read fast, and come round.
    world.change_settings(|settings| settings.half_open = 9)?;
    let mut failures = Vec::new();
    let mut count = 0;
    for fixture in fixtures::all() {
        if fixture.hooks.contains(&hook) {
            count += 1;
            if let Err(error) = run(world, &fixture) {
                failures.push(format!("{}: {error:#}", fixture.name));
            }
        }
    }
    println!("{count} fixtures, {} failed", failures.len());
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn run(world: &mut World, fixture: &Fixture) -> Result<()> {
    world.forget()?;
    for (number, Step { sent, fate, left }) in fixture.steps.iter().enumerate() {
        let step = || format!("step {number}");
        let (verdict, bytes) = world.send(sent).with_context(step)?;
        let expected = match *fate {
            Fate::ToServer => Verdict::Redirect(world.server_side),
            Fate::ToClient => Verdict::Redirect(world.client_side),
            Fate::Back => Verdict::Redirect(HERE),
            Fate::Pass(counter) => Verdict::Pass(counter),
            Fate::Drop(counter) => Verdict::Drop(counter),
        };
        ensure!(
            (verdict, &bytes) == (expected, left),
            "step {number}, sent {}expected {expected:?}, {}got {verdict:?}, {}",
            show(sent),
            show(left),
            show(&bytes)
        );
    }
    compare::tables(world)
}
