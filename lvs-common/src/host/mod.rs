//! The engine's surroundings in memory: what `lvs-ebpf` implements on the kernel's helpers, for tests and
//! benchmarks, with frames to feed it.

mod env;
mod frame;
mod fuzz;
mod packet;
pub mod sample;

pub use env::{Family, Flows, MemoryDestination, MemoryEnv, MemoryFlow, MemoryTemplate, Stored};
pub use frame::{Extension, Frame, Protocol, Tag};
pub use fuzz::{describe, fuzz};
pub use packet::{MemoryPacket, MemoryWindow};
