//! Decisions that all CPUs share.

use std::thread;

use anyhow::Result;
use lvs_common::{host::Frame, tcp::flags::SYN};
use lvs_tests::skip_unless_possible;

use crate::world::{self, CLIENT, Hook, PORT, VIP};

const THREADS: u16 = 4;
const EACH: u16 = 2_500;

#[test]
fn round_robin_is_exact_over_all_cpus() -> Result<()> {
    skip_unless_possible!();
    world::with(Hook::Xdp, |world| {
        let program = world.kernel.xdp()?;
        let program = &*program;
        thread::scope(|scope| {
            let open = |thread: u16| {
                for n in 0..EACH {
                    let port = 10_000 + thread * EACH + n;
                    let syn = Frame::new((CLIENT, port), (VIP, PORT), SYN);
                    world::run(program, &syn.bytes().unwrap()).unwrap();
                }
            };
            for thread in 0..THREADS {
                scope.spawn(move || open(thread));
            }
        });
        let connections = |id| -> Result<u64> {
            let cpus = world.kernel.maps.statistics.get(&id, 0)?;
            Ok(cpus.iter().map(|cpu| cpu.connections).sum())
        };
        let half = u64::from(THREADS * EACH) / 2;
        assert_eq!([connections(0)?, connections(1)?], [half, half]);
        Ok(())
    })
}
