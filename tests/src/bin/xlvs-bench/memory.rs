//! What the connections take. Two ways: what the kernel's allocator has handed out, which counts, and
//! what the map says of itself, which does not know how the allocator rounds.

use std::fs;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Kernel memory for small objects that cannot be reclaimed, in bytes, once it has not moved for two
/// seconds: the kernel frees the entries of a table that was dropped in the background, after grace
/// periods.
pub(crate) fn slab() -> Result<u64> {
    const STEP: Duration = Duration::from_millis(100);
    const STEPS: u32 = 20;
    const PATIENCE: u32 = 300;
    // Below what the rest of a machine at work moves to and fro.
    const REST: u64 = 1 << 20;
    let mut reference = unreclaimable()?;
    let mut calm = 0;
    for _ in 0..PATIENCE {
        if calm == STEPS {
            break;
        }
        thread::sleep(STEP);
        let now = unreclaimable()?;
        if now.abs_diff(reference) < REST {
            calm += 1;
        } else {
            (reference, calm) = (now, 0);
        }
    }
    unreclaimable()
}

fn unreclaimable() -> Result<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let kilobytes = field(&text, "SUnreclaim:").context("/proc/meminfo has no SUnreclaim")?;
    Ok(kilobytes * 1024)
}

/// What a hash map with keys and values of these sizes and so many entries at most says that it takes;
/// it must be open in this process.
pub(crate) fn map_size((key, value): (usize, usize), entries: u32) -> Result<u64> {
    let wanted = [
        ("key_size:", key as u64),
        ("value_size:", value as u64),
        ("max_entries:", entries.into()),
    ];
    for entry in fs::read_dir("/proc/self/fdinfo")? {
        // Some are closed by the time that they are read.
        let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
        if wanted.iter().all(|(name, value)| field(&text, name) == Some(*value)) {
            return field(&text, "memlock:").context("the kernel does not tell a map's size");
        }
    }
    anyhow::bail!(
        "no map with keys of {key} bytes, values of {value} and {entries} entries is open"
    )
}

/// The first number behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found() {
        let text = "MemTotal:  24684564 kB\nSUnreclaim:   12345 kB\n";
        assert_eq!(field(text, "SUnreclaim:"), Some(12345));
        assert_eq!(field(text, "Unreclaim:"), None);
    }
}
