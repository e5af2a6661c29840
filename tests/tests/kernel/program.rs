//! What the verifier and the JIT make of the program: a change that costs much shows here.

use anyhow::{Context as _, Result};
use lvs_tests::skip_unless_possible;

use crate::world;

#[test]
fn the_program_stays_small() -> Result<()> {
    skip_unless_possible!();
    world::with(|world| {
        let info = world.kernel.xdp()?.info()?;
        let walked = info.verified_instruction_count().context("the kernel counts instructions")?;
        let jitted = info.size_jitted();
        println!("verifier walked {walked} instructions, {jitted} bytes of machine code");
        // The limit of the verifier is 1,000,000. Measured on Linux 6.18: see ARCHITECTURE.md.
        assert!(walked < 20_000, "the verifier walked {walked} instructions");
        assert!(jitted < 10_000, "{jitted} bytes of machine code");
        Ok(())
    })
}
