//! What the verifier and the JIT make of the program: a change that costs much shows here.

use anyhow::{Context as _, Result};
use lvs_tests::skip_unless_possible;

use crate::world::{self, Hook};

#[test]
fn the_program_stays_small() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Xdp, |world| {
        for info in [world.kernel.xdp()?.info()?, world.kernel.tc()?.info()?] {
            let name = info.name_as_str().context("programs have names")?;
            let walked = info.verified_instruction_count().context("the kernel counts them")?;
            let jitted = info.size_jitted();
            println!("{name}: the verifier walked {walked} instructions, {jitted} bytes of code");
            // The limit of the verifier is 1,000,000. Measured on Linux 6.18: see ARCHITECTURE.md.
            assert!(walked < 20_000, "{name}: the verifier walked {walked} instructions");
            assert!(jitted < 10_000, "{name}: {jitted} bytes of machine code");
        }
        Ok(())
    })
}
