//! The engine's surroundings in memory: what `lvs-ebpf` implements on the kernel's helpers, for tests and
//! benchmarks, with frames to feed it.

mod env;
mod frame;
mod packet;

pub use env::{MemoryEnv, MemoryFlow};
pub use frame::Frame;
pub use packet::{SlicePacket, SliceWindow};
