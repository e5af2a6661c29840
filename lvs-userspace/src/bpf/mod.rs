//! Everything that touches the kernel's BPF: the embedded object, loading, maps, pins, attachment.

mod attach;
mod dataplane;
mod elements;
mod error;
mod foreign;
mod layout;
mod maps;
mod object;
mod pinned;
mod pins;
mod survey;
mod sys;
mod table;

pub use attach::{Attachment, Mode};
pub(crate) use dataplane::TC_PROGRAM;
pub use dataplane::{Collectable, Collector, Dataplane, LoadOptions, Needs, Programs, Trace};
pub use elements::{BATCH, Elements, PerCpuElements};
pub use error::Error;
pub(crate) use foreign::refuse_occupied;
pub use maps::{Configured, FamilyMaps, InterfaceMap, Maps, NeighbourMap, Watched};
pub use pinned::PinnedMaps;
pub(crate) use pinned::attached_indexes;
pub use pins::Pins;
#[cfg(test)]
pub(crate) use survey::PinnedLink;
pub(crate) use survey::{OtherProgram, Survey, other_programs, try_programs};
pub(crate) use sys::{frame_socket, give_back_memory, run_as, send_signal, stand_back};
pub use table::{Sweep, Table};
