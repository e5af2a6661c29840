//! SIGTERM under load: nothing of ours stays behind.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use lvs_tests::bpftool::{self, Held};
use lvs_tests::scratch::mounts_below;
use lvs_tests::topology::INTERFACES;
use lvs_tests::{config, skip_unless_possible};

use super::modes;
use super::support::Bed;

/// The kernel frees programs and maps some time after their last user is gone: the programs of the stages hold the map
/// that holds them, which takes it several steps, each after a grace period of RCU.
const FREED: Duration = Duration::from_secs(90);

/// How long it is left alone for that, at first and between looks. To look at a map is to use it, and the last user of a
/// program array has it emptied by a work item that keeps the map meanwhile. A user who comes and goes while that still
/// waits counts once more, but the work runs once: the map is never freed (`prog_array_map_clear` in
/// `kernel/bpf/arraymap.c`; seen on Linux 6.18 when this test looked ten times a second).
const LEFT_ALONE: Duration = Duration::from_secs(3);

#[test]
fn sigterm_under_load_leaves_nothing_behind() -> Result<()> {
    skip_unless_possible!();
    let bed = Bed::new()?;
    let xlvs = bed.start(&config::without_persistence(), None)?;
    let pin_dir = xlvs.setup().pin_dir.clone();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut answers = 0;
            while !stop.load(Ordering::Relaxed) {
                match bed.ask_many(20, 4) {
                    Ok(more) => answers += more.len(),
                    // After the end nobody listens on the virtual port.
                    Err(_) => break,
                }
            }
            answers
        });
        thread::sleep(Duration::from_secs(1));
        let checks = || {
            let mut held = Held::by(xlvs.pid())?;
            // The pins hold the links, not the process.
            for interface in INTERFACES {
                let link = bpftool::link(&pin_dir.join("v5/links").join(interface))?;
                held.links.insert(u32::try_from(link.id)?);
            }
            ensure!(held.remains().len() > 2, "xlvs holds only {held:?}");
            ensure!(held.links.len() == 2, "not one link for each interface: {held:?}");
            let log = xlvs.log();
            let status = xlvs.stop()?;
            ensure!(status.success(), "{status}; its log:\n{log}");
            gone(&held)
        };
        let checked = checks();
        stop.store(true, Ordering::Relaxed);
        let answers = load.join().map_err(|_| anyhow!("the load panicked"))?;
        checked?;
        ensure!(answers > 0, "there was no load");
        Ok(())
    })?;
    assert!(modes::modes(&bed.topology.lb)?.is_empty(), "a program is still attached");
    assert!(mounts_below(&pin_dir).is_empty(), "a bpffs is still mounted");
    assert!(is_empty(&pin_dir), "{} is not empty", pin_dir.display());
    Ok(())
}

fn gone(held: &Held) -> Result<()> {
    let give_up = Instant::now() + FREED;
    loop {
        thread::sleep(LEFT_ALONE);
        let remains = held.remains();
        if remains.is_empty() {
            return Ok(());
        }
        ensure!(Instant::now() < give_up, "still in the kernel: {}", remains.join(", "));
    }
}

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none()) || !folder.exists()
}
