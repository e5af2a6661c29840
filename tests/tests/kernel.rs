//! The BPF object in the kernel, packet by packet with `BPF_PROG_TEST_RUN`: the same engine that lvs-common
//! tests on the host, as the compiler and the verifier have left it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test helpers: what is missing fails the test"
)]

#[path = "kernel/bytes.rs"]
mod bytes;
#[path = "kernel/differential.rs"]
mod differential;
#[path = "kernel/parallel.rs"]
mod parallel;
#[path = "kernel/program.rs"]
mod program;
#[path = "kernel/world.rs"]
mod world;
