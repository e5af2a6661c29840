//! The engine's surroundings in memory: what `lvs-ebpf` implements on the kernel's helpers, for tests and
//! benchmarks, with frames to feed it.

mod env;
mod family;
mod frame;
mod fuzz;
mod handle;
mod packet;
pub mod sample;

pub use env::MemoryEnv;
pub use family::{Family, Flows, Stored};
pub use frame::{Extension, Frame, Protocol, Tag};
pub use fuzz::{describe, fuzz};
pub use handle::{MemoryDestination, MemoryFlow, MemoryRecent, MemoryTemplate};
pub use packet::{MemoryPacket, MemoryWindow};
