//! Everything that touches the kernel's BPF: the embedded object, loading, maps, pins, attachment.

mod attach;
mod dataplane;
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
pub use dataplane::{Collectable, Collector, Dataplane, LoadOptions, Programs, Trace};
pub use error::Error;
pub(crate) use foreign::refuse_occupied;
pub use maps::{Configured, FamilyMaps, InterfaceMap, Maps, NeighbourMap, Watched};
pub(crate) use pinned::attached_indexes;
pub use pinned::{Elements, PinnedMaps};
pub use pins::Pins;
#[cfg(test)]
pub(crate) use survey::PinnedLink;
pub(crate) use survey::{OtherProgram, Survey, other_programs, try_programs};
pub(crate) use sys::{frame_socket, run_as, send_signal};
pub use table::{Sweep, Table};
