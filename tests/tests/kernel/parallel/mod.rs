//! What all CPUs share: the turns of the schedulers, and the counts of connections.

mod counts;
mod shares;

use std::thread;

use anyhow::Result;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};

const THREADS: u16 = 4;

/// Runs these threads, on one CPU after the other, and gives the first error of any.
fn at_once(threads: u16, work: impl Fn(u16) -> Result<()> + Sync) -> Result<()> {
    let cpus = cpus()?;
    let work = &work;
    let start = |(number, cpu): (u16, usize)| {
        let mut only = CpuSet::new();
        only.set(cpu)?;
        sched_setaffinity(Pid::from_raw(0), &only)?;
        work(number)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .zip(cpus.into_iter().cycle())
            .map(|thread| scope.spawn(move || start(thread)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })
}

/// The CPUs that this process may run on.
fn cpus() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(Pid::from_raw(0))?;
    Ok((0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap_or_default()).collect())
}
