//! The BPF object in the kernel, packet by packet with `BPF_PROG_TEST_RUN`: the same engine that lvs-common
//! tests on the host, as the compiler and the verifier have left it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "test helpers: what is missing fails the test"
)]

#[path = "kernel/buffers.rs"]
mod buffers;
#[path = "kernel/bytes.rs"]
mod bytes;
#[path = "kernel/compare.rs"]
mod compare;
#[path = "kernel/differential.rs"]
mod differential;
#[path = "kernel/fixtures/mod.rs"]
mod fixtures;
#[path = "kernel/parallel/mod.rs"]
mod parallel;
#[path = "kernel/ports.rs"]
mod ports;
#[path = "kernel/program.rs"]
mod program;
#[path = "kernel/rounds.rs"]
mod rounds;
#[path = "kernel/show.rs"]
mod show;
#[path = "kernel/talk.rs"]
mod talk;
#[path = "kernel/thousand.rs"]
mod thousand;
#[path = "kernel/trace.rs"]
mod trace;
#[path = "kernel/traffic.rs"]
mod traffic;
#[path = "kernel/verifier.rs"]
mod verifier;
#[path = "kernel/world/mod.rs"]
mod world;
