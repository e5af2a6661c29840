//! The maps of the bench. `lvs-tests`, `src/bin/xlvs-bench/wrapper.rs`, fills them and sets the sizes of
//! the large ones when it loads the object.

use aya_ebpf::{
    bindings::BPF_F_NO_PREALLOC,
    btf_maps::{Array, HashMap, ProgramArray},
    macros::btf_map,
};

const NO_PREALLOC: usize = BPF_F_NO_PREALLOC as usize;
/// Replaced by the loader.
const SIZE: usize = 1024;

/// Words in a template: the longest frame that is sent.
pub(crate) const TEMPLATE_WORDS: usize = 10;

/// Which variation comes next.
#[repr(C)]
pub(crate) struct Position {
    /// The next one's index.
    pub(crate) next: u32,
    /// Where to begin again.
    pub(crate) first: u32,
    /// Behind the last one.
    pub(crate) end: u32,
    /// Always zero.
    pub(crate) reserved: u32,
}

/// The frame that each repetition starts from.
#[btf_map]
pub(crate) static TEMPLATE: Array<[u64; TEMPLATE_WORDS], 1> = Array::new();

/// Where the wrapper stands in the variations.
#[btf_map]
pub(crate) static POSITION: Array<Position, 1> = Array::new();

/// Addresses and ports as they lie in the frame, IPv4: bytes 26 to 38, filled up to whole words.
#[btf_map]
pub(crate) static VARIATIONS4: Array<[u64; 2], SIZE> = Array::new();

/// Addresses and ports as they lie in the frame, IPv6: bytes 22 to 58, filled up to whole words.
#[btf_map]
pub(crate) static VARIATIONS6: Array<[u64; 5], SIZE> = Array::new();

/// The program under test.
#[btf_map]
pub(crate) static PROGRAMS: ProgramArray<1> = ProgramArray::new();

/// The TC program under test.
#[btf_map]
pub(crate) static PROGRAMS_TC: ProgramArray<1> = ProgramArray::new();

/// The table of the floor: keys as large as those of `CONNECTIONS4`, and as many.
#[btf_map]
pub(crate) static FLOOR4: HashMap<[u32; 4], u64, SIZE, NO_PREALLOC> = HashMap::new();

/// The table of the floor: keys as large as those of `CONNECTIONS6`, and as many.
#[btf_map]
pub(crate) static FLOOR6: HashMap<[u32; 10], u64, SIZE, NO_PREALLOC> = HashMap::new();
