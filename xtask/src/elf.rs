//! A look into the compiled object: is it BPF, and does it carry its types?
//!
//! Built with one flag missing, the object still comes out, and only the loader on the user's
//! machine notices. So it is checked where it is made.

use anyhow::{Context as _, Result, ensure};

/// `e_machine` of BPF (`EM_BPF`).
const BPF: u16 = 247;

/// Checks that the bytes are a little-endian BPF object with BTF.
pub(crate) fn check(object: &[u8]) -> Result<()> {
    ensure!(object.starts_with(b"\x7fELF\x02\x01"), "not a little-endian 64-bit ELF file");
    ensure!(u16_at(object, 18)? == BPF, "not an object for BPF");
    for wanted in [".BTF", ".BTF.ext"] {
        let found = sections(object)?.contains(&wanted.as_bytes());
        ensure!(found, "no section {wanted}: it was linked without --btf or without debug info");
    }
    Ok(())
}

/// The names of the sections, by the layout in elf(5).
fn sections(object: &[u8]) -> Result<Vec<&[u8]>> {
    const FILE_OFFSET: usize = 24;
    let table = offset_at(object, 40)?;
    let size = usize::from(u16_at(object, 58)?);
    let count = usize::from(u16_at(object, 60)?);
    let header = |index: usize| table.checked_add(index * size).context("damaged ELF header");
    let names = header(usize::from(u16_at(object, 62)?))?;
    let names = offset_at(object, names.saturating_add(FILE_OFFSET))?;
    (0..count)
        .map(|index| {
            let [a, b, c, d] = bytes_at(object, header(index)?)?;
            let name = usize::try_from(u32::from_le_bytes([a, b, c, d]))?;
            let rest = object.get(names.saturating_add(name)..).context("damaged section name")?;
            Ok(rest.split(|&byte| byte == 0).next().unwrap_or_default())
        })
        .collect()
}

fn u16_at(object: &[u8], offset: usize) -> Result<u16> {
    bytes_at(object, offset).map(u16::from_le_bytes)
}

fn offset_at(object: &[u8], offset: usize) -> Result<usize> {
    Ok(usize::try_from(u64::from_le_bytes(bytes_at(object, offset)?))?)
}

fn bytes_at<const N: usize>(object: &[u8], offset: usize) -> Result<[u8; N]> {
    let bytes = object.get(offset..).and_then(|rest| rest.first_chunk());
    bytes.copied().context("the file ends early")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of headers only, with sections of these names.
    fn object(machine: u16, sections: &[&str]) -> Vec<u8> {
        let mut names = vec![0];
        let mut headers = Vec::new();
        for name in sections {
            let mut header = [0; 64];
            header[..4].copy_from_slice(&u32::try_from(names.len()).unwrap().to_le_bytes());
            headers.push(header);
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        let mut strings = [0; 64];
        strings[24..32].copy_from_slice(&64_u64.to_le_bytes());
        headers.push(strings);
        let mut file = vec![0; 64];
        file[..6].copy_from_slice(b"\x7fELF\x02\x01");
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file[40..48].copy_from_slice(&(64 + names.len() as u64).to_le_bytes());
        file[58..60].copy_from_slice(&64_u16.to_le_bytes());
        let count = u16::try_from(headers.len()).unwrap();
        file[60..62].copy_from_slice(&count.to_le_bytes());
        file[62..64].copy_from_slice(&(count - 1).to_le_bytes());
        file.extend(names);
        file.extend(headers.concat());
        file
    }

    #[test]
    fn an_object_with_its_types_passes() {
        check(&object(BPF, &["xdp", ".BTF", ".BTF.ext"])).unwrap();
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (object, reason) in [
            (b"#!/bin/sh".to_vec(), "not a little-endian 64-bit ELF file"),
            (object(62, &[".BTF", ".BTF.ext"]), "not an object for BPF"),
            (object(BPF, &["xdp", ".BTF.ext"]), "no section .BTF:"),
        ] {
            let error = check(&object).unwrap_err().to_string();
            assert!(error.starts_with(reason), "{error}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let whole = object(BPF, &["xdp", ".BTF", ".BTF.ext"]);
        for length in 0..whole.len() - 128 {
            check(&whole[..length]).unwrap_err();
        }
    }
}
