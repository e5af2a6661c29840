//! Frames for a person's eyes: in hex, and as `Frame` reads them.

use std::fmt::Write as _;

use lvs_common::{
    abi::{V4, V6},
    host::Frame,
};

/// How many bytes are shown.
const MOST: usize = 256;

/// A frame in hex, sixteen bytes a line, and in words.
pub(crate) fn show(bytes: &[u8]) -> String {
    let mut text = format!("{} bytes\n", bytes.len());
    for (line, part) in bytes[..bytes.len().min(MOST)].chunks(16).enumerate() {
        let hex: Vec<_> = part.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(text, "  {:04x}  {}", line * 16, hex.join(" ")).ok();
    }
    writeln!(text, "  {}", words(bytes)).ok();
    text
}

fn words(bytes: &[u8]) -> String {
    let readings = [
        Frame::<V4>::read(bytes).map(|frame| format!("{frame:?}")),
        Frame::<V6>::read(bytes).map(|frame| format!("{frame:?}")),
        Frame::<V4>::read_fragment(bytes).map(|frame| format!("fragment {frame:?}")),
        Frame::<V6>::read_fragment(bytes).map(|frame| format!("fragment {frame:?}")),
    ];
    let errors: Vec<_> = readings.iter().filter_map(|reading| reading.clone().err()).collect();
    readings.into_iter().find_map(Result::ok).unwrap_or_else(|| errors.join("; "))
}
